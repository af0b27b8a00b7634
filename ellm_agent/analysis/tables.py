"""Tables of results, as rows of text. How they are written (Markdown, a page) is for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellm_agent.analysis.results import Group, Result, TaskGroup
from ellm_agent.analysis.statistics import Estimate, interquartile_mean, probability_of_improvement
from ellm_agent.config.methods import METHODS
from ellm_agent.evaluation.scores import RECENT
from envs.interface import Language, World

INTERVALS = (
    "In brackets: 95 % stratified bootstrap interval of the interquartile mean over seeds. Of three seeds it is their "
    "range, and covers the true mean in about three quarters of such experiments; of five, in about nine of ten; in fewer "
    "where results are skewed."
)
AREA = (
    "Normalised area under the curve: the share of solved episodes (of the last "
    f"{RECENT}; 0 until the first has ended), averaged over all frames of the task."
)
WHOLE_SEEDS = (
    "A seed is one pretrained agent and all that it learns, so the interval is over whole seeds. Of three seeds it is "
    "their range."
)


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        rows: cells.
        head: titles of the columns, if any.
        numbers: columns that hold numbers.
    """

    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()
    numbers: Sequence[int] = ()

    @property
    def columns(self) -> int:
        """How many it has."""
        return max(map(len, (self.head, *self.rows)))

    def markdown(self) -> list[str]:
        """Its lines in Markdown."""
        first, *lines = (f"| {' | '.join(cells)} |" for cells in (self.head, *self.rows))
        return [first, "|---" * len(self.head) + "|", *lines]


def words(name: str) -> str:
    """An achievement's or a bin's name for people."""
    return name.replace("_", " ")


# --- one run ---------------------------------------------------------------------------------------------------------


def achievements(
    rates: Mapping[str, float], first: Mapping[str, int], language: Language | None = None
) -> Table:
    """Success rate of each achievement, and the end of the first episode that unlocked it; the most frequent first.

    Args:
        rates: achievement -> success rate, in [0, 1].
        first: achievement -> frame at which the first episode with it ended.
        language: says which goal each achievement is, in the words of events, where it knows.
    """
    goals = goal_names(language) if language else {}
    rows = []
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        goal = (goals.get(name, "-"),) if goals else ()
        rows.append((words(name), *goal, f"{rate:.1%}", f"{first[name]:,}" if name in first else "never"))
    goal = ("as a goal",) if goals else ()
    head = ("achievement", *goal, "success rate", "end of the first episode with it, frame")
    return Table(rows, head, (len(head) - 2, len(head) - 1))


def goal_names(language: Language) -> dict[str, str]:
    """Achievement -> the goal that it is, in the words of events; empty if the language does not say."""
    return dict(getattr(language, "goal_of", {}))


def quality_shares(shares: Mapping[str, float]) -> str:
    """The shares of the paper's bins in one line."""
    return ", ".join(f"{words(kind)} {share:.1%}" for kind, share in shares.items())


# --- a comparison ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MethodEstimate:
    """Unlocks per episode and score of a method."""

    unlocks: Estimate
    score: Estimate


def estimates(group: Group) -> dict[str, MethodEstimate]:
    """Estimates of each method, the best first."""
    unlocks = interquartile_mean(
        {name: np.array([r.unlocks for r in runs]) for name, runs in group.methods.items()}
    )
    scores = interquartile_mean(
        {name: np.array([r.score for r in runs]) for name, runs in group.methods.items()}
    )
    return {name: MethodEstimate(unlocks[name], scores[name]) for name in group.ranked()}


def methods(group: Group) -> Table:
    """The results: one row for each method."""
    rows = []
    for name, found in estimates(group).items():
        runs = group.methods[name]
        seconds = [run.summary["seconds"] for run in runs]
        rate = np.mean([run.frames / max(took, 1e-9) for run, took in zip(runs, seconds, strict=True)])
        each = "; ".join(f"{run.unlocks:.2f}, {run.score:.1f}" for run in runs)
        row = (
            name,
            goals_from(runs[0]),
            str(len(runs)),
            f"{runs[0].frames:,}",
            found.unlocks.text(len(runs)),
        )
        rows.append((*row, found.score.text(len(runs)), each, f"{rate:,.0f}", f"{np.mean(seconds) / 60:.1f}"))
    head = ("method", "goals from", "seeds", "frames", f"unlocks/episode, last {RECENT}")
    head += (f"{group.world.score[1]} %, all episodes", "each seed: unlocks, score %")
    return Table(rows, (*head, "frames/s, as run", "minutes a run"), (2, 3, 4, 5, 7, 8))


def goals_from(run: Result) -> str:
    """The source of the goals, in a few words."""
    suggester = run.summary["suggester"]
    if "NOT a language model" in suggester:
        return "built-in script, NOT a language model"
    return suggester.partition(":")[0]


def versions(group: Group) -> str:
    """Which versions of this package made a group of runs, if they are not all the same; or ""."""
    by_version: dict[str, list[str]] = {}
    for name in group.ranked():
        for version in sorted({run.version for run in group.methods[name]}):
            by_version.setdefault(version, []).append(name)
    if len(by_version) == 1:
        return ""
    listed = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(by_version.items()))
    return f"Versions that made the runs: {listed}."


def improvements(group: Group) -> Table:
    """Probabilities that runs of ELLM are better than those of other methods, and novelty rewards than chance."""
    others = [name for name in group.ranked() if not name.startswith(("open", "oracle", "closed"))]
    pairs = [(ours, other) for ours in ("open", "oracle") if ours in group.methods for other in others]
    for_novelty = [name for name in others if "reward.novelty.kind" in METHODS.get(name, {})]
    pairs += [(name, "random") for name in for_novelty if "random" in group.methods]
    rows = []
    for pair in pairs:
        scores = [[run.score for run in group.methods[name]] for name in pair]
        if min(map(len, scores)) > 2:
            rows.append((" > ".join(pair), str(probability_of_improvement(*scores))))
    return Table(rows, ("pair", "probability"))


def improvements_note(group: Group) -> str:
    """How ``improvements`` is to be read."""
    return (
        f"Probability that a run of the first is better, by {group.world.score[1]}, with its 95 % bootstrap interval. Of "
        "three seeds each, 1.00 says that all nine pairs are so, which happens by chance once in twenty times."
    )


def quality(group: Group) -> Table:
    """Shares of the paper's four bins among goals suggested and rewarded, for methods that have goals."""
    rows, kinds = [], []
    for name, runs in group.methods.items():
        for which in ("suggested", "rewarded"):
            shares = [run.summary["quality"].get(which) for run in runs]
            if all(shares):
                kinds = list(shares[0])
                rows.append((name, which, *(f"{np.mean([s[kind] for s in shares]):.1%}" for kind in kinds)))
    return Table(rows, ("goals of", "", *map(words, kinds)), range(2, 6))


def first_unlocks(group: Group) -> Table:
    """Median over seeds of the frame at which the first episode with each achievement ended."""
    order, goals = group.ranked(), goal_names(group.runs[0].language)
    medians = [np.median([run.first_unlocks() for run in group.methods[name]], axis=0) for name in order]
    rows = []
    for i, name in enumerate(group.achievements):
        cells = (f"{median[i]:,.0f}" if np.isfinite(median[i]) else "never" for median in medians)
        rows.append((words(name), *((goals.get(name, "-"),) if goals else ()), *cells))
    titles = (
        "end of the first episode that unlocked it, frame (median seed)",
        *(("as a goal",) if goals else ()),
    )
    return Table(rows, (*titles, *order), range(len(titles), len(titles) + len(order)))


def published(world: World) -> Table:
    """Published results, as their authors report them."""
    head = ("method", "reward", "frames", f"{world.score[1]} %", "reward or unlocks per episode")
    return Table(world.published, head)


# --- downstream tasks ------------------------------------------------------------------------------------------------


def areas(group: TaskGroup) -> dict[str, np.ndarray]:
    """Normalised areas, ``(seeds, tasks)``, of the seeds that all tasks have; of methods with results for every task."""
    found = {}
    for method in group.methods:
        each = [
            {run.cell.seed: run.area() for run in of_task.methods.get(method, [])}
            for of_task in group.tasks.values()
        ]
        seeds = sorted(set.intersection(*(set(of_task) for of_task in each)))
        if seeds:
            found[method] = np.array([[of_task[seed] for of_task in each] for seed in seeds])
    return dict(sorted(found.items(), key=lambda item: -item[1].mean()))


def mean_areas(found: Mapping[str, np.ndarray]) -> Table:
    """One row for each method: its mean area over all tasks.

    Args:
        found: method -> ``(seeds, tasks)``, see ``areas``.
    """
    means = {name: values.mean(axis=1) for name, values in found.items()}
    centre = interquartile_mean(means)
    rows = [
        (name, str(len(each)), centre[name].text(len(each)), ", ".join(f"{mean:.2f}" for mean in each))
        for name, each in means.items()
    ]
    return Table(rows, ("pretrained by", "seeds", "mean area over all tasks", "each seed"), (1,))


def areas_by_task(group: TaskGroup, title: str = "task") -> Table:
    """A row of areas for each task, a column for each method."""
    order = list(dict.fromkeys([*areas(group), *group.methods]))
    rows = []
    for task in group.ranked():
        there = {
            name: np.array([run.area() for run in runs]) for name, runs in group.tasks[task].methods.items()
        }
        found = interquartile_mean(there)
        rows.append((task, *(found[n].text(len(there[n])) if n in there else "-" for n in order)))
    return Table(rows, (title, *order))


def pairs(facts: Mapping[str, Any]) -> Table:
    """Names and values, without a head."""
    return Table([(name, str(value)) for name, value in facts.items()])
