"""Tables of results, as rows of text, for documents (Markdown), pages and terminals alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import rich.table
from rich.text import Text

from ellm_agent.analysis.results import Cell, Group, Result, language_of
from ellm_agent.analysis.statistics import interquartile_mean, probability_of_improvement
from ellm_agent.config.methods import METHODS
from ellm_agent.evaluation.scores import RECENT
from envs.interface import Language


@dataclass(frozen=True)
class Table:
    """Rows of text; pages render it by the macro ``table`` of ``base.html.j2``.

    Attributes:
        rows: cells.
        head: titles of the columns, if any.
        numbers: columns that hold numbers.
    """

    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()
    numbers: Sequence[int] = ()

    def markdown(self) -> str:
        """Its lines in Markdown."""
        first, *lines = (f"| {' | '.join(cells)} |" for cells in (self.head, *self.rows))
        return "\n".join([first, "|---" * len(self.head) + "|", *lines])

    def console(self, title: str) -> rich.table.Table:
        """As rich prints it; cells are not read as markup."""
        table = rich.table.Table(title=title, title_justify="left")
        for i, name in enumerate(self.head):
            table.add_column(name, justify="right" if i in self.numbers else "left", no_wrap=True)
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def words(name: str) -> str:
    """An achievement's or a bin's name for people."""
    return name.replace("_", " ")


# --- one run ---------------------------------------------------------------------------------------------------------


def achievements(rates: Mapping[str, float], first: Mapping[str, int], language: Language) -> Table:
    """Success rate of each achievement, and the end of the first episode that unlocked it; the most frequent first.

    Args:
        rates: achievement -> success rate, in [0, 1].
        first: achievement -> frame at which the first episode with it ended.
        language: says which goal each achievement is, in the words of events.
    """
    rows = []
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        frame = f"{first[name]:,}" if name in first else "never"
        rows.append((words(name), language.goal_of.get(name, "-"), f"{rate:.1%}", frame))
    head = ("achievement", "as a goal", "success rate", "end of the first episode with it, frame")
    return Table(rows, head, (2, 3))


def quality_shares(shares: Mapping[str, float]) -> str:
    """The shares of the paper's bins in one line."""
    return ", ".join(f"{words(kind)} {share:.1%}" for kind, share in shares.items())


# --- a comparison ----------------------------------------------------------------------------------------------------


def methods(group: Group) -> Table:
    """The results: one row for each method, the best first."""
    rows = []
    for name in group.ranked():
        runs = group.methods[name]
        seconds = np.array([run.summary["seconds"] for run in runs])
        unlocks, scores = [run.unlocks for run in runs], [run.score for run in runs]
        each = "; ".join(f"{n:.2f}, {score:.1f}" for n, score in zip(unlocks, scores, strict=True))
        rows.append(
            (
                name,
                goals_from(runs[0]),
                str(len(runs)),
                f"{runs[0].frames:,}",
                interquartile_mean(unlocks).text(len(runs)),
                interquartile_mean(scores).text(len(runs)),
                each,
                f"{np.mean(runs[0].frames / np.maximum(seconds, 1e-9)):,.0f}",
                f"{seconds.mean() / 60:.1f}",
            )
        )
    score = f"{group.runs[0].world.score[1]} %, all episodes"
    head = ("method", "goals from", "seeds", "frames", f"unlocks/episode, last {RECENT}", score)
    head += ("each seed: unlocks, score %", "frames/s, as run", "minutes a run")
    return Table(rows, head, (2, 3, 4, 5, 7, 8))


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
        made_by = {run.summary["versions"].get("ellm-agent", "before 0.7.0") for run in group.methods[name]}
        for version in sorted(made_by):
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
    scores = group.values(lambda run: run.score)
    rows = [
        (f"{one} > {other}", str(probability_of_improvement(scores[one], scores[other])))
        for one, other in pairs
        if min(len(scores[one]), len(scores[other])) > 2
    ]
    return Table(rows, ("pair", "probability"))


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
    order, run = group.ranked(), group.runs[0]
    goal_of = language_of(run.config).goal_of
    frames = group.values(lambda run: run.first_unlocks)
    medians = np.array([np.median(frames[name], axis=0) for name in order]).T  # (achievements, methods)
    goals = [goal_of.get(name, "-") for name in run.achievements]
    rows = [
        (words(name), goal, *(f"{frame:,.0f}" if np.isfinite(frame) else "never" for frame in of_it))
        for name, goal, of_it in zip(run.achievements, goals, medians, strict=True)
    ]
    title = "end of the first episode that unlocked it, frame (median seed)"
    return Table(rows, (title, "as a goal", *order), range(2, 2 + len(order)))


# --- downstream tasks ------------------------------------------------------------------------------------------------


def areas(group: Group) -> dict[str, np.ndarray]:
    """Normalised areas, ``(seeds, tasks)``, of the seeds that all tasks have; of methods with results for every task."""
    each = pd.DataFrame([(*dataclasses.astuple(run.cell), run.area) for run in group.runs])
    each.columns = [field.name for field in dataclasses.fields(Cell)] + ["area"]
    complete = each.pivot(index=["method", "seed"], columns="task", values="area").dropna()
    found = {method: of_it.to_numpy() for method, of_it in complete.groupby(level="method")}
    return dict(sorted(found.items(), key=lambda item: -item[1].mean()))


def mean_areas(found: Mapping[str, np.ndarray]) -> Table:
    """One row for each method: its mean area over all tasks.

    Args:
        found: method -> ``(seeds, tasks)``, see ``areas``.
    """
    rows = []
    for name, values in found.items():
        means = values.mean(axis=1)
        each = ", ".join(f"{mean:.2f}" for mean in means)
        rows.append((name, str(len(means)), interquartile_mean(means).text(len(means)), each))
    return Table(rows, ("pretrained by", "seeds", "mean area over all tasks", "each seed"), (1,))


def areas_by_task(group: Group, title: str) -> Table:
    """A row of areas for each task, a column for each method."""
    order = list(dict.fromkeys([*areas(group), *group.methods]))
    rows = []
    for task in group.ranked_tasks():
        found = group.tasks[task].values(lambda run: run.area)
        texts = {name: interquartile_mean(each).text(len(each)) for name, each in found.items()}
        rows.append((task, *(texts.get(name, "-") for name in order)))
    return Table(rows, (title, *order))
