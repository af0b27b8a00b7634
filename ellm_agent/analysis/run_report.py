"""A run's summary, the table at its end, its curves and its page. All from the run's files."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as ConsoleTable

import ellm_agent
from ellm_agent.analysis import figures, page, tables
from ellm_agent.analysis.results import language_of
from ellm_agent.config.schema import Config
from ellm_agent.evaluation.scores import RECENT, SuccessRates
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
    episodes = run.read("episodes")
    for row in episodes:
        rates.add(row["unlocked"])
    recent = [len(row["unlocked"]) for row in episodes[-RECENT:]]
    solved = [row["success"] for row in episodes if "success" in row]
    task = {"task": run.config.env.task, "success_rate": float(np.mean(solved[-RECENT:]))} if solved else {}
    metrics, evaluations = run.read("metrics"), run.read("evaluations")
    summary = {
        "name": run.config.name(),
        **task,
        "frames": metrics[-1]["frames"] if metrics else 0,
        "episodes": rates.episodes,
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


def print_summary(run: Run, summary: Mapping[str, Any], console: Console) -> None:
    """Prints the table of success rates, the score, and the quality of the suggestions."""
    table = ConsoleTable(title=f"{summary['name']}: {summary['frames']:,} frames", title_justify="left")
    for _ in range(2):
        table.add_column("achievement")
        table.add_column("success", justify="right")
    rates = sorted(summary["success_rates"].items(), key=lambda item: -item[1])
    half = -(-len(rates) // 2)
    for i in range(half):
        cells = [(name, f"{rate:.1%}") for name, rate in rates[i::half]]
        table.add_row(*(text for cell in cells for text in cell))
    console.print(table)
    key, title = registry.get(run.config.env.name).score
    last = f"last {RECENT} training episodes"
    if "success_rate" in summary:
        console.print(f"task {summary['task']!r} solved, {last}: {summary['success_rate']:.1%}")
    console.print(f"{title} over all {summary['episodes']:,} training episodes: {summary[key]:.1f} %")
    console.print(f"unlocks per episode, {last}: {summary['unlocks_per_episode']:.2f}")
    held_out = summary["evaluation"]
    if held_out:
        console.print(f"unlocks per episode, {held_out['episodes']} held-out worlds: "
                      f"{held_out['unlocks_per_episode']:.2f}")  # fmt: skip
    for which, shares in summary["quality"].items():
        if shares:
            console.print(f"goals {which}: {tables.quality_shares(shares)}")


def draw_curves(run: Run, summary: Mapping[str, Any]) -> Path:
    """Writes ``curves.png``: unlocks and score against frames, and the success rates."""
    path = run.folder / "curves.png"
    with figures.style():
        figure = figures.run_overview(
            run.read("metrics"), run.read("evaluations"), summary["success_rates"], _score(run, summary)
        )
        figure.suptitle(f"{summary['name']}, {summary['frames']:,} frames{_reward(run.config)}")
        figures.save_png(figure, path)
    return path


def write_page(run: Run, summary: Mapping[str, Any]) -> Path:
    """Writes ``report.html``: one file that needs no network."""
    gifs = [page.gif(path) for path in sorted(run.replays.glob("*.gif"))]
    opening = [page.Text(result_sentence(run, summary), "lead")]
    if gifs:
        episodes = "Episodes of the last evaluation, on held-out worlds, with the goals and what they were rewarded for."
        opening += [gifs[0], *([page.Row(gifs[1:])] if gifs[1:] else []), page.Text(episodes, "aside")]
    path = run.folder / "report.html"
    with figures.style():
        write_whole(path, page.render(summary["name"], list(_sections(run, summary)), opening))
    return path


def result_sentence(run: Run, summary: Mapping[str, Any]) -> str:
    """The result of a run in one sentence."""
    key, title = registry.get(run.config.env.name).score
    sentence = (
        f"After {summary['frames']:,} frames{_reward(run.config)}, the agent unlocks {summary['unlocks_per_episode']:.2f} of "
        f"{len(summary['success_rates'])} achievements in an episode (mean of the last {RECENT}); the {title} over all "
        f"{summary['episodes']:,} training episodes is {summary[key]:.1f} %."
    )
    if "success_rate" in summary:
        solved = f"It solves the task {summary['task']!r} in {summary['success_rate']:.1%} of the last {RECENT} episodes. "
        return solved + sentence
    return sentence


def _reward(config: Config) -> str:
    return "" if config.reward.extrinsic_weight else " without environment reward"


def _score(run: Run, summary: Mapping[str, Any]) -> figures.Score:
    """What the run is about: solving its task, or else the world's score."""
    if "success_rate" in summary:
        return figures.Score("success_rate", f"solved: {summary['task']} (last {RECENT})", 100)
    key, title = registry.get(run.config.env.name).score
    return figures.Score(key, f"{title} (all training episodes)")


def _sections(run: Run, summary: Mapping[str, Any]) -> Iterator[page.Section]:
    metrics, rates = run.read("metrics"), summary["success_rates"]
    score = _score(run, summary)
    yield page.Section(
        "Learning",
        [
            page.Row(
                [
                    page.drawing(
                        figures.run_unlocks(metrics, run.read("evaluations")),
                        "Unlocks per episode against frames",
                    ),
                    page.drawing(figures.run_score(metrics, score), f"{score.title}, in %, against frames"),
                ]
            )
        ],
    )
    language = language_of(run.config)
    note = (
        "An achievement has the world's own name. A goal is worded like the event that satisfies it, so the two can differ: "
        "the column says which goal each achievement is."
    )
    yield page.Section(
        "Achievements",
        [
            page.Row(
                [
                    page.drawing(figures.run_achievements(rates), "Success rate of each achievement"),
                    tables.achievements(rates, _first_unlocks(run), language),
                ]
            ),
            *([page.Text(note, "aside")] if tables.goal_names(language) else []),
        ],
    )
    goals = _goals(run, summary)
    if goals:
        yield page.Section("Goals", goals)
    yield page.Section("This run", [tables.pairs(_facts(summary))])
    yield page.Section("Configuration", [page.Code((run.folder / "config.yaml").read_text(encoding="utf-8"))])
    yield page.Section("Versions", [tables.pairs(summary["versions"])])


def _first_unlocks(run: Run) -> dict[str, int]:
    """Achievement -> frame at which the first episode that unlocked it ended."""
    first: dict[str, int] = {}
    for episode in run.read("episodes"):
        for name in episode["unlocked"]:
            first.setdefault(name, episode["frames"])
    return first


def _goals(run: Run, summary: Mapping[str, Any]) -> list[page.Block]:
    """Quality of goals over time, and the most frequent ones; nothing if nobody suggested any."""
    metrics, blocks = run.read("metrics"), []
    limit = run.config.suggester.max_active_goals
    shown = [
        (which, list(shares))
        for which, shares in summary["quality"].items()
        if shares and any(f"goals/{which}_{next(iter(shares))}" in row for row in metrics)
    ]
    if limit and (shown or summary["suggestions"]):
        sampled = (
            f"In this run at most {limit} of the suggested goals {'was' if limit == 1 else 'were'} active at a time, sampled "
            "uniformly. What is called suggested here are these sampled goals."
        )
        blocks.append(page.Text(sampled))
    if shown:
        blocks.append(
            page.Row(
                [
                    page.drawing(
                        figures.run_quality(metrics, which, kinds), f"Quality of the goals {which}, over time"
                    )
                    for which, kinds in shown
                ]
            )
        )
        bins = (
            "good: possible now; poorly timed: a goal of the world, not possible now; bad: a verb and a noun that mean nothing "
            "together; nonsensical: not in the action language."
        )
        blocks.append(page.Text(bins, "aside"))
    if summary["suggestions"]:
        rows = [(goal, f"{times:,}") for goal, times in summary["suggestions"]]
        title = "goals sampled most often" if limit else "goals suggested most often"
        blocks.append(tables.Table(rows, (title, "states"), (1,)))
    return blocks


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    held_out = summary["evaluation"]
    facts = {"goals from": summary["suggester"]}
    if held_out:
        episodes = f"unlocks per episode, {held_out['episodes']} held-out worlds"
        facts[episodes] = f"{held_out['unlocks_per_episode']:.2f}"
    for which, shares in summary["quality"].items():
        if shares:
            facts[f"goals {which}"] = tables.quality_shares(shares)
    facts["what the agent reads"] = "captions made from the simulator's state, not pixels"
    facts["training took"] = f"{summary['seconds']:,.0f} s"
    return facts
