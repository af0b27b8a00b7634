"""What trainings leave beside their weights: curves and a model card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ellm_agent.errors import DAMAGED, UserError
from ellm_agent.runs.folder import write_whole

CARD = """\
# Model card: {title}

{use}

Made by `experiments/train_suggester.py {method}`; equations and data format: `docs/suggester_training.md`. It learned
which suggestions are useful in one game: from what a simulated agent achieved of them, from what the game's advice calls
sensible (`judge` in the recipe), or from people's choices (`choices`). It is no pretrained language model, knows nothing
else, and holds no personal data.

## Figures

{figures}

## Recipe

```json
{recipe}
```
"""
SUGGESTS = "Suggests goals: `{}`."  # what a suggester is for, on its card


def command(world: str, folder: Path) -> str:
    """The command whose agent asks a suggester for goals."""
    return f"run_{world}.py --goal-mode open --llm-folder {folder}"


def write_card(folder: Path, title: str, use: str, recipe: Any, figures: Mapping[str, float]) -> None:
    """Writes ``README.md`` and ``figures.json``."""
    method = json.loads((folder / "recipe.json").read_text())["method"]
    lines = ["| figure | value |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value:,.3f} |" for name, value in figures.items()]
    text = json.dumps(dataclasses.asdict(recipe), indent=1, default=str)
    write_whole(
        folder / "README.md",
        CARD.format(title=title, use=use, method=method, figures="\n".join(lines), recipe=text),
    )
    rounded = {name: round(float(value), 4) for name, value in figures.items()}
    write_whole(folder / "figures.json", json.dumps(rounded, indent=1) + "\n")


def improvement(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Figures of a suggester before and after a training, from ``Data.measure``."""
    old, new = before["usefulness"], after["usefulness"]
    return {
        "true_usefulness_before": old,
        "true_usefulness": new,
        **({"gain": new / old - 1} if old > 0 else {}),  # below 0 a share says nothing
        "goals_in_an_answer_before": before["goals"],
        "goals_in_an_answer": after["goals"],
    }


def summarise(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Figures of finished trainings, those that differ in the seed alone side by side.

    Returns:
        For each kind of training: ``method``, ``recipe`` (without paths and seed), ``seeds``, and ``figures``: the mean over
        the seeds and its 95 % interval (Student's t; the mean three times for a single seed).

    Raises:
        UserError: if a folder holds no finished training.
    """
    if not folders:
        raise UserError("folders is empty; name the folders of trainings")
    kinds: dict[str, dict[str, Any]] = {}
    for folder in folders:
        try:
            recipe = json.loads((folder / "recipe.json").read_text())
            figures = dict(json.loads((folder / "figures.json").read_text()))
            seed = recipe.pop("seed")
            kept = {name: value for name, value in recipe.items() if name not in ("sources", "reward_model")}
            data = recipe.get("sources", {})
            kept["sources"] = {name: value for name, value in data.items() if name not in ("logs", "model")}
            empty = {"method": kept["method"], "recipe": kept, "seeds": [], "all": []}
        except DAMAGED as error:
            raise UserError(f"{folder} holds no finished training") from error
        kind = kinds.setdefault(json.dumps(kept), empty)
        kind["seeds"].append(seed)
        kind["all"].append(figures)
    rows = []
    for kind in kinds.values():
        figures = kind.pop("all")
        shared = [name for name in figures[0] if all(name in own for own in figures)]
        rows.append(kind | {"figures": {name: _interval([own[name] for own in figures]) for name in shared}})
    return rows


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval."""
    mean, half = float(np.mean(values)), 0.0
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return round(mean, 4), round(mean - half, 4), round(mean + half, 4)


def draw_rows(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws all metrics of a training's steps, one panel for each."""
    from matplotlib.figure import Figure

    names = [name for name in rows[-1] if name != "step"]
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(3.2 * len(names), 2.8), layout="constrained")
    for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
        axes.plot(steps, [row[name] for row in rows], color="tab:blue")
        axes.set_xlabel("step")
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def draw_over_optimisation(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws what the policy is trained for beside what it should be good for, against the divergence from its reference."""
    from matplotlib.figure import Figure

    points = [row for row in rows if "true_usefulness" in row]
    kl = np.array([row["kl"] for row in points])
    figure = Figure(figsize=(9.6, 3), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.plot(kl, [row["held_out_score"] for row in points], ".-", color="tab:orange", label="reward model")
    left.set_ylabel("score, deviations of the SFT model")
    other = left.twinx()
    other.plot(kl, [row["true_usefulness"] for row in points], ".-", color="tab:blue", label="true")
    other.set_ylabel("true usefulness")
    left.set_xlabel("KL from the SFT model, nats an answer")
    left.legend(handles=[*left.lines, *other.lines], fontsize=8, loc="lower right")
    left.set_title("score and truth, unseen worlds", fontsize=10)
    steps = [row["step"] for row in rows]
    middle.plot(steps, [row["kl"] for row in rows], color="tab:green", label="KL, nats")
    middle.plot(steps, [100 * row["beta"] for row in rows], color="tab:gray", label="100 beta")
    middle.set_xlabel("iteration")
    middle.legend(fontsize=8)
    middle.set_title("divergence", fontsize=10)
    right.plot([row["step"] for row in points], [row["corpus_loss"] for row in points], ".-", color="tab:red")
    right.set_xlabel("iteration")
    right.set_title("held-out corpus loss", fontsize=10)
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
