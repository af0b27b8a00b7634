"""Tables and figures of downstream tasks, from the raw files of a comparison alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ellm_agent.analysis import page
from ellm_agent.analysis.comparison_report import FEW, POINTS, band, looks, saved
from ellm_agent.analysis.results import Result
from ellm_agent.analysis.statistics import interquartile_mean
from ellm_agent.runs.callbacks import RECENT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ByTask = dict[str, dict[str, list[Result]]]  # task -> method of pretraining -> results by seed
AREA = (
    "Normalised area under the curve: the share of solved episodes (of the last "
    f"{RECENT}; 0 until the first has ended), averaged over all frames of the task."
)
HEAD = ("pretrained by", "seeds", "mean area over all tasks", "each seed")
WHOLE_SEEDS = "A seed is one pretrained agent and all that it learns, so the interval is over whole seeds. Of three seeds it is their range."


def areas(by_task: ByTask) -> dict[str, np.ndarray]:
    """Normalised areas of methods that have results for every task, ``(seeds, tasks)``, of the seeds that all tasks have."""
    found = {}
    for method in dict.fromkeys(name for methods in by_task.values() for name in methods):
        each = [
            {run.cell.seed: run.area() for run in methods.get(method, [])} for methods in by_task.values()
        ]
        seeds = sorted(set.intersection(*(set(of_task) for of_task in each)))
        if seeds:
            found[method] = np.array([[of_task[seed] for of_task in each] for seed in seeds])
    return dict(sorted(found.items(), key=lambda item: -item[1].mean()))


def overall(by_task: ByTask) -> list[tuple[str, ...]]:
    """One row for each method, see ``HEAD``."""
    found = {name: values.mean(axis=1) for name, values in areas(by_task).items()}
    told = interquartile_mean(found)
    return [
        (name, str(len(means)), told[name].told(len(means)), ", ".join(f"{mean:.2f}" for mean in means))
        for name, means in found.items()
    ]


def by_each(by_task: ByTask) -> tuple[list[str], list[tuple[str, ...]]]:
    """Names of methods, and a row of areas for each task."""
    order = list(
        dict.fromkeys([*areas(by_task), *(name for methods in by_task.values() for name in methods)])
    )
    rows = []
    for task in ranked(by_task):
        methods = by_task[task]
        there = {name: np.array([run.area() for run in runs]) for name, runs in methods.items()}
        estimates = interquartile_mean(there)
        rows.append((task, *(estimates[n].told(len(there[n])) if n in there else "-" for n in order)))
    return order, rows


def ranked(by_task: ByTask) -> list[str]:
    """Tasks by how well they are solved, the easiest first."""
    return sorted(
        by_task, key=lambda task: -np.mean([run.area() for runs in by_task[task].values() for run in runs])
    )


def frames(by_task: ByTask) -> int:
    """Of each run."""
    return next(iter(next(iter(by_task.values())).values()))[0].frames


def title(protocol: str, algo: str, by_task: ByTask) -> str:
    """What a section is about."""
    guided = any(run.guided for methods in by_task.values() for runs in methods.values() for run in runs)
    how = f"by a fresh DQN, guided by {algo} agents" if guided else f"by fine-tuning, {algo}"
    return f"Downstream tasks {how}: {protocol} protocol, {frames(by_task):,} frames each"


def markdown(groups: dict[tuple[str, str], ByTask]) -> str:
    """The tables as Markdown."""
    lines = []
    for (protocol, algo), by_task in groups.items():
        order, rows = by_each(by_task)
        lines += [f"### {title(protocol, algo, by_task)}", "", AREA, ""]
        lines += [*page.markdown(overall(by_task), HEAD), "", WHOLE_SEEDS, ""]
        lines += [*page.markdown(rows, ("task", *order)), "", FEW, ""]
    return "\n".join(lines)


def build(groups: dict[tuple[str, str], ByTask]) -> list[str]:
    """Parts of the page."""
    parts = []
    with page.figures():
        for (protocol, algo), by_task in groups.items():
            order, rows = by_each(by_task)
            parts.append(page.heading(title(protocol, algo, by_task)))
            parts.append(page.drawing(curves(by_task), "Share of episodes in which the task is solved"))
            parts += [page.paragraph(AREA, aside=True), page.table(overall(by_task), HEAD, (1,))]
            parts.append(page.paragraph(WHOLE_SEEDS, aside=True))
            parts += [page.table(rows, ("area, by task", *order)), page.paragraph(FEW, aside=True)]
    return parts


def save_curves(by_task: ByTask, path: Path) -> None:
    """Success curves as a PNG, for documents."""
    saved(lambda: curves(by_task), path)


def curves(by_task: ByTask) -> Figure:
    """Success rate against frames, a panel for each task: interquartile mean over seeds and 95 % interval."""
    from matplotlib import pyplot

    look = looks({name for methods in by_task.values() for name in methods})
    points = np.linspace(0, frames(by_task), POINTS)
    columns = min(3, len(by_task))
    lines = -(-len(by_task) // columns)
    figure, panels = pyplot.subplots(
        lines, columns, figsize=(3.6 * columns, 2.6 * lines), layout="constrained", squeeze=False, sharex=True
    )
    for axes, task in zip(panels.flat, ranked(by_task), strict=False):
        found = interquartile_mean(
            {
                name: np.stack([run.success_curve(points) for run in runs])
                for name, runs in by_task[task].items()
            }
        )
        for name in sorted(found, key=lambda name: -float(found[name].centre.mean())):
            band(axes, points / 1000, found[name], look[name], name, factor=100)
        axes.set(title=task, ylim=(0, 100))
    for axes in panels.flat[len(by_task) :]:
        axes.set_visible(False)
    panels[-1][0].set(xlabel="thousand frames", ylabel=f"solved, % (last {RECENT})")
    handles = {}
    for axes in panels.flat:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", title="pretrained by")
    return figure
