"""ELLM's reward: how close what happened is to what was suggested (Du et al. 2023, section 3.3)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

from ellm_agent.goals.base import Goal
from ellm_agent.records import NO_PAYMENT, Payment
from ellm_agent.text.phrases import PhraseTable

UNKNOWN = 2.0  # stands for a cosine that has not been looked up; above any threshold
REMEMBERED = 2**14  # tuples of goals, and pairs of them and achieved events, of which something is kept


class GoalSimilarity:
    """Pays the cosine similarity of an event and the closest suggested goal, if it exceeds T.

        R_int(o, a, o') = max over g in G of  cos(E(event), E(g))  if above T, else 0

    G are the goals suggested on the state before the action, without those achieved in this episode.
    A goal is achieved once an event that satisfies it (cosine above T) has been paid for; so two
    wordings of one goal, and the synonyms that ``canonical`` knows, are paid once.

    Args:
        phrases: gives unit vectors.
        threshold: T, in [-1, 1].
        canonical: one spelling per goal.

    Raises:
        ValueError: if T is outside [-1, 1].
    """

    def __init__(self, phrases: PhraseTable, threshold: float, canonical: Callable[[str], str] = str.lower):
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; a cosine lies between -1 and 1")
        self._phrases, self._threshold, self._canonical = phrases, threshold, canonical
        self._learned: set[Goal] = set()
        self._known: dict[int, tuple[Goal, ...]] = {}  # learned tuples, held, so that their ids stay theirs
        self._cosines: dict[str, dict[Goal, float]] = {}  # event -> goal -> cosine
        self._bits: dict[str, int] = {}  # paid event -> its bit
        self._satisfied_by: dict[Goal, int] = {}  # goal -> bits of the events that satisfy it
        self._open_goals = functools.lru_cache(REMEMBERED)(self._filter)

    def cosine(self, event: str, goal: Goal) -> float:
        """Cosine similarity of an event's and a goal's SentenceBERT vectors, to four decimals.

        Beyond the sixth, it depends on what else was encoded in the same batch.
        """
        cosines = self._cosines.setdefault(event, {})
        if goal not in cosines:
            cosines[goal] = round(self._phrases.cosine(event, self._canonical(goal)), 4)
        return cosines[goal]

    def learn(self, suggestions: Sequence[tuple[Goal, ...]]) -> None:
        """Encodes new goals before they are judged, in one batch. The tuples are known by identity afterwards."""
        if all(map(self._known.__contains__, map(id, suggestions))):
            return  # in most frames: what is suggested is the same again and again
        fresh = [goals for goals in suggestions if id(goals) not in self._known]
        if len(self._known) > REMEMBERED:
            self._known.clear()
        self._known.update(zip(map(id, fresh), fresh, strict=True))
        if not self._learned.issuperset(itertools.chain.from_iterable(fresh)):
            new = {goal: None for goals in fresh for goal in goals if goal not in self._learned}
            self._learned.update(new)
            self._phrases.vectors_of(self._phrases.ids(map(self._canonical, new)))

    def satisfies(self, event: str, goal: Goal) -> bool:
        """Whether an event fulfils a goal: their cosine exceeds T."""
        return self.cosine(event, goal) > self._threshold

    def open_goals(self, goals: Sequence[Goal], achieved: Sequence[str]) -> tuple[Goal, ...]:
        """The goals that none of the events paid for in this episode satisfies."""
        return self._open_goals(tuple(goals), tuple(achieved)) if achieved else tuple(goals)

    def _filter(self, goals: Sequence[Goal], achieved: Sequence[str]) -> tuple[Goal, ...]:
        paid = 0
        for event in achieved:
            paid |= self._bit(event)
        return tuple(goal for goal in goals if not self._satisfying(goal) & paid)

    def pay(self, events: Sequence[str], goals: Sequence[Goal], achieved: Sequence[str] = ()) -> Payment:
        """The reward for a transition.

        Args:
            events: captions of what happened.
            goals: suggested for the state before the action.
            achieved: events of this episode that close the goals that they satisfy: those paid for before.
        """
        close = []  # as far as it is known: in most frames nothing is
        for event in events:
            known = self._cosines.get(event, {})
            close += [(event, goal) for goal in goals if known.get(goal, UNKNOWN) > self._threshold]
        if not close:
            return NO_PAYMENT
        # Only open goals are judged. Judging gives an event an id, which must not depend on what else this process has
        # seen: it may have gone on with a run.
        still_open = set(self.open_goals([goal for _, goal in close], achieved))
        paid = [(event, goal) for event, goal in close if goal in still_open and self.satisfies(event, goal)]
        if not paid:
            return NO_PAYMENT
        reward = max(self.cosine(event, goal) for event, goal in paid)
        met_events, met_goals = zip(*paid, strict=True)
        return Payment(reward, tuple(dict.fromkeys(met_events)), tuple(dict.fromkeys(met_goals)))

    def _bit(self, event: str) -> int:
        if event not in self._bits:
            self._bits[event] = 1 << len(self._bits)
            self._satisfied_by.clear()  # a new event may satisfy goals already looked up
        return self._bits[event]

    def _satisfying(self, goal: Goal) -> int:
        """Bits of the paid events that satisfy a goal."""
        if goal not in self._satisfied_by:
            self._satisfied_by[goal] = sum(
                bit for event, bit in self._bits.items() if self.satisfies(event, goal)
            )
        return self._satisfied_by[goal]
