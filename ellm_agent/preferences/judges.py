"""Who judges clips: rules with errors, or a language model. A person is in ``person``."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ellm_agent.errors import UserError
from ellm_agent.llm.base import FATAL_AT_FIRST, LanguageModel, LanguageModelError
from ellm_agent.llm.client import RequestPool
from ellm_agent.preferences.clips import Clip, ClipReader
from ellm_agent.preferences.labels import Choice, Label
from ellm_agent.preferences.queries import Query
from ellm_agent.terminal import print_stderr
from envs.interface import Language
from prompts import preference

MIRRORED: dict[str | None, str | None] = {"A": "B", "B": "A"}
NEITHER = ("empty", "refused", "over_budget")  # failures that are answers: neither way; and a spent budget
PATIENCE = 20  # questions without one answer that can be read, after which a judge is given up
CHOICES: dict[str, Choice] = {"A": "left", "B": "right", "tie": "tie", "unsure": "unsure"}


class Judge:
    """Compares clips.

    Attributes:
        name: in the labels.
    """

    name: str

    def judge(self, queries: Sequence[Query]) -> list[Label]:
        """The answers to these queries; none to those that could not be asked."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Counters for the log, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``."""

    def close(self) -> None:
        """There are no more queries."""


class LaterJudge(Judge):
    """A judge who answers whenever there is an answer, while training goes on, and keeps the labels.

    Attributes:
        changes: how often an answer has been given or taken back.
        finished: whether the agent has played all its frames, so that no answer is learned from any more.
        progress: figures to show, by name.
    """

    changes: int = 0
    finished: bool = False
    progress: Mapping[str, Any] = {}

    @property
    def waiting(self) -> Sequence[Query]:
        """Queries offered that have no answer yet."""
        raise NotImplementedError

    def offer(self, queries: Sequence[Query]) -> None:
        """Queries to answer after those that wait already."""
        raise NotImplementedError


class SyntheticJudge(Judge):
    """Prefers the clip with the larger value; a share of its answers are uniform guesses (Christiano et al. 2017, 3.1).

    A query has one answer, whenever and however often it is asked.

    Args:
        name: in the labels.
        value: of a clip.
        errors: share of guesses.
        seed: of the guesses.
    """

    def __init__(self, name: str, value: Callable[[Clip], float], errors: float, seed: int):
        self.name = name
        self._value, self._errors, self._seed = value, errors, seed

    def judge(self, queries: Sequence[Query]) -> list[Label]:
        return [Label(query, self._choose(query), self.name) for query in queries]

    def _choose(self, query: Query) -> Choice:
        random = np.random.default_rng([self._seed, zlib.crc32(query.key.encode())])
        if random.random() < self._errors:
            return random.choice(["left", "right"]).item()
        left, right = self._value(query.left), self._value(query.right)
        if np.isclose(left, right):
            return "tie"
        return "left" if left > right else "right"


def true_reward(clip: Clip) -> float:
    """The environment's own reward in a clip."""
    return clip.total


def frames_with(words: str, reader: ClipReader) -> Callable[[Clip], float]:
    """Makes a value of clips: the number of their states, the first apart, whose captions hold the words."""
    return lambda clip: float(sum(words in caption for caption in reader.captions(clip)[1:]))


class ClipModelJudge(Judge):
    """A language model, which reads captions of both clips and what was achieved in them.

    It is asked about each pair in both orders; answers that contradict each other, unreadable ones and refusals count as
    "cannot say". A pair about which a question failed has no label.

    Args:
        model: answers.
        reader: puts clips into words.
        language: of the world.
        aim: what is better, in words; empty: which player does better.
        in_flight: questions at once, to a model that waits for a server.
        stop_on_failure: whether a question that fails ends training.
    """

    def __init__(
        self,
        model: LanguageModel,
        reader: ClipReader,
        language: Language,
        aim: str = "",
        in_flight: int = 1,
        stop_on_failure: bool = False,
    ):
        self.name = model.name
        self._model = model if model.in_process else RequestPool(model, in_flight)
        self._counted = model  # its tokens, for budgets
        self._reader, self._language = reader, language
        self._aim, self._stops, self._fails = aim or preference.AIM, stop_on_failure, False
        self._unread: int | None = (
            0  # questions until the first answer that could be read; None: there was one
        )

    def judge(self, queries: Sequence[Query]) -> list[Label]:
        """The answers.

        Raises:
            UserError: if the model has answered neither way in all of the first 20 questions or more.
            LanguageModelError: if a question failed, and failures end training; if the first ones were all rejected, or
                no server was there.
        """
        orders = [(query.left, query.right) for query in queries]
        prompts = [self._prompt(*clips) for pair in orders for clips in (pair, pair[::-1])]
        answers = self._model.answer(prompts)
        failed = [isinstance(answer, LanguageModelError) and answer.kind not in NEITHER for answer in answers]
        if any(failed):
            self._note_failure(answers[failed.index(True)], all(failed))
        lost = [first or second for first, second in zip(failed[::2], failed[1::2], strict=True)]
        queries = [query for query, gone in zip(queries, lost, strict=True) if not gone]
        answers = [answer for i, answer in enumerate(answers) if not lost[i // 2]]
        if not queries:
            return []
        self._fails = any(failed)
        texts = ["" if isinstance(answer, LanguageModelError) else answer.text for answer in answers]
        said = [preference.parse(text) for text in texts]
        if self._unread is not None:
            self._unread = None if any(said) else self._unread + len(said)
            if self._unread is not None and self._unread >= PATIENCE:
                raise UserError(
                    f"the judge {self.name} answered none of {self._unread} questions with A, B, tie or unsure; "
                    f"it said, for example, {_short(next(filter(None, texts), ''))}"
                )
        return [
            Label(query, _both(first, second), self.name)
            for query, first, second in zip(queries, said[::2], said[1::2], strict=True)
        ]

    def metrics(self) -> dict[str, float]:
        return self._counted.metrics()

    def state_dict(self) -> dict[str, Any]:
        return {"model": self._counted.state_dict(), "unread": self._unread}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state:  # up to 0.10.0 there was none
            self._counted.load_state_dict(state["model"])
            self._unread = state["unread"]

    def close(self) -> None:
        self._model.close()

    def _note_failure(self, error: LanguageModelError, of_all: bool) -> None:
        """Ends training, or warns if the model answered before.

        Raises:
            LanguageModelError: see ``judge``.
        """
        if self._stops or (of_all and error.kind in FATAL_AT_FIRST and self._unread == 0):
            raise error
        if not self._fails:
            print_stderr(f"warning: {error}; training goes on, and clips are compared when it answers again")
        self._fails = True

    def _prompt(self, first: Clip, second: Clip) -> preference.Prompt:
        captions = [self._reader.captions(clip) for clip in (first, second)]
        events = [self._reader.events(clip) for clip in (first, second)]
        return preference.prompt(captions, events, self._language, self._aim)


def _both(first: str | None, second: str | None) -> Choice:
    """The choice of two answers, the second one about the clips in the other order."""
    if first is None or MIRRORED.get(second, second) != first:
        return "unsure"
    return CHOICES[first]


def _short(text: str) -> str:
    """The beginning of an answer, on one line, printable."""
    return ascii(" ".join(text.split())[:60])
