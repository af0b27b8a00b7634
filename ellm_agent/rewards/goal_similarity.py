"""ELLM's reward: the cosine similarity of an event and the closest open goal (Du et al. 2023, section 3.3).

Knows nothing of worlds, captions or agents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence

import numpy as np

from ellm_agent.records import NO_REWARD, IntrinsicReward
from ellm_agent.text.sentence_bert import sentence_bert

REMEMBERED = 2**14  # pairs of goals and achieved events whose open goals are kept


def ellm_reward(cosines: np.ndarray, threshold: float) -> tuple[float, np.ndarray]:
    """R_int(o, a, o') = max over events e and open goals g of cos(E(e), E(g)) if above T, else 0.

    Args:
        cosines: of each event and each open goal, ``(events, goals)``.
        threshold: T.

    Returns:
        R_int, and which goals are satisfied by which events, ``(events, goals)`` bool.
    """
    satisfied = cosines > threshold
    return float(cosines[satisfied].max()) if satisfied.any() else 0.0, satisfied


class GoalSimilarity:
    """Rewards events that are similar to open goals.

    A goal is open until an event that satisfies it (cosine above T) has been rewarded in the episode. So two wordings
    of one goal are rewarded once. Goals are compared in their canonical spelling, so synonyms have cosine 1
    (docs/deviations.md).

    Args:
        threshold: T, in [-1, 1].
        canonical: goal -> its one spelling.
        encode: texts -> ``(n, d)`` float32 unit vectors.
        apart: texts in canonical spelling of which no two have a cosine above T (``Language.closest``). One of them
            fulfils another only if they are the same, and their vectors are not needed to tell.

    Attributes:
        compares_spelling: whether there are such texts.

    Raises:
        ValueError: if T is outside [-1, 1].
    """

    def __init__(
        self,
        threshold: float,
        canonical: Callable[[str], str] = str.lower,
        encode: Callable[[Sequence[str]], np.ndarray] = sentence_bert,
        apart: Collection[str] = (),
    ):
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; a cosine lies between -1 and 1")
        self._threshold, self._canonical, self._encode = threshold, canonical, encode
        self._apart, self.compares_spelling = apart, bool(apart)
        self._vectors: dict[str, np.ndarray] = {}
        self._cosines: dict[tuple[str, str], float] = {}
        self._open_goals = functools.lru_cache(REMEMBERED)(self._filter)

    def prepare(self, texts: Sequence[str]) -> None:
        """Encodes texts that are known beforehand (all events, likely goals) in one batch.

        What was encoded before keeps its vector.
        """
        spellings = (text if text in self._apart else self._canonical(text) for text in texts)
        texts = [text for text in dict.fromkeys(spellings) if text not in self._apart]
        if texts:
            self._vectors = dict(zip(texts, self._encode(texts), strict=True)) | self._vectors

    def cosine(self, event: str, goal: str) -> float:
        """Cosine similarity of an event's and a goal's SentenceBERT vectors, to four decimals; 0 between two texts that are
        known to be apart.
        """
        if event in self._apart and goal in self._apart:
            return float(event == goal)
        pair = event, goal
        if pair not in self._cosines:
            self._cosines[pair] = self._compute(event, self._canonical(goal))
        return self._cosines[pair]

    def _compute(self, event: str, spelling: str) -> float:
        if event in self._apart and spelling in self._apart:
            return float(event == spelling)
        return round(float(self._vector(event) @ self._vector(spelling)), 4)

    def satisfies(self, event: str, goal: str) -> bool:
        """Whether an event fulfils a goal: their cosine exceeds T."""
        return self.cosine(event, goal) > self._threshold

    def open_goals(self, goals: Sequence[str], achieved: Sequence[str]) -> tuple[str, ...]:
        """The goals that none of the achieved events satisfies."""
        return self._open_goals(tuple(goals), tuple(achieved)) if achieved else tuple(goals)

    def reward(
        self, events: Sequence[str], goals: Sequence[str], achieved: Sequence[str] = ()
    ) -> IntrinsicReward:
        """The reward of a transition.

        Args:
            events: captions of what happened.
            goals: suggested for the state before the action.
            achieved: events rewarded in this episode before.
        """
        still_open = self.open_goals(goals, achieved)
        if not events or not still_open:
            return NO_REWARD
        cosines = np.array([[self.cosine(event, goal) for goal in still_open] for event in events])
        value, satisfied = ellm_reward(cosines, self._threshold)
        rewarded = tuple(event for event, row in zip(events, satisfied, strict=True) if row.any())
        reached = tuple(goal for goal, column in zip(still_open, satisfied.T, strict=True) if column.any())
        return IntrinsicReward(value, rewarded, reached, value) if rewarded else NO_REWARD

    def _filter(self, goals: tuple[str, ...], achieved: tuple[str, ...]) -> tuple[str, ...]:
        known = {event for event in achieved if event in self._apart}
        others = [event for event in achieved if event not in self._apart]

        def is_achieved(goal: str) -> bool:
            if goal in self._apart:  # tens of events and of goals: pairs are not compared one by one
                return goal in known or any(self.satisfies(event, goal) for event in others)
            return any(self.satisfies(event, goal) for event in achieved)

        return tuple(goal for goal in goals if not is_achieved(goal))

    def _vector(self, text: str) -> np.ndarray:
        # One at a time: a vector's last bits depend on its batch, and a resumed run has other batches.
        if text not in self._vectors:
            self._vectors[text] = self._encode([text])[0]
        return self._vectors[text]
