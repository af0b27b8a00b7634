"""Quality of suggested goals: the paper's four bins, and counts of goals in each."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ellm_agent.goals.base import Goal
from envs.interface import Language, Privileged

BINS = ("good", "poorly_timed", "bad", "nonsensical")


class GoalCounts:
    """Counts suggested and rewarded goals by the four bins of Du et al. 2023, and suggestions of each goal verbatim.

    - *good*: the oracle would suggest it now;
    - *poorly timed*: a real goal, not possible now;
    - *bad*: a verb and a noun of the action language that mean nothing together;
    - *nonsensical*: not in the action language.

    Args:
        language: of the world.

    Attributes:
        suggested: number of suggested goals by bin, so far.
        rewarded: number of rewarded goals by bin, so far.
        wordings: number of suggestions of each goal, verbatim, so far.
    """

    def __init__(self, language: Language):
        self._canonical, self._goals = language.canonical, frozenset(language.goals)
        self._pairs = frozenset(f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
        self._classify = functools.cache(self._classify)
        self.suggested: Counter[str] = Counter()
        self.rewarded: Counter[str] = Counter()
        self.wordings: Counter[Goal] = Counter()
        self._logged = {"suggested": Counter(), "rewarded": Counter()}  # counts at the last call of `metrics`

    def bins(self, goals: Collection[Goal], possible: Collection[Goal]) -> list[str]:
        """The bin of each goal, given the goals that are possible now."""
        return ["good" if spelling in possible else kind for spelling, kind in map(self._classify, goals)]

    def _classify(self, goal: Goal) -> tuple[str, str]:
        """The spelling of a goal, and its bin unless it is possible."""
        spelling = self._canonical(goal)
        if spelling in self._goals:
            return spelling, "poorly_timed"
        return spelling, "bad" if spelling in self._pairs else "nonsensical"

    def note_suggested(self, goals: Sequence[tuple[Goal, ...]], privileged: Sequence[Privileged]) -> None:
        """Counts the goals suggested to each world in one step."""
        for suggested, facts in zip(goals, privileged, strict=True):
            self.wordings.update(suggested)
            self.suggested.update(self.bins(suggested, facts.possible))

    def note_rewarded(self, goals: Sequence[Goal], possible: Collection[Goal]) -> None:
        """Counts goals that were rewarded, given those that were possible."""
        self.rewarded.update(self.bins(goals, possible))

    def metrics(self) -> dict[str, float]:
        """Shares of the bins among goals suggested and rewarded since the last call."""
        metrics = {}
        for name, counts in (("suggested", self.suggested), ("rewarded", self.rewarded)):
            new = counts - self._logged[name]
            self._logged[name] = Counter(counts)
            metrics |= {f"goals/{name}_{kind}": share for kind, share in shares(new).items()}
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {
            "suggested": dict(self.suggested),
            "rewarded": dict(self.rewarded),
            "wordings": dict(self.wordings),
            "logged": {name: dict(counts) for name, counts in self._logged.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.suggested, self.rewarded = Counter(state["suggested"]), Counter(state["rewarded"])
        self.wordings = Counter(state["wordings"])
        self._logged = {name: Counter(state["logged"][name]) for name in self._logged}


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Share of each quality bin; empty if nothing was counted."""
    total = sum(counts.values())
    return {kind: counts.get(kind, 0) / total for kind in BINS} if total else {}
