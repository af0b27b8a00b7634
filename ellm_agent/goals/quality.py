"""Quality of suggested goals: the paper's four bins, and recall and precision of each goal."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ellm_agent.goals.base import Goal
from envs.interface import Language, Privileged

BINS = ("good", "poorly_timed", "bad", "nonsensical")
# What is counted: goals by bin, suggestions verbatim, and of each goal the frames in which it was possible, suggested in
# any wording, and both.
COUNTS = ("suggested", "rewarded", "wordings", "possible", "named", "named_and_possible")
SINGLE = 200  # goals of a world, at most, for which each has figures of its own in the log
NOTED = 2**14  # distinct pairs of suggested and possible goals that are noted before they are counted


class GoalCounts:
    """Counts suggested and rewarded goals by the four bins of Du et al. 2023, and suggestions of each goal.

    - *good*: the oracle would suggest it now;
    - *poorly timed*: a real goal, not possible now;
    - *bad*: possible now, but the world says that it should not be (``Privileged.bad``); or a verb and a noun of the
      action language that mean nothing together;
    - *nonsensical*: not in the action language.

    Args:
        language: of the world.
    """

    def __init__(self, language: Language):
        self._canonical, self._goals = language.canonical, frozenset(language.goals)
        self._pairs = frozenset(f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
        self._classify = functools.cache(self._classify)
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTS}
        self._logged: dict[str, Counter[str]] = {
            name: Counter() for name in COUNTS
        }  # at the last call of `metrics`
        # (Suggested goals, facts) that are not yet in the counts -> frames: the same occur again and again.
        self._noted: Counter[tuple[tuple[Goal, ...], Privileged]] = Counter()

    @property
    def suggested(self) -> Counter[str]:
        """Number of suggested goals by bin, so far."""
        return self._up_to_date()["suggested"]

    @property
    def rewarded(self) -> Counter[str]:
        """Number of rewarded goals by bin, so far."""
        return self._counts["rewarded"]

    @property
    def wordings(self) -> Counter[Goal]:
        """Number of suggestions of each goal, verbatim, so far."""
        return self._up_to_date()["wordings"]

    def bins(self, goals: Collection[Goal], facts: Privileged) -> list[str]:
        """The bin of each goal, given what is so now."""
        possible, bad = facts.possible, facts.bad
        return [
            "good" if spelling in possible else "bad" if spelling in bad else kind
            for spelling, kind in map(self._classify, goals)
        ]

    def _classify(self, goal: Goal) -> tuple[str, str]:
        """The spelling of a goal, and its bin unless it is possible."""
        spelling = self._canonical(goal)
        if spelling in self._goals:
            return spelling, "poorly_timed"
        return spelling, "bad" if spelling in self._pairs else "nonsensical"

    def note_suggested(self, goals: Sequence[tuple[Goal, ...]], privileged: Sequence[Privileged]) -> None:
        """Counts the goals suggested to each world in one step."""
        self._noted.update((own, _bins_of(facts)) for own, facts in zip(goals, privileged, strict=True))
        if len(self._noted) > NOTED:
            self._up_to_date()

    def note_rewarded(self, goals: Sequence[Goal], facts: Privileged) -> None:
        """Counts goals that were rewarded, given what was so before."""
        self.rewarded.update(self.bins(goals, facts))

    def _up_to_date(self) -> dict[str, Counter[str]]:
        """The counts, with all that was noted."""
        counts = self._counts
        for (suggested, facts), frames in self._noted.items():
            possible = facts.possible
            for goal, kind in zip(suggested, self.bins(suggested, facts), strict=True):
                counts["wordings"][goal] += frames
                counts["suggested"][kind] += frames
            named = {
                self._classify(goal)[0] for goal in suggested
            } & self._goals  # once, however it is worded
            for name, goals in (
                ("possible", possible),
                ("named", named),
                ("named_and_possible", named.intersection(possible)),
            ):
                for goal in goals:
                    counts[name][goal] += frames
        self._noted.clear()
        return counts

    def metrics(self) -> dict[str, float]:
        """Since the last call: shares of the bins among goals suggested and rewarded, and of each goal the *recall*
        (share of the frames in which it was possible that it was suggested) and the *precision* (share of the frames
        in which it was suggested that it was possible). Frames are those of all worlds. Worlds with more than
        ``SINGLE`` goals have recall and precision of all goals together.
        """
        new = {name: counts - self._logged[name] for name, counts in self._up_to_date().items()}
        self._logged = {name: Counter(counts) for name, counts in self._counts.items()}
        metrics = {}
        for name in ("suggested", "rewarded"):
            metrics |= {f"goals/{name}_{kind}": share for kind, share in shares(new[name]).items()}
        for measure, frames in (("recall", new["possible"]), ("precision", new["named"])):
            if len(self._goals) > SINGLE and frames:
                metrics[f"goals/{measure}"] = new["named_and_possible"].total() / frames.total()
            for goal in sorted(frames) if len(self._goals) <= SINGLE else ():
                share = new["named_and_possible"][goal] / frames[goal]
                metrics[f"goals/{measure}/{goal.replace(' ', '_')}"] = share
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {
            **{name: dict(counts) for name, counts in self._up_to_date().items()},
            "logged": {name: dict(counts) for name, counts in self._logged.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._noted.clear()
        self._counts = {name: Counter(state[name]) for name in COUNTS}
        self._logged = {name: Counter(state["logged"][name]) for name in COUNTS}


def _bins_of(facts: Privileged) -> Privileged:
    """The facts on which bins depend."""
    return Privileged(facts.possible, bad=facts.bad) if facts.needed else facts


def shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Share of each quality bin; empty if nothing was counted."""
    total = sum(counts.values())
    return {kind: counts.get(kind, 0) / total for kind in BINS} if total else {}
