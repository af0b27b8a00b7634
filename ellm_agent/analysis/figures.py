"""Figures: one renderer for each, which draws for pages (SVG in the page's colours) and for PNG files alike."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ellm_agent.analysis.results import Group, TaskGroup
from ellm_agent.analysis.statistics import Estimate, interquartile_mean, performance_profile
from ellm_agent.analysis.tables import words
from ellm_agent.evaluation.scores import RECENT

INK = "#010203"  # colour of text and axes in figures; on a page it becomes the page's own
COLOURS = ("#1a73e8", "#e8710a", "#12a4af", "#d01884", "#188038", "#9334e6", "#b06000", "#d93025", "#5f6368", "#7cb342", "#c6a700")  # fmt: skip
# Methods that always have the same colour.
KNOWN = ("open", "oracle", "closed", "rnd", "apt", "noveld", "icm", "novelty", "random", "scratch")
LINES = ("-", "--", ":", "-.")
POINTS = 60  # of a curve

Rows = Sequence[Mapping[str, Any]]


@contextmanager
def style() -> Iterator[None]:
    """Settings of matplotlib within which all figures are drawn and saved."""
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {
        **dict.fromkeys(ink, INK),
        "svg.fonttype": "none",
        "svg.hashsalt": "ellm",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
    with matplotlib.rc_context(settings):
        yield


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


def _panels(lines: int, columns: int, size: tuple[float, float], **more: Any) -> tuple[Figure, np.ndarray]:
    """A figure that no global state of matplotlib holds, and its axes, ``(lines, columns)``."""
    figure = Figure(figsize=size)
    return figure, figure.subplots(lines, columns, squeeze=False, **more)


# --- one run ---------------------------------------------------------------------------------------------------------


def run_overview(metrics: Rows, evaluations: Rows, rates: Mapping[str, float], score: Score) -> Figure:
    """Unlocks, score and success rates side by side: ``curves.png``."""
    figure, (axes,) = _panels(1, 3, (14, 4.6), width_ratios=(1, 1, 1.1))
    _unlocks(axes[0], metrics, evaluations)
    _score(axes[1], metrics, score)
    _achievements(axes[2], rates)
    return figure


def run_unlocks(metrics: Rows, evaluations: Rows) -> Figure:
    """Unlocks per episode against frames."""
    figure, ((axes,),) = _panels(1, 1, (5, 3.4))
    _unlocks(axes, metrics, evaluations)
    return figure


def run_score(metrics: Rows, score: Score) -> Figure:
    """The score, or the share of solved episodes, against frames."""
    figure, ((axes,),) = _panels(1, 1, (5, 3.4))
    _score(axes, metrics, score)
    return figure


def run_achievements(rates: Mapping[str, float]) -> Figure:
    """Success rate of each achievement, as bars."""
    figure, ((axes,),) = _panels(1, 1, (5, 1 + 0.2 * len(rates)))
    _achievements(axes, rates)
    return figure


def run_quality(metrics: Rows, which: str, kinds: Sequence[str]) -> Figure:
    """Shares of the paper's bins among goals over time.

    Args:
        metrics: rows of the log; those without such goals are left out.
        which: goals "suggested" or "rewarded".
        kinds: names of the bins.
    """
    rows = [row for row in metrics if f"goals/{which}_{kinds[0]}" in row]
    shares = [[100 * row[f"goals/{which}_{kind}"] for row in rows] for kind in kinds]
    figure, ((axes,),) = _panels(1, 1, (5, 3.2))
    colours = [COLOURS[i] for i in (4, 0, 1, 7)]
    axes.stackplot(_thousands(rows), shares, labels=list(map(words, kinds)), colors=colours, alpha=0.8)
    axes.set(title=f"goals {which}, %", xlabel="thousand frames", ylim=(0, 100))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


class Score(NamedTuple):
    """The number that says how well a run does, in rows of its metrics.

    Attributes:
        key: its name there.
        title: for people.
        factor: that makes it %.
    """

    key: str
    title: str
    factor: float = 1


def _thousands(rows: Rows) -> list[float]:
    return [row["frames"] / 1000 for row in rows]


def _unlocks(axes: Axes, metrics: Rows, evaluations: Rows) -> None:
    rows = [row for row in metrics if row["episodes"]]
    for some, mark, colour, label in (
        (rows, "-", COLOURS[0], "training"),
        (evaluations, "o", COLOURS[1], "held-out worlds"),
    ):
        axes.plot(
            _thousands(some), [row["unlocks_per_episode"] for row in some], mark, color=colour, label=label
        )
    axes.set(title=f"unlocks per episode (last {RECENT})", xlabel="thousand frames", ylim=(0, None))
    axes.legend()


def _score(axes: Axes, metrics: Rows, score: Score) -> None:
    rows = [row for row in metrics if row["episodes"]]
    axes.plot(_thousands(rows), [score.factor * row[score.key] for row in rows], color=COLOURS[0])
    axes.set(title=f"{score.title}, %", xlabel="thousand frames", ylim=(0, None))


def _achievements(axes: Axes, rates: Mapping[str, float]) -> None:
    ordered = sorted(rates.items(), key=lambda item: item[1])
    bars = axes.barh(
        [words(name) for name, _ in ordered], [100 * rate for _, rate in ordered], color=COLOURS[4]
    )
    axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7, color=INK)
    axes.set(title="success rate (all training episodes), %", xlim=(0, 112))
    axes.margins(y=0.01)


# --- a comparison ----------------------------------------------------------------------------------------------------


class LineStyle(NamedTuple):
    """How a method is drawn."""

    colour: str
    line: str


def line_styles(methods: Iterable[str]) -> dict[str, LineStyle]:
    """A style for each method: variants (``open-script``) share a colour and differ in the line."""
    fixed = dict(zip(KNOWN, COLOURS, strict=False))
    fixed["none"] = fixed["scratch"]  # of downstream tasks: not pretrained
    spare = itertools.cycle([*COLOURS[len(KNOWN) :], *COLOURS])
    styles: dict[str, LineStyle] = {}
    for name in sorted(methods, key=lambda name: (name.count("-"), name)):
        base = name.partition("-")[0]
        if base not in fixed:
            fixed[base] = next(spare)
        before = [one for one in styles.values() if one.colour == fixed[base]]
        styles[name] = LineStyle(fixed[base], LINES[len(before) % len(LINES)])
    return styles


def comparison_curves(group: Group) -> Figure:
    """Learning curves: interquartile mean over seeds and 95 % interval."""
    points = np.linspace(group.frames / POINTS, group.frames, POINTS)
    styles = line_styles(group.methods)
    figure, (panels,) = _panels(1, 2, (10.5, 4))
    curves: tuple[tuple[str, Callable], ...] = (
        (f"unlocks per episode (last {RECENT})", lambda run: run.unlock_curve(points)),
        (f"{group.world.score[1]} (all episodes so far), %", lambda run: run.score_curve(points)),
    )
    for axes, (title, curve) in zip(panels, curves, strict=True):
        found = interquartile_mean(
            {name: np.stack([curve(run) for run in runs]) for name, runs in group.methods.items()}
        )
        for name in group.ranked():
            _band(axes, points / 1000, found[name], styles[name], name)
        axes.set(title=title, xlabel="thousand frames", ylim=(0, None))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def comparison_achievements(group: Group) -> Figure:
    """Success rate of each achievement, by method, on a logarithmic axis as in Hafner 2022."""
    styles = line_styles(group.methods)
    order = np.argsort(-np.mean([run.success for run in group.runs], axis=0))
    figure, ((axes,),) = _panels(1, 1, (10.5, 3.6))
    width = 0.85 / len(group.methods)
    for i, name in enumerate(group.ranked()):
        rates = 100 * np.mean([run.success for run in group.methods[name]], axis=0)
        axes.bar(
            np.arange(len(order)) + i * width,
            np.maximum(rates[order], 1e-2),
            width,
            color=styles[name].colour,
            hatch=None if styles[name].line == LINES[0] else "////",
            label=name,
        )
    axes.set(yscale="log", ylim=(1e-2, 130), ylabel="success rate, %")
    names = [words(group.achievements[i]) for i in order]
    axes.set_xticks(np.arange(len(order)) + 0.4, names, rotation=45, ha="right")
    figure.legend(loc="outside right upper")
    return figure


def comparison_profile(group: Group) -> Figure:
    """Performance profile (Agarwal et al. 2021), with achievements in the place of tasks."""
    thresholds, styles = np.linspace(0, 1, 101), line_styles(group.methods)
    found = performance_profile(
        {name: np.stack([run.success for run in runs]) for name, runs in group.methods.items()}, thresholds
    )
    figure, ((axes,),) = _panels(1, 1, (10.5, 3.6))
    for name in group.ranked():
        _band(axes, 100 * thresholds, found[name], styles[name], name, factor=100)
    axes.set(xlabel="success rate above ... %", ylabel="share of achievements and seeds, %", ylim=(0, 100))
    figure.legend(loc="outside right upper")
    return figure


def task_curves(group: TaskGroup) -> Figure:
    """Success rate against frames, a panel for each task: interquartile mean over seeds and 95 % interval."""
    styles, points = line_styles(group.methods), np.linspace(0, group.frames, POINTS)
    columns = min(3, len(group.tasks))
    lines = -(-len(group.tasks) // columns)
    figure, panels = _panels(lines, columns, (3.6 * columns, 2.6 * lines), sharex=True)
    for axes, task in zip(panels.flat, group.ranked(), strict=False):
        found = interquartile_mean(
            {
                name: np.stack([run.success_curve(points) for run in runs])
                for name, runs in group.tasks[task].methods.items()
            }
        )
        for name in sorted(found, key=lambda name: -float(found[name].centre.mean())):
            _band(axes, points / 1000, found[name], styles[name], name, factor=100)
        axes.set(title=task, ylim=(0, 100))
    for axes in panels.flat[len(group.tasks) :]:
        axes.set_visible(False)
    panels[-1][0].set(xlabel="thousand frames", ylabel=f"solved, % (last {RECENT})")
    handles: dict[str, Any] = {}
    for axes in panels.flat:
        handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", title="pretrained by")
    return figure


def _band(axes: Axes, x: np.ndarray, found: Estimate, style: LineStyle, name: str, factor: float = 1) -> None:
    """A line with its interval."""
    axes.plot(x, factor * found.centre, style.line, color=style.colour, label=name)
    axes.fill_between(x, factor * found.low, factor * found.high, color=style.colour, alpha=0.15, lw=0)
