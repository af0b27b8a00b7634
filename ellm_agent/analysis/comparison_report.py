"""The page and the tables of a comparison, from its raw files alone."""

from __future__ import annotations

import gzip
import itertools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ellm_agent.analysis import page
from ellm_agent.analysis.results import Result
from ellm_agent.analysis.statistics import (
    Estimate,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from ellm_agent.config.methods import METHODS
from ellm_agent.evaluation.recording import Recording
from ellm_agent.runs.callbacks import RECENT
from envs.crafter.knowledge import knowledge

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Methods = dict[str, list[Result]]
POINTS = 60  # of a curve
# Methods that always have the same colour.
KNOWN = ("open", "oracle", "closed", "rnd", "apt", "noveld", "icm", "novelty", "random", "scratch")
LINES = ("-", "--", ":", "-.")
PUBLISHED = (  # Crafter score % and reward or unlocks, as their authors report them (or the public scoreboard does)
    ("random", "none", "1M", "1.6 ± 0.0", "2.28 unlocks"),
    ("RND", "none", "1M", "2.0 ± 0.1", "0.7 ± 1.3"),
    ("Plan2Explore", "none", "1M", "2.1 ± 0.1", "2.1 ± 1.5"),
    ("ELLM", "none; language model", "5M", "not reported", "6.0 ± 0.4 (400-step episodes)"),
    ("Rainbow", "environment's", "1M", "4.3 ± 0.2", "6.0 ± 1.3"),
    ("PPO", "environment's", "1M", "4.6 ± 0.3", "4.2 ± 1.2"),
    ("DreamerV3", "environment's", "1M", "14.5 ± 1.6", "11.7 ± 1.9"),
    ("PPO-ResNet", "environment's", "1M", "15.6 ± 1.6", "10.3 ± 0.5"),
    ("AdaRefiner", "environment's; language model", "1M", "15.8 ± 1.4", "12.3 ± 1.3"),
    ("Achievement Distillation", "environment's", "1M", "21.8 ± 1.4", "12.6 ± 0.3"),
)
PIXELS = (
    "Published methods observe pixels. The agents here read captions that are made from the simulator's state: "
    "the numbers stand side by side for orientation, not as a contest."
)
FEW = (
    "In brackets: 95 % stratified bootstrap interval of the interquartile mean over seeds. Of three seeds it is their "
    "range, and covers the true mean in about three quarters of such experiments; of five, in about nine of ten; in fewer "
    "where results are skewed."
)
PAIRS = (
    "Probability that a run of the first is better, by Crafter score, with its 95 % bootstrap interval. Of three seeds each, "
    "1.00 says that all nine pairs are so, which happens by chance once in twenty times."
)
HEAD = ("method", "goals from", "seeds", "frames", f"unlocks/episode, last {RECENT}", "Crafter score %, all episodes", "each seed: unlocks, score %", "frames/s, as run", "minutes a run")  # fmt: skip


def estimates(methods: Methods) -> dict[str, tuple[Estimate, Estimate]]:
    """Unlocks per episode and Crafter score of each method."""
    unlocks = interquartile_mean(
        {name: np.array([r.unlocks for r in runs]) for name, runs in methods.items()}
    )
    scores = interquartile_mean({name: np.array([r.score for r in runs]) for name, runs in methods.items()})
    return {name: (unlocks[name], scores[name]) for name in ranked(methods)}


def ranked(methods: Methods) -> list[str]:
    """Methods by their mean Crafter score, the best first."""
    return sorted(methods, key=lambda name: -np.mean([run.score for run in methods[name]]))


def rows(methods: Methods) -> list[tuple[str, ...]]:
    """The table of results: one row for each method, see ``HEAD``."""
    told = []
    for name, (unlocks, score) in estimates(methods).items():
        runs = methods[name]
        seconds = [run.summary["seconds"] for run in runs]
        rate = np.mean([run.frames / max(took, 1e-9) for run, took in zip(runs, seconds, strict=True)])
        each = "; ".join(f"{run.unlocks:.2f}, {run.score:.1f}" for run in runs)
        told.append(
            (
                name,
                goals_from(runs[0]),
                str(len(runs)),
                f"{runs[0].frames:,}",
                unlocks.told(len(runs)),
                score.told(len(runs)),
                each,
                f"{rate:,.0f}",
                f"{np.mean(seconds) / 60:.1f}",
            )
        )
    return told


def versions(methods: Methods) -> str:
    """Which versions of this package made a group of runs, if they are not all the same; or ""."""
    by_version: dict[str, list[str]] = {}
    for name in ranked(methods):
        for version in sorted({run.version for run in methods[name]}):
            by_version.setdefault(version, []).append(name)
    if len(by_version) == 1:
        return ""
    told = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(by_version.items()))
    return f"Versions that made the runs: {told}."


def goals_from(run: Result) -> str:
    """Who suggested the goals, in a few words."""
    told = run.summary["suggester"]
    if "NOT a language model" in told:
        return "built-in script, NOT a language model"
    return told.partition(":")[0]


def markdown(groups: dict[tuple[str, str], Methods]) -> str:
    """The tables as Markdown."""
    lines = []
    for (protocol, algo), methods in groups.items():
        lines += [f"### {protocol} protocol, {algo}", "", *page.markdown(rows(methods), HEAD), "", FEW]
        if versions(methods):
            lines += ["", versions(methods)]
        better = improvements(methods)
        if better:
            lines += ["", PAIRS, "", *page.markdown(better, ("pair", "probability"))]
        lines.append("")
    return "\n".join(lines)


def improvements(methods: Methods) -> list[tuple[str, str]]:
    """How probably runs of ELLM are better than those of other methods, and rewards for novelty than chance."""
    others = [name for name in ranked(methods) if not name.startswith(("open", "oracle", "closed"))]
    pairs = [(ours, other) for ours in ("open", "oracle") if ours in methods for other in others]
    for_novelty = [name for name in others if "novelty" in METHODS.get(name, {})]
    pairs += [(name, "random") for name in for_novelty if "random" in methods]
    return [
        (
            f"{one} > {other}",
            str(probability_of_improvement(*([r.score for r in methods[n]] for n in (one, other)))),
        )
        for one, other in pairs
        if min(len(methods[one]), len(methods[other])) > 2
    ]


def build(groups: dict[tuple[str, str], Methods], name: str, tasks: Sequence[str] = ()) -> str:
    """The whole page; ``tasks``: the parts about downstream tasks."""
    parts = [
        page.paragraph("Every number and figure is computed from the raw episodes of the runs. " + PIXELS)
    ]
    with page.figures():
        for (protocol, algo), methods in groups.items():
            parts.append(page.heading(f"{protocol} protocol, {algo}"))
            parts.append(
                page.drawing(curves(methods), "Learning curves: interquartile mean over seeds, 95 % interval")
            )
            parts.append(page.table(rows(methods), HEAD, (2, 3, 4, 5, 7, 8)))
            parts += [page.paragraph(text, aside=True) for text in (FEW, versions(methods)) if text]
            parts += [spectrum(methods), profile(methods)]
            better = improvements(methods)
            if better:
                parts += [page.paragraph(PAIRS, aside=True), page.table(better, ("pair", "probability"))]
            parts += quality(methods)
            parts.append(first_unlocks(methods))
            parts.append(page.row(episodes(methods)))
    parts += [
        *tasks,
        page.heading("Published, by their authors"),
        page.paragraph(PIXELS, aside=True),
        page.table(
            PUBLISHED, ("method", "reward", "frames", "Crafter score %", "reward or unlocks per episode")
        ),
        page.heading("Versions"),
    ]
    first = next(iter(next(iter(groups.values())).values()))[0]
    parts.append(page.table(first.summary["versions"].items()))
    return page.page(name, parts)


def grid(methods: Methods) -> np.ndarray:
    frames = next(iter(methods.values()))[0].frames
    return np.linspace(frames / POINTS, frames, POINTS)


class Look(NamedTuple):
    """How a method is drawn."""

    colour: str
    line: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """A look for each method: variants (``open-script``) share a colour and differ in the line."""
    fixed = dict(zip(KNOWN, page.COLOURS, strict=False))
    fixed["none"] = fixed["scratch"]  # of downstream tasks: not pretrained
    spare = itertools.cycle([*page.COLOURS[len(KNOWN) :], *page.COLOURS])
    told: dict[str, Look] = {}
    for name in sorted(methods, key=lambda name: (name.count("-"), name)):
        base = name.partition("-")[0]
        if base not in fixed:
            fixed[base] = next(spare)
        before = [look for look in told.values() if look.colour == fixed[base]]
        told[name] = Look(fixed[base], LINES[len(before) % len(LINES)])
    return told


def save_curves(methods: Methods, path: Path) -> None:
    """Learning curves as a PNG, for documents."""
    saved(lambda: curves(methods), path)


def saved(draw: Callable[[], Figure], path: Path) -> None:
    """Draws a figure and writes it as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    with matplotlib.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = draw()
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
        matplotlib.pyplot.close(figure)


def curves(methods: Methods) -> Figure:
    """Learning curves: interquartile mean over seeds and 95 % interval."""
    from matplotlib import pyplot

    points, look = grid(methods), looks(methods)
    figure, panels = pyplot.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
    for axes, title, which in (
        (panels[0], f"unlocks per episode (last {RECENT})", "unlock_curve"),
        (panels[1], "Crafter score (all episodes so far), %", "score_curve"),
    ):
        found = interquartile_mean(
            {name: np.stack([getattr(r, which)(points) for r in runs]) for name, runs in methods.items()}
        )
        for name, estimate in found.items():
            band(axes, points / 1000, estimate, look[name], name)
        axes.set(title=title, xlabel="thousand frames", ylim=(0, None))
    handles, labels = panels[0].get_legend_handles_labels()
    order = [labels.index(name) for name in ranked(methods)]
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside right upper")
    return figure


def band(axes: Axes, x: np.ndarray, found: Estimate, look: Look, name: str, factor: float = 1) -> None:
    """A line with its interval."""
    axes.plot(x, factor * found.centre, look.line, color=look.colour, label=name)
    axes.fill_between(x, factor * found.low, factor * found.high, color=look.colour, alpha=0.15, lw=0)


def spectrum(methods: Methods) -> str:
    """Success rate of each achievement, by method, on a logarithmic axis as in Hafner 2021."""
    from matplotlib import pyplot

    names, look = list(knowledge().achievements), looks(methods)
    order = np.argsort(-np.mean([r.success for runs in methods.values() for r in runs], axis=0))
    figure, axes = pyplot.subplots(figsize=(10.5, 3.6), layout="constrained")
    width = 0.85 / len(methods)
    for i, name in enumerate(ranked(methods)):
        rates = 100 * np.mean([run.success for run in methods[name]], axis=0)
        axes.bar(
            np.arange(len(names)) + i * width,
            np.maximum(rates[order], 1e-2),
            width,
            color=look[name].colour,
            hatch=None if look[name].line == LINES[0] else "////",
            label=name,
        )
    axes.set(yscale="log", ylim=(1e-2, 130), ylabel="success rate, %")
    axes.set_xticks(
        np.arange(len(names)) + 0.4, [names[i].replace("_", " ") for i in order], rotation=45, ha="right"
    )
    figure.legend(loc="outside right upper")
    return page.drawing(
        figure, "Success rate of each achievement over all training episodes, mean over seeds"
    )


def profile(methods: Methods) -> str:
    """Performance profile over achievements and seeds."""
    from matplotlib import pyplot

    thresholds, look = np.linspace(0, 1, 101), looks(methods)
    found = performance_profile(
        {n: np.stack([r.success for r in runs]) for n, runs in methods.items()}, thresholds
    )
    figure, axes = pyplot.subplots(figsize=(10.5, 3.6), layout="constrained")
    for name in ranked(methods):
        band(axes, 100 * thresholds, found[name], look[name], name, factor=100)
    axes.set(xlabel="success rate above ... %", ylabel="share of achievements and seeds, %", ylim=(0, 100))
    figure.legend(loc="outside right upper")
    return page.drawing(figure, "Performance profile, with 95 % interval")


def quality(methods: Methods) -> list[str]:
    """Shares of the four bins among goals suggested and rewarded, for methods that have goals."""
    told = []
    for name, runs in methods.items():
        for which in ("suggested", "rewarded"):
            shares = [run.summary["quality"].get(which) for run in runs]
            if all(shares):
                mean = {kind: np.mean([share[kind] for share in shares]) for kind in shares[0]}
                told.append((name, which, *(f"{value:.1%}" for value in mean.values())))
                kinds = [kind.replace("_", " ") for kind in mean]
    return [page.table(told, ("goals of", "", *kinds), range(2, 6))] if told else []


def first_unlocks(methods: Methods) -> str:
    """Median over seeds of the frame at which each achievement was first unlocked."""
    names, order = list(knowledge().achievements), ranked(methods)
    told = []
    for i, achievement in enumerate(names):
        cells = []
        for name in order:
            firsts = [
                r.ends[r.unlocked[:, i].argmax()] if r.unlocked[:, i].any() else np.inf for r in methods[name]
            ]
            median = float(np.median(firsts))
            cells.append(f"{median:,.0f}" if np.isfinite(median) else "never")
        told.append((achievement.replace("_", " "), *cells))
    return page.table(
        told,
        ("end of the first episode that unlocked it, frame (median seed)", *order),
        range(1, len(order) + 1),
    )


def episodes(methods: Methods, shown: Sequence[str] = ("open", "oracle", "rnd")) -> list[str]:
    """The best last evaluation episode of a few methods, drawn."""
    from ellm_agent.evaluation.rendering import write_gif

    pictures = []
    for name in shown:
        for run in methods.get(name, [])[:1]:
            file = run.folder / "replay.json.gz"
            if not file.is_file():
                continue
            with tempfile.TemporaryDirectory() as folder:
                plain = Path(folder) / "replay.json"
                plain.write_bytes(gzip.decompress(file.read_bytes()))
                recording = Recording.load(plain)
                gif = Path(folder) / f"{name}.gif"
                write_gif(recording, gif, max_frames=80)  # a page should stay small
                told = f"{name}, seed {run.cell.seed}: best episode of the last evaluation, {len(recording.unlocked)} unlocks"
                pictures.append(page.picture(gif.read_bytes(), "image/gif", told))
    return pictures
