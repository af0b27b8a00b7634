"""What a run leaves for people: the table at the end, the curves, the page. All from the run's files."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

import ellm_agent
from ellm_agent.analysis import page
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.goals.quality import BINS
from ellm_agent.runs.callbacks import RECENT
from ellm_agent.runs.folder import Run, write_whole

PACKAGES = ("torch", "stable-baselines3", "crafter", "gymnasium", "sentence-transformers", "numpy")
SUGGESTIONS = 30  # most frequent goals that a summary lists


def write_summary(run: Run, achievements: Sequence[str], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Computes a run's results from its logs and writes ``summary.json``.

    Args:
        run: the run.
        achievements: names that the score counts.
        extra: more to keep (suggester, quality bins, most frequent suggestions, seconds).
    """
    rates = SuccessRates(achievements)
    episodes = run.read("episodes")
    for row in episodes:
        rates.add(row["unlocked"])
    recent = [len(row["unlocked"]) for row in episodes[-RECENT:]]
    solved = [row["success"] for row in episodes if "success" in row]
    metrics, evaluations = run.read("metrics"), run.read("evaluations")
    summary = {
        "name": run.config.name(),
        **(
            {"task": run.config.environment.task, "success_rate": float(np.mean(solved[-RECENT:]))}
            if solved
            else {}
        ),
        "frames": metrics[-1]["frames"] if metrics else 0,
        "episodes": rates.episodes,
        "unlocks_per_episode": float(np.mean(recent)) if recent else 0.0,
        "crafter_score": rates.score(),
        "success_rates": rates.rates(),
        "evaluation": evaluations[-1] if evaluations else {},
        **extra,
        "versions": {
            "ellm-agent": ellm_agent.__version__,
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }
    write_whole(run.folder / "summary.json", json.dumps(summary, indent=2))
    return summary


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Prints the table of success rates, the score, and the quality of the suggestions."""
    table = Table(title=f"{summary['name']}: {summary['frames']:,} frames", title_justify="left")
    for _ in range(2):
        table.add_column("achievement")
        table.add_column("success", justify="right")
    rates = sorted(summary["success_rates"].items(), key=lambda item: -item[1])
    half = -(-len(rates) // 2)
    for i in range(half):
        cells = [(name, f"{rate:.1%}") for name, rate in rates[i::half]]
        table.add_row(*(text for cell in cells for text in cell))
    console.print(table)
    if "success_rate" in summary:
        console.print(f"task {summary['task']!r} solved, last {RECENT} training episodes: "
                      f"{summary['success_rate']:.1%}")  # fmt: skip
    console.print(f"Crafter score over all {summary['episodes']:,} training episodes: "
                  f"{summary['crafter_score']:.1f} %")  # fmt: skip
    console.print(f"unlocks per episode, last {RECENT} training episodes: "
                  f"{summary['unlocks_per_episode']:.2f}")  # fmt: skip
    held_out = summary["evaluation"]
    if held_out:
        console.print(f"unlocks per episode, {held_out['episodes']} held-out worlds: "
                      f"{held_out['unlocks_per_episode']:.2f}")  # fmt: skip
    for which in ("suggested", "rewarded"):
        shares = summary["quality"].get(which)
        if shares:
            told = ", ".join(f"{kind.replace('_', ' ')} {shares[kind]:.1%}" for kind in BINS)
            console.print(f"goals {which}: {told}")


def draw_curves(run: Run, summary: Mapping[str, Any]) -> Path:
    """Draws unlocks and score against frames, and the success rates; returns the PNG's path."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    metrics = [row for row in run.read("metrics") if row["episodes"]]
    evaluations = run.read("evaluations")
    frames = [row["frames"] / 1000 for row in metrics]
    figure, (left, middle, right) = pyplot.subplots(
        1, 3, figsize=(14, 4.6), width_ratios=(1, 1, 1.1), layout="constrained"
    )
    left.plot(frames, [row["unlocks_per_episode"] for row in metrics], color="#1a73e8", label="training")
    left.plot(
        [row["frames"] / 1000 for row in evaluations],
        [row["unlocks_per_episode"] for row in evaluations],
        "o",
        color="#e8710a",
        label="held-out worlds",
    )
    left.set(title=f"Unlocks per episode (last {RECENT})", xlabel="thousand frames", ylim=(0, None))
    left.legend(frameon=False)
    what, title = _measured(summary)
    middle.plot(frames, [what(row) for row in metrics], color="#1a73e8")
    middle.set(title=title, xlabel="thousand frames", ylabel="%")
    middle.set_ylim(0, None)
    rates = sorted(summary["success_rates"].items(), key=lambda item: item[1])
    names = [name.replace("_", " ") for name, _ in rates]
    bars = right.barh(names, [100 * rate for _, rate in rates], color="#188038")
    right.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    right.set(title="Success rate (all training episodes), %", xlim=(0, 112))
    right.tick_params(axis="y", labelsize=8)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{summary['name']}, {summary['frames']:,} frames, no environment reward"
                    if not run.config.goals.extrinsic_weight else summary["name"])  # fmt: skip
    path = run.folder / "curves.png"
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def write_page(run: Run, summary: Mapping[str, Any]) -> Path:
    """Writes ``report.html``: one file that needs no network. Every text is escaped."""
    facts = {
        "frames": f"{summary['frames']:,}",
        "training episodes": f"{summary['episodes']:,}",
        f"unlocks per episode (last {RECENT})": f"{summary['unlocks_per_episode']:.2f}",
        "Crafter score": f"{summary['crafter_score']:.1f} %",
        "goals from": summary["suggester"],
        "what the agent reads": "captions made from the simulator's state, not pixels",
        "training took": f"{summary['seconds']:,.0f} s",
    }
    if "success_rate" in summary:
        facts[f"solved: {summary['task']} (last {RECENT})"] = f"{summary['success_rate']:.1%}"
    for which, shares in summary["quality"].items():
        facts[f"goals {which}"] = ", ".join(f"{k.replace('_', ' ')} {v:.1%}" for k, v in shares.items())
    with page.figures():
        drawings = [_learning(run, summary), *_quality(run)]
        spectrum = _spectrum(summary["success_rates"])
    gifs = sorted(run.replays.glob("*.gif"))
    configuration = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
    parts = [
        page.table(facts.items()),
        page.heading("Learning"),
        *drawings,
        page.heading("Achievements"),
        page.row([spectrum]),
        page.table(
            _achievements(run, summary),
            ("achievement", "success rate", "first episode with it ended at frame"),
            (1, 2),
        ),
    ]
    if summary["suggestions"]:
        told = [(goal, f"{times:,}") for goal, times in summary["suggestions"]]
        parts += [page.heading("Goals suggested most often"), page.table(told, ("goal", "states"), (1,))]
    if gifs:
        parts += [page.heading("Episodes on held-out worlds"), page.row(map(page.animation, gifs))]
    parts += [
        page.heading("Configuration"),
        page.code(yaml.safe_dump(configuration, sort_keys=False)),
        page.heading("Versions"),
        page.table(summary["versions"].items()),
    ]
    path = run.folder / "report.html"
    write_whole(path, page.page(summary["name"], parts))
    return path


def _achievements(run: Run, summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, success rate, and end of the first episode that unlocked it; the most frequent first."""
    first: dict[str, int] = {}
    for episode in run.read("episodes"):
        for name in episode["unlocked"]:
            first.setdefault(name, episode["frames"])
    rates = sorted(summary["success_rates"].items(), key=lambda item: -item[1])
    return [
        (name.replace("_", " "), f"{rate:.1%}", f"{first[name]:,}" if name in first else "never")
        for name, rate in rates
    ]


def _measured(summary: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], float], str]:
    """What a run is about, from a row of its metrics, in %: solving its task, or else the Crafter score; and its title."""
    if "success_rate" in summary:
        return lambda row: 100 * row["success_rate"], f"Solved: {summary['task']} (last {RECENT})"
    return lambda row: row["crafter_score"], "Crafter score (all training episodes)"


def _learning(run: Run, summary: Mapping[str, Any]) -> str:
    from matplotlib import pyplot

    metrics = [row for row in run.read("metrics") if row["episodes"]]
    evaluations = run.read("evaluations")
    frames = [row["frames"] / 1000 for row in metrics]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    left.plot(
        frames, [row["unlocks_per_episode"] for row in metrics], color=page.COLOURS[0], label="training"
    )
    points = [(row["frames"] / 1000, row["unlocks_per_episode"]) for row in evaluations]
    left.plot(
        *zip(*points, strict=True) if points else ((), ()),
        "o",
        color=page.COLOURS[1],
        label="held-out worlds",
    )
    left.set(title=f"unlocks per episode (last {RECENT})", xlabel="thousand frames", ylim=(0, None))
    left.legend()
    what, title = _measured(summary)
    right.plot(frames, [what(row) for row in metrics], color=page.COLOURS[0])
    right.set(title=f"{title}, %", xlabel="thousand frames", ylim=(0, None))
    return page.drawing(figure, f"Unlocks per episode, and {title[0].lower()}{title[1:]}, against frames")


def _spectrum(rates: Mapping[str, float]) -> str:
    from matplotlib import pyplot

    ordered = sorted(rates.items(), key=lambda item: item[1])
    figure, axes = pyplot.subplots(figsize=(6, 4.6), layout="constrained")
    bars = axes.barh([name.replace("_", " ") for name, _ in ordered], [100 * rate for _, rate in ordered],
                     color=page.COLOURS[4])  # fmt: skip
    axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7, color=page.INK)
    axes.set(xlim=(0, 112), xlabel="success rate over all training episodes, %")
    return page.drawing(figure, "Success rate of each achievement")


def _quality(run: Run) -> list[str]:
    """Shares of good, poorly timed, bad and nonsensical goals over time; nothing if nobody suggested any."""
    from matplotlib import pyplot

    rows = run.read("metrics")
    panels = [w for w in ("suggested", "rewarded") if any(f"goals/{w}_good" in row for row in rows)]
    if not panels:
        return []
    figure, all_axes = pyplot.subplots(
        1, len(panels), figsize=(5 * len(panels), 3), layout="constrained", squeeze=False
    )
    for axes, which in zip(all_axes[0], panels, strict=True):
        told = [row for row in rows if f"goals/{which}_good" in row]
        shares = [[100 * row[f"goals/{which}_{kind}"] for row in told] for kind in BINS]
        colours = [page.COLOURS[i] for i in (4, 0, 1, 7)]
        axes.stackplot([row["frames"] / 1000 for row in told], shares, labels=BINS, colors=colours, alpha=0.8)
        axes.set(title=f"goals {which}, %", xlabel="thousand frames", ylim=(0, 100))
    handles, labels = all_axes[0][0].get_legend_handles_labels()
    figure.legend(handles, [label.replace("_", " ") for label in labels], loc="outside lower center", ncols=4)
    return [page.drawing(figure, "Quality of the goals suggested and of those rewarded, over time")]
