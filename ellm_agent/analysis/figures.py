"""Figures: one renderer for each, which draws for pages (SVG in the page's colours) and for PNG files alike."""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ellm_agent.analysis.results import Group, Result
from ellm_agent.analysis.statistics import Estimate, interquartile_mean, performance_profile
from ellm_agent.analysis.tables import words
from ellm_agent.evaluation.scores import RECENT

INK = "#010203"  # colour of text and axes in figures; on a page it becomes the page's own
COLOURS = ("#1a73e8", "#e8710a", "#12a4af", "#d01884", "#188038", "#9334e6", "#b06000", "#d93025", "#5f6368", "#7cb342", "#c6a700")  # fmt: skip
# Methods that always have the same colour.
KNOWN = ("open", "oracle", "closed", "rnd", "apt", "noveld", "icm", "novelty", "random", "scratch")
LINES = (
    "-",
    "--",
    ":",
    "-.",
    (0, (1, 4)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (8, 2, 1, 2)),
)  # of matplotlib
POINTS = 60  # of a curve

Rows = Sequence[Mapping[str, Any]]


INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
STYLE = {  # settings of matplotlib
    **dict.fromkeys(INKED, INK),
    "svg.fonttype": "none",
    "svg.hashsalt": "ellm",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
style = functools.partial(matplotlib.rc_context, STYLE)  # within which all figures are drawn and saved


def svg(figure: Figure) -> str:
    """A figure as an SVG element whose ink is that of the text around it, and whose size is for the page to say."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    head, rest = text.split(">", 1)
    return re.sub(r' (width|height)="[^"]*"', "", head) + ">" + rest


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, on white, for documents."""
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})


def _axes(width: float, height: float) -> Axes:
    """Axes of a new figure, in inches, that no global state of matplotlib holds."""
    return Figure(figsize=(width, height)).subplots()


def _thousands(rows: Rows) -> list[float]:
    return [row["frames"] / 1000 for row in rows]


# --- one run; drawn into a figure of its own unless there are axes ---------------------------------------------------


def run_curve(
    metrics: Rows,
    key: str,
    title: str,
    factor: float = 1,
    evaluations: Rows = (),
    axes: Axes | None = None,
) -> Figure:
    """A number against frames, in training and, if there are evaluations, on held-out worlds.

    Args:
        metrics: rows of the log.
        key: name of the number in them.
        title: for people.
        factor: by which it is multiplied.
        evaluations: rows of that log.
        axes: to draw into.
    """
    axes = axes or _axes(5, 3.4)
    rows = [row for row in metrics if row["episodes"]]
    axes.plot(_thousands(rows), [factor * row[key] for row in rows], color=COLOURS[0], label="training")
    if evaluations:
        held_out = [factor * row[key] for row in evaluations]
        axes.plot(_thousands(evaluations), held_out, "o", color=COLOURS[1], label="held-out worlds")
        axes.legend()
    axes.set(title=title, xlabel="thousand frames", ylim=(0, None))
    return axes.figure


def run_achievements(rates: Mapping[str, float], axes: Axes | None = None, of: str = "training") -> Figure:
    """Success rate of each achievement, as bars."""
    axes = axes or _axes(5, 1 + 0.2 * len(rates))
    ordered = dict(sorted(rates.items(), key=lambda item: item[1]))
    percent = [100 * rate for rate in ordered.values()]
    bars = axes.barh([words(name) for name in ordered], percent, color=COLOURS[4])
    axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7, color=INK)
    axes.set(title=f"success rate (all {of} episodes), %", xlim=(0, 112))
    axes.margins(y=0.01)
    return axes.figure


def run_quality(metrics: Rows, which: str, kinds: Iterable[str]) -> Figure | None:
    """Shares of the paper's bins among goals over time; None if no row has any.

    Args:
        metrics: rows of the log; those without such goals are left out.
        which: goals "suggested" or "rewarded".
        kinds: names of the bins.
    """
    columns = {words(kind): f"goals/{which}_{kind}" for kind in kinds}
    rows = [row for row in metrics if set(columns.values()) <= row.keys()]
    if not columns or not rows:
        return None
    axes = _axes(5, 3.2)
    shares = [[100 * row[column] for row in rows] for column in columns.values()]
    colours = [COLOURS[i] for i in (4, 0, 1, 7)]
    axes.stackplot(_thousands(rows), shares, labels=list(columns), colors=colours, alpha=0.8)
    axes.set(title=f"goals {which}, %", xlabel="thousand frames", ylim=(0, 100))
    axes.figure.legend(loc="outside lower center", ncols=4)
    return axes.figure


# --- a comparison ----------------------------------------------------------------------------------------------------


class LineStyle(NamedTuple):
    """How a method is drawn."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]


def line_styles(methods: Iterable[str]) -> dict[str, LineStyle]:
    """A style for each method: variants (``open-script``) share a colour and differ in the line, as far as lines reach."""
    fixed = dict(zip(KNOWN, COLOURS, strict=False))
    fixed["none"] = fixed["scratch"]  # of downstream tasks: not pretrained
    spare = itertools.cycle([*COLOURS[len(KNOWN) :], *COLOURS])
    styles: dict[str, LineStyle] = {}
    for name in sorted(methods, key=lambda name: (name not in fixed, name.count("-"), name)):
        base = name.partition("-")[0]
        if base not in fixed:
            fixed[base] = next(spare)
        own = (LineStyle(fixed[base], line) for line in LINES)
        others = (LineStyle(colour, line) for line in LINES for colour in COLOURS)
        drawn = set(styles.values())
        styles[name] = next(
            (one for one in itertools.chain(own, others) if one not in drawn),
            LineStyle(fixed[base], LINES[0]),
        )
    return styles


def comparison_curves(group: Group) -> Figure:
    """Learning curves: interquartile mean over seeds and 95 % interval."""
    frames, score = group.runs[0].frames, group.runs[0].world.score[1]
    points = np.linspace(frames / POINTS, frames, POINTS)
    figure = Figure(figsize=(10.5, 4))
    unlocks, scores = figure.subplots(1, 2)
    _bands(unlocks, points / 1000, group, lambda run: run.unlock_curve(points))
    _bands(scores, points / 1000, group, lambda run: run.score_curve(points))
    unlocks.set(title=f"unlocks per episode (last {RECENT})", xlabel="thousand frames", ylim=(0, None))
    scores.set(title=f"{score} (all episodes so far), %", xlabel="thousand frames", ylim=(0, None))
    figure.legend(*unlocks.get_legend_handles_labels(), loc="outside right upper")
    return figure


def comparison_achievements(group: Group) -> Figure:
    """Success rate of each achievement, by method, on a logarithmic axis as in Hafner 2022."""
    axes, styles = _axes(10.5, 3.6), line_styles(group.methods)
    success = group.values(lambda run: run.success)
    order = np.argsort(-np.mean([run.success for run in group.runs], axis=0))
    places, width = np.arange(len(order)), 0.85 / len(success)
    for i, name in enumerate(group.ranked()):
        rates = np.maximum(100 * success[name].mean(axis=0)[order], 1e-2)
        hatch = None if styles[name].line == LINES[0] else "////"
        axes.bar(places + i * width, rates, width, color=styles[name].colour, hatch=hatch, label=name)
    axes.set(yscale="log", ylim=(1e-2, 130), ylabel="success rate, %")
    names = [words(group.runs[0].achievements[i]) for i in order]
    axes.set_xticks(places + 0.4, names, rotation=45, ha="right")
    axes.figure.legend(loc="outside right upper")
    return axes.figure


def comparison_profile(group: Group) -> Figure:
    """Performance profile (Agarwal et al. 2021), with achievements in the place of tasks."""
    axes, thresholds = _axes(10.5, 3.6), np.linspace(0, 1, 101)
    estimate = functools.partial(performance_profile, thresholds=thresholds)
    _bands(axes, 100 * thresholds, group, lambda run: run.success, estimate, factor=100)
    axes.set(xlabel="success rate above ... %", ylabel="share of achievements and seeds, %", ylim=(0, 100))
    axes.figure.legend(loc="outside right upper")
    return axes.figure


def task_curves(group: Group) -> Figure:
    """Success rate against frames, a panel for each task: interquartile mean over seeds and 95 % interval."""
    points = np.linspace(0, group.runs[0].frames, POINTS)
    columns = min(3, len(group.tasks))
    lines = -(-len(group.tasks) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.6 * lines))
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True)
    handles: dict[str, Any] = {}
    for axes, task in zip(panels.flat, group.ranked_tasks(), strict=False):
        curve, styles = (lambda run: run.success_curve(points)), line_styles(group.methods)
        _bands(axes, points / 1000, group.tasks[task], curve, factor=100, styles=styles)
        axes.set(title=task, ylim=(0, 100))
        handles |= {line.get_label(): line for line in axes.get_lines()}
    for axes in panels.flat[len(group.tasks) :]:
        axes.set_visible(False)
    panels[-1][0].set(xlabel="thousand frames", ylabel=f"solved, % (last {RECENT})")
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", title="pretrained by")
    return figure


def _bands(
    axes: Axes,
    x: np.ndarray,
    group: Group,
    value: Callable[[Result], np.ndarray],
    estimate: Callable[[np.ndarray], Estimate] = interquartile_mean,
    factor: float = 1,
    styles: Mapping[str, LineStyle] | None = None,
) -> None:
    """A line and its interval for each method, the best first.

    Args:
        axes: to draw into.
        x: ``(points,)``.
        group: the runs.
        value: of a run.
        estimate: of a method's values, ``(seeds, ...)``; gives ``(points,)``.
        factor: of what is drawn.
        styles: of the methods; None: those of the group alone.
    """
    styles, values = styles or line_styles(group.methods), group.values(value)
    for name in sorted(values, key=lambda name: -values[name].mean()):
        found, (colour, line) = estimate(values[name]), styles[name]
        axes.plot(x, factor * found.centre, linestyle=line, color=colour, label=name)
        axes.fill_between(x, factor * found.low, factor * found.high, color=colour, alpha=0.15, lw=0)
