"""Turns the raw runs under ``results/learning/`` into the table and the figure of ``docs/results.md``.

A run is ``results/learning/<method>/seed<n>/`` with its ``config.yaml`` and ``episodes.jsonl.gz``; nothing else is read.
``--add RUN --method NAME`` puts a finished run there.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from scipy import stats

from ellm_agent import config as configuration
from ellm_agent.callbacks import RECENT
from ellm_agent.cli import one_line_errors, parse_options, unknown_option
from ellm_agent.errors import UserError
from ellm_agent.evaluation import SuccessRates
from ellm_agent.runs import Run
from envs.knowledge import knowledge

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "results" / "learning"
CURVES = {  # what the figure shows
    "dqn-open": "#1a73e8",
    "dqn-oracle": "#e8710a",
    "ppo-open": "#12a4af",
    "ppo-oracle": "#d01884",
    "dqn-double-oracle": "#9aa0a6",
}
RESAMPLES = 10_000


def read_episodes(run: Path) -> list[dict]:
    """All finished training episodes of a run, in order."""
    with gzip.open(run / "episodes.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def unlocks(episodes: list[dict]) -> float:
    """Mean distinct achievements over the last training episodes."""
    return float(np.mean([len(row["unlocked"]) for row in episodes[-RECENT:]]))


def score(episodes: list[dict]) -> float:
    """Crafter score over all training episodes, in %."""
    rates = SuccessRates(knowledge().achievements)
    for row in episodes:
        rates.add(row["unlocked"])
    return rates.score()


def interquartile_mean(values: list[float]) -> tuple[float, float, float]:
    """Interquartile mean over seeds (of three seeds: their mean), with a 95 % bootstrap interval."""

    def iqm(sample: np.ndarray, axis: int = -1) -> np.ndarray:
        return stats.trim_mean(sample, 0.25, axis=axis)

    centre = float(iqm(np.array(values)))
    if len(values) < 2:
        return centre, centre, centre
    interval = stats.bootstrap(
        (np.array(values),), iqm, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return centre, float(interval.low), float(interval.high)


def table(runs: dict[str, list[list[dict]]]) -> str:
    """A Markdown table, one row for each method."""
    lines = [
        "| method | seeds | frames | unlocks/episode, last 100 | Crafter score %, all episodes | each seed |",
        "|---|---|---|---|---|---|",
    ]
    for method, seeds in sorted(runs.items(), key=lambda item: -np.mean([unlocks(e) for e in item[1]])):
        both = [[unlocks(e) for e in seeds], [score(e) for e in seeds]]
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*interquartile_mean(values)) for values in both]
        each = "; ".join(f"{u:.2f}, {s:.1f} %" for u, s in zip(*both, strict=True))
        frames = max(e[-1]["frames"] for e in seeds)
        told = f"{1000 * round(frames / 1000):,}"
        lines.append(f"| {method} | {len(seeds)} | {told} | {cells[0]} | {cells[1]} | {each} |")
    return "\n".join(lines)


def draw(runs: dict[str, list[list[dict]]], path: Path) -> None:
    """Unlocks (moving mean of 100 episodes) and score against frames; mean and range over seeds."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    grid = np.linspace(10_000, 300_000, 59)
    for method, color in CURVES.items():
        if method not in runs:
            continue
        for axes, curve in zip(panels, (unlock_curve, score_curve), strict=True):
            curves = np.stack([curve(episodes, grid) for episodes in runs[method]])
            axes.plot(grid / 1000, curves.mean(axis=0), color=color, label=method)
            axes.fill_between(grid / 1000, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.15)
    panels[0].axhline(2.28, color="gray", linestyle=":", label="random (published)")
    panels[0].set(title="unlocks per episode", xlabel="thousand frames", ylim=(0, None))
    panels[1].axhline(2.0, color="gray", linestyle="--", label="RND at 1M (published)")
    panels[1].set(title="Crafter score over all episodes, %", xlabel="thousand frames", ylim=(0, None))
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def unlock_curve(episodes: list[dict], grid: np.ndarray) -> np.ndarray:
    """Mean unlocks of the last 100 episodes, at each of ``grid`` frames."""
    frames = np.array([row["frames"] for row in episodes])
    unlocked = np.array([len(row["unlocked"]) for row in episodes])
    ends = np.searchsorted(frames, grid, side="right")
    return np.array([unlocked[max(0, end - RECENT) : end].mean() if end else 0.0 for end in ends])


def score_curve(episodes: list[dict], grid: np.ndarray) -> np.ndarray:
    """Crafter score of all episodes so far, at each of ``grid`` frames, in %."""
    rates, values, remaining = SuccessRates(knowledge().achievements), [], iter(episodes)
    row = next(remaining, None)
    for frames in grid:
        while row is not None and row["frames"] <= frames:
            rates.add(row["unlocked"])
            row = next(remaining, None)
        values.append(rates.score() if rates.episodes else 0.0)
    return np.array(values)


def add(run: Run, method: str) -> None:
    """Keeps what of a finished run the results need."""
    target = RUNS / method / f"seed{run.config.seed}"
    target.mkdir(parents=True, exist_ok=True)
    configuration.save(dataclasses.replace(run.config, out=None), target / "config.yaml")
    shutil.copy(run.folder / "summary.json", target / "summary.json")
    # Without a name and a time inside, equal runs give equal files.
    with (target / "episodes.jsonl.gz").open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write((run.folder / "episodes.jsonl").read_bytes())


@dataclass(frozen=True)
class Options:
    add: Path | None = None
    """A finished run to add first."""
    method: str = ""
    """The method it belongs to: the name of a row in the table."""


def main(options: Options) -> None:
    """Prints the table and draws the figure."""
    if options.add:
        if not options.method:
            raise UserError("--add needs --method, the name of a row in the table")
        add(Run.open(options.add), options.method)
    runs: dict[str, list[list[dict]]] = defaultdict(list)
    for folder in sorted(RUNS.glob("*/seed*")):
        runs[folder.parent.name].append(read_episodes(folder))
    print(table(runs))
    draw(runs, ROOT / "docs" / "learning.png")


if __name__ == "__main__":
    with one_line_errors():
        chosen, unknown = parse_options(Options, sys.argv[1:], __doc__)
        if unknown:
            raise unknown_option(unknown, ["add", "method", "help"])
        main(chosen)
