"""A run's summary, the table at its end, its curves and its page. All from the run's files."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import ellm_agent
from ellm_agent.analysis import figures, page, tables
from ellm_agent.analysis.results import language_of
from ellm_agent.config.agent import OFFLINE
from ellm_agent.config.schema import Config
from ellm_agent.evaluation.recording import Recording
from ellm_agent.evaluation.scores import RECENT, SuccessRates
from ellm_agent.records import Episode
from ellm_agent.runs.folder import Run, write_whole
from envs import registry

PACKAGES = ("torch", "stable-baselines3", "crafter", "gymnasium", "sentence-transformers", "numpy")
SUGGESTIONS = 30  # most frequent goals that a summary lists


def write_summary(run: Run, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Computes a run's results from its logs and writes ``summary.json``.

    Args:
        run: the run.
        extra: more to keep (suggester, quality bins, most frequent suggestions, seconds).
    """
    rates = SuccessRates(registry.get(run.config.env.name), language_of(run.config).achievements)
    offline = run.config.agent.algo in OFFLINE
    episodes = _held_out(run) if offline else run.read("episodes")
    for row in episodes:
        rates.add(row["unlocked"], Episode.scores_of(row))
    recent = [len(row["unlocked"]) for row in episodes[-RECENT:]]
    solved = [row["success"] for row in episodes if "success" in row]
    task = {"task": run.config.env.task, "success_rate": float(np.mean(solved[-RECENT:]))} if solved else {}
    metrics, evaluations = run.read("metrics"), run.read("evaluations")
    summary = {
        "name": run.config.name(),
        **task,
        "frames": metrics[-1]["frames"] if metrics else 0,
        "episodes": rates.episodes,
        "episodes_of": "held-out" if offline else "training",
        "unlocks_per_episode": float(np.mean(recent)) if recent else 0.0,
        **rates.scores(),
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


def _held_out(run: Run) -> list[dict[str, Any]]:
    """The episodes of the last evaluation, as rows of ``episodes.jsonl``: an agent that learns from logs has no others."""
    recordings = [Recording.load(path) for path in sorted(run.replays.glob("*.json"))]
    success = [{} if r.success is None else {"success": r.success} for r in recordings]
    return [
        {"unlocked": r.unlocked, **r.scores, **solved} for r, solved in zip(recordings, success, strict=True)
    ]


def print_summary(run: Run, summary: Mapping[str, Any], console: Console) -> None:
    """Prints the table of success rates, the score, and the quality of the suggestions."""
    rates = sorted(summary["success_rates"].items(), key=lambda item: -item[1])
    cells = [(name, f"{rate:.1%}") for name, rate in rates]
    half = -(-len(cells) // 2)
    rows = [left + right for left, right in itertools.zip_longest(cells[:half], cells[half:], fillvalue=())]
    table = tables.Table(rows, ("achievement", "success") * 2, (1, 3))
    console.print(table.console(f"{summary['name']}: {summary['frames']:,} frames"))
    key, title = registry.get(run.config.env.name).score
    of = summary["episodes_of"]
    last = f"last {RECENT} {of} episodes"
    if "success_rate" in summary:
        console.print(f"task {summary['task']!r} solved, {last}: {summary['success_rate']:.1%}")
    console.print(f"{title} over all {summary['episodes']:,} {of} episodes: {summary[key]:.1f} %")
    console.print(f"unlocks per episode, {last}: {summary['unlocks_per_episode']:.2f}")
    held_out = summary["evaluation"]
    if held_out:
        mean = held_out["unlocks_per_episode"]
        console.print(f"unlocks per episode, {held_out['episodes']} held-out worlds: {mean:.2f}")
    for which, shares in summary["quality"].items():
        if shares:
            console.print(f"goals {which}: {tables.quality_shares(shares)}")


@figures.style()
def draw_curves(run: Run, summary: Mapping[str, Any]) -> Path:
    """Writes ``curves.png``: unlocks, score and success rates side by side."""
    path, figure = run.folder / "curves.png", Figure(figsize=(14, 4.6))
    *panels, achievements = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    for curve, axes in zip(_curves(run, summary), panels, strict=True):
        figures.run_curve(**curve, axes=axes)
    figures.run_achievements(summary["success_rates"], achievements, summary["episodes_of"])
    figure.suptitle(f"{summary['name']}, {summary['frames']:,} frames{_reward(run.config)}")
    figures.save_png(figure, path)
    return path


def write_page(run: Run, summary: Mapping[str, Any]) -> Path:
    """Writes ``report.html``: one file that needs no network."""
    path, first_unlocks = run.folder / "report.html", {}
    for episode in run.read("episodes"):
        for name in episode["unlocked"]:
            first_unlocks.setdefault(name, episode["frames"])
    gifs = [(gif.read_bytes(), gif.stem.replace("-", " ")) for gif in sorted(run.replays.glob("*.gif"))]
    text = page.render(
        "run.html.j2",
        title=summary["name"],
        summary=summary,
        reward=_reward(run.config),
        score=registry.get(run.config.env.name).score,
        curves=_curves(run, summary),
        metrics=run.read("metrics"),
        first_unlocks=first_unlocks,
        language=language_of(run.config),
        limit=run.config.suggester.max_active_goals,
        config=(run.folder / "config.yaml").read_text(encoding="utf-8"),
        gifs=gifs,
    )
    write_whole(path, text)
    return path


def _reward(config: Config) -> str:
    if config.agent.algo in OFFLINE:
        return " drawn from logs"
    return "" if config.reward.extrinsic_weight else " without environment reward"


def _curves(run: Run, summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is drawn of a run, as arguments of ``figures.run_curve``: unlocks; its task solved, or else the score."""
    metrics, evaluations = run.read("metrics"), run.read("evaluations")
    unlocks = {"key": "unlocks_per_episode", "title": f"unlocks per episode (last {RECENT})"}
    if run.config.agent.algo in OFFLINE:  # it has played in evaluations only
        key, title = registry.get(run.config.env.name).score
        return [
            {"metrics": [], "evaluations": evaluations, **unlocks, "title": "unlocks per episode"},
            {"metrics": [], "evaluations": evaluations, "key": key, "title": f"{title}, %"},
        ]
    if "success_rate" in summary:
        title = f"solved: {summary['task']} (last {RECENT}), %"
        score = {"key": "success_rate", "title": title, "factor": 100}
    else:
        key, title = registry.get(run.config.env.name).score
        score = {"key": key, "title": f"{title} (all training episodes), %"}
    return [
        {"metrics": metrics, "evaluations": evaluations, **unlocks},
        {"metrics": metrics, **score},
    ]
