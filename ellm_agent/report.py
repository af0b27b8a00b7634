"""What a run leaves for people: the table at the end, the curves, the page. All from the run's files."""

from __future__ import annotations

import base64
import html
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from ellm_agent.callbacks import RECENT
from ellm_agent.evaluation import SuccessRates
from ellm_agent.goals.quality import BINS
from ellm_agent.runs import Run, write_whole

PACKAGES = ("torch", "stable-baselines3", "crafter", "gymnasium", "sentence-transformers", "numpy")


def write_summary(run: Run, achievements: Sequence[str], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Computes a run's results from its logs and writes ``summary.json``.

    Args:
        run: the run.
        achievements: names that the score counts.
        extra: more to keep (suggester, quality bins, seconds).
    """
    rates = SuccessRates(achievements)
    episodes = run.read("episodes")
    for row in episodes:
        rates.add(row["unlocked"])
    recent = [len(row["unlocked"]) for row in episodes[-RECENT:]]
    metrics, evaluations = run.read("metrics"), run.read("evaluations")
    summary = {
        "name": run.config.name(),
        "frames": metrics[-1]["frames"] if metrics else 0,
        "episodes": rates.episodes,
        "unlocks_per_episode": float(np.mean(recent)) if recent else 0.0,
        "crafter_score": rates.score(),
        "success_rates": rates.rates(),
        "evaluation": evaluations[-1] if evaluations else {},
        **extra,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
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
    middle.plot(frames, [row["crafter_score"] for row in metrics], color="#1a73e8")
    middle.set(title="Crafter score (all training episodes)", xlabel="thousand frames", ylabel="%")
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


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; height: auto; border-radius: 6px; }}
table {{ border-collapse: collapse; }} td, th {{ padding: .15rem .8rem .15rem 0; text-align: left; }}
td:last-child {{ text-align: right; font-variant-numeric: tabular-nums; }}
figure {{ margin: 1.5rem 0; }} figcaption {{ opacity: .75; }}
pre {{ overflow-x: auto; font-size: 13px; }} .facts td {{ padding-right: 2rem; vertical-align: top; }} .facts td:last-child {{ text-align: left; }}
</style>
<h1>{title}</h1>
<table class="facts">{facts}</table>
<figure><img alt="learning curves" src="{curves}"></figure>
<h2>Success rates, all training episodes</h2>
<table>{rates}</table>
<h2>Episodes on held-out worlds</h2>
{replays}
<h2>Configuration</h2>
<pre>{config}</pre>
</html>
"""


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
    for which, shares in summary["quality"].items():
        facts[f"goals {which}"] = ", ".join(f"{k.replace('_', ' ')} {v:.1%}" for k, v in shares.items())
    rates = sorted(summary["success_rates"].items(), key=lambda item: -item[1])
    gifs = sorted(run.replays.glob("*.gif"))
    page = _PAGE.format(
        title=html.escape(summary["name"]),
        facts=_rows(facts),
        curves=_embedded(run.folder / "curves.png", "image/png"),
        rates=_rows({name.replace("_", " "): f"{rate:.1%}" for name, rate in rates}),
        replays="".join(
            f'<figure><img loading="lazy" alt="{html.escape(gif.stem)}" src="replays/{html.escape(gif.name)}">'
            f"<figcaption>{html.escape(gif.stem.replace('-', ' '))}</figcaption></figure>"
            for gif in gifs
        ),
        config=html.escape(
            yaml.safe_dump(yaml.safe_load((run.folder / "config.yaml").read_text()), sort_keys=False)
        ),
    )
    write_whole(run.folder / "report.html", page)
    return run.folder / "report.html"


def _rows(cells: Mapping[str, str]) -> str:
    return "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(v)}</td></tr>" for k, v in cells.items())


def _embedded(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
