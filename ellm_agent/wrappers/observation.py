"""What the agent observes: phrase ids of the caption, of what it has achieved, and of its active goals."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import gymnasium as gym
import numpy as np

from ellm_agent.errors import UserError
from ellm_agent.text.embedding_bag import PADDING
from ellm_agent.text.phrases import PhraseTable
from envs.interface import Language

CLOSED = 2**13  # phrases of a vocabulary, at most, that are all made known beforehand
SAMPLE = 2**10  # of a larger one: so many, evenly spaced, over which vectors are whitened
ENCODED = 2**14  # fields whose ids are cached: the same goals are open for many frames
UNKNOWN = -1  # id of a clause that was not yet observed
PREFIXES = {"caption": "", "achieved": "achieved: ", "goals": "goal: "}  # so that the fields' phrases differ


def closed_vocabulary(language: Language) -> list[str]:
    """All phrases that an agent can observe, as long as goals are worded as events are."""
    fields = ("achieved", "goals")
    return [*language.vocabulary, *(PREFIXES[field] + goal for field in fields for goal in language.goals)]


class ObservationWriter:
    """Writes the fields of an observation as phrase ids.

    Args:
        language: of the worlds.
        phrases: gives ids to phrases.
        slots: field ("caption", "achieved", possibly "goals") -> the number of phrases that fit.
        goals: wordings of goals that are likely to be observed, beside the language's own.
        sentence: whether a field is one sentence instead of clauses.
        open_vocabulary: whether phrases outside the closed vocabulary may be observed.
        hide: regular expression of clauses of captions that are not observed; None: all are.

    A vocabulary of more than ``CLOSED`` phrases is met on demand: a phrase gets its id and its vector when it is first
    observed.

    Attributes:
        on_demand: whether it is.
        vocabulary: ids of the closed vocabulary, or of a sample of it.
        known: those, and the ids of likely goals.
        fields: field -> its slice of an observation.
        space: ``Box((slots,), int16 or int32)``; 32 bits where ids are not known to be small.

    Raises:
        UserError: if no clause is to be hidden by ``hide``.
    """

    def __init__(
        self,
        language: Language,
        phrases: PhraseTable,
        slots: Mapping[str, int],
        goals: Sequence[str] = (),
        sentence: bool = False,
        open_vocabulary: bool = False,
        hide: str | None = None,
    ):
        self._hidden = None if hide is None else _matches(hide, language.vocabulary)  # (clauses,) bool
        self._language, self._phrases, self._sentence = language, phrases, sentence
        closed = closed_vocabulary(language)
        self.on_demand = len(closed) > CLOSED
        blocks = phrases.blocks(closed) if self.on_demand else None
        self._ids_of = functools.partial(phrases.meet, blocks=blocks) if self.on_demand else phrases.ids
        ids = [UNKNOWN] * len(language.vocabulary) if self.on_demand else phrases.ids(language.vocabulary)
        ids[0] = PADDING
        # In batches that are the same in every run, so that their vectors are found on disk.
        self.vocabulary = phrases.ids(closed[:: -(-len(closed) // SAMPLE)] if self.on_demand else closed)
        phrases.vectors_of(self.vocabulary)
        likely = phrases.ids(PREFIXES["goals"] + goal for goal in goals) if "goals" in slots else []
        phrases.vectors_of(likely)
        self.known = [*self.vocabulary, *likely]
        widths = dict.fromkeys(slots, 1) if sentence else dict(slots)
        ends = np.cumsum(list(widths.values())).tolist()
        self.fields = {name: slice(end - widths[name], end) for name, end in zip(widths, ends, strict=True)}
        dtype = np.int32 if open_vocabulary or sentence or self.on_demand else np.int16
        self.space = gym.spaces.Box(0, np.iinfo(dtype).max, (ends[-1],), dtype)
        self._ids = np.array(ids, dtype)
        self._latest_achieved = slots["achieved"] if language.most_achieved else None
        self._encoded = functools.lru_cache(ENCODED)(self._encode)

    def width(self, field: str) -> int:
        """The number of phrases that fit into a field."""
        return self.fields[field].stop - self.fields[field].start

    def write(
        self,
        captions: np.ndarray,
        achieved: np.ndarray,
        goals: Sequence[Sequence[str]] | None = None,
    ) -> np.ndarray:
        """Observations.

        Args:
            captions: ids into the language's vocabulary, ``(n, clauses)``.
            achieved: phrase ids as ``encode`` gives them, ``(n, width)``.
            goals: open goals for each row, where the agent observes them.

        Returns:
            ``(n, slots)`` phrase ids.
        """
        if self._hidden is not None:
            captions = np.where(self._hidden[captions], 0, captions)
        observation = np.empty((len(captions), self.space.shape[0]), self.space.dtype)
        if self._sentence:
            for row, clauses in zip(observation, captions, strict=True):
                texts = [self._language.vocabulary[clause] for clause in clauses if clause]
                row[self.fields["caption"]] = self.encode("caption", texts)
        else:
            observation[:, self.fields["caption"]] = self._numbers(captions)
        observation[:, self.fields["achieved"]] = achieved
        if "goals" in self.fields:
            for row, texts in zip(observation, goals, strict=True):
                row[self.fields["goals"]] = self.encode("goals", texts)
        return observation

    def _numbers(self, captions: np.ndarray) -> np.ndarray:
        """Phrase ids of clauses."""
        ids = self._ids[captions]
        if self.on_demand and (ids == UNKNOWN).any():
            new = np.unique(captions[ids == UNKNOWN])
            self._ids[new] = self._ids_of(self._language.vocabulary[clause] for clause in new)
            ids = self._ids[captions]
        return ids

    def encode(self, field: str, texts: Sequence[str]) -> np.ndarray:
        """A field's phrase ids, ``(width,)``, padded with 0; of one sentence if fields are sentences. Of achieved events
        the latest, where a world says how many are observed.

        Raises:
            UserError: if there are more phrases than fit.
        """
        return self._encoded(field, tuple(texts))

    def _encode(self, field: str, texts: tuple[str, ...]) -> np.ndarray:
        if field == "achieved" and self._latest_achieved:
            texts = texts[-self._latest_achieved :]
        if self._sentence and texts:
            # Achieved events and goals are sets: one wording for each set, not one for each order.
            joined = self._language.to_sentence(texts) if field == "caption" else ", ".join(sorted(texts))
            texts = [joined]
        ids = np.full(self.width(field), PADDING, self.space.dtype)
        if len(texts) > len(ids):
            hint = "; limit the goals with --max-active-goals" if field == "goals" else ""
            raise UserError(
                f"{len(texts)} phrases do not fit into the {len(ids)} slots of the observation's field {field!r}{hint}"
            )
        ids[: len(texts)] = self._ids_of(PREFIXES[field] + text for text in texts)
        ids.setflags(write=False)  # it is shared
        return ids


def _matches(pattern: str, clauses: Sequence[str]) -> np.ndarray:
    """Which clauses a regular expression matches, ``(clauses,)`` bool.

    Raises:
        UserError: if it matches none: the name of a clause is misspelt, or the caption has no such clauses.
    """
    found = np.array([bool(clause) and re.search(pattern, clause) is not None for clause in clauses])
    if not found.any():
        raise UserError(
            f"hide-clauses is {pattern!r}; no clause of the caption matches that, such as {clauses[1]!r}"
        )
    return found
