"""How good a suggested goal is: the paper's four bins."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ellm_agent.goals.base import Goal

BINS = ("good", "poorly_timed", "bad", "nonsensical")


class QualityBins:
    """Sorts goals into the four bins of the paper.

    - *good*: the oracle would suggest it now;
    - *poorly timed*: a real goal, not possible now;
    - *bad*: a verb and a noun of the action language that mean nothing together;
    - *nonsensical*: not in the action language.

    Args:
        canonical: one spelling per goal.
        goals: all real goals.
        verbs: of the action language.
        nouns: of the action language.
    """

    def __init__(
        self,
        canonical: Callable[[str], str],
        goals: Collection[Goal],
        verbs: Collection[str],
        nouns: Collection[str],
    ):
        self._canonical, self._goals = canonical, frozenset(goals)
        self._language = frozenset(f"{verb} {noun}" for verb in verbs for noun in nouns)
        self._seen: dict[Goal, tuple[str, str]] = {}  # goal -> (spelling, bin unless possible)

    def bin(self, goal: Goal, possible: Collection[Goal]) -> str:
        """The bin of a goal, given the goals possible now."""
        if goal not in self._seen:
            spelling = self._canonical(goal)
            if spelling in self._goals:
                kind = "poorly_timed"
            else:
                kind = "bad" if spelling in self._language else "nonsensical"
            self._seen[goal] = spelling, kind
        spelling, kind = self._seen[goal]
        return "good" if spelling in possible else kind
