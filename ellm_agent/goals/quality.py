"""How good suggested goals are: the paper's four bins, and how many fell into each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ellm_agent.goals.base import Goal
from envs.interface import Situation

BINS = ("good", "poorly_timed", "bad", "nonsensical")
UNCOUNTED = 2**10  # steps whose suggestions are kept until somebody wants to know their counts, at most


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

    def sort(self, goals: Collection[Goal], possible: Collection[Goal]) -> list[str]:
        """The bin of each goal, given the goals possible now."""
        told = [self._seen.get(goal) or self._see(goal) for goal in goals]
        return ["good" if spelling in possible else kind for spelling, kind in told]

    def _see(self, goal: Goal) -> tuple[str, str]:
        spelling = self._canonical(goal)
        if spelling in self._goals:
            kind = "poorly_timed"
        else:
            kind = "bad" if spelling in self._language else "nonsensical"
        self._seen[goal] = spelling, kind
        return spelling, kind


class GoalCounts:
    """Counts goals suggested and rewarded by quality bin, and how often each was suggested, as it was worded.

    Args:
        bins: sorts goals.

    Attributes:
        rewarded: counts of rewarded goals by bin, so far.
    """

    def __init__(self, bins: QualityBins):
        self._bins = bins
        self._suggested: Counter[str] = Counter()
        self._wordings: Counter[Goal] = Counter()
        self._uncounted: list[tuple[Sequence[tuple[Goal, ...]], Sequence[Situation]]] = []  # of each step
        self.rewarded: Counter[str] = Counter()
        self._told = {"suggested": Counter(), "rewarded": Counter()}

    def note_suggested(self, goals: Sequence[tuple[Goal, ...]], situations: Sequence[Situation]) -> None:
        """Takes note of the goals of each world in one step; they are counted when somebody wants to know."""
        self._uncounted.append((goals, situations))
        if len(self._uncounted) == UNCOUNTED:
            self._count()

    def note_rewarded(self, goals: Sequence[Goal], possible: Collection[Goal]) -> None:
        """Counts goals that were paid for, given those that were possible."""
        self.rewarded.update(self._bins.sort(goals, possible))

    @property
    def suggested(self) -> Counter[str]:
        """Counts of suggested goals by bin, so far."""
        self._count()
        return self._suggested

    @property
    def wordings(self) -> Counter[Goal]:
        """How often each goal was suggested, as it was worded, so far."""
        self._count()
        return self._wordings

    def metrics(self) -> dict[str, float]:
        """Shares of the bins among goals suggested and rewarded since the last call."""
        metrics = {}
        for name, counts in (("suggested", self.suggested), ("rewarded", self.rewarded)):
            new = counts - self._told[name]
            self._told[name] = Counter(counts)
            metrics |= {f"goals/{name}_{kind}": share for kind, share in shares(new).items()}
        return metrics

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values."""
        return {
            "suggested": dict(self.suggested),
            "rewarded": dict(self.rewarded),
            "wordings": dict(self.wordings),
            "told": {name: dict(counts) for name, counts in self._told.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what ``state`` gave.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if it is no such state.
        """
        self._suggested, self.rewarded = _counter(state["suggested"]), _counter(state["rewarded"])
        self._wordings = _counter(state["wordings"])
        self._told = {name: _counter(state["told"][name]) for name in self._told}
        self._uncounted.clear()

    def _count(self) -> None:
        told = [
            (goals, situation.possible)
            for step in self._uncounted
            for goals, situation in zip(*step, strict=True)
        ]
        for (goals, possible), times in Counter(told).items():  # most are the same again and again
            for goal, kind in zip(goals, self._bins.sort(goals, possible), strict=True):
                self._suggested[kind] += times
                self._wordings[goal] += times
        self._uncounted.clear()


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Share of each quality bin; nothing if nothing was counted."""
    total = sum(counts.values())
    return {kind: counts.get(kind, 0) / total for kind in BINS} if total else {}


def _counter(counts: Mapping[str, int]) -> Counter[str]:
    return Counter({str(name): int(count) for name, count in counts.items()})
