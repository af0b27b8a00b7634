"""Measures which threshold T of ELLM's reward tells goals that an event satisfies from goals that it does not.

From labelled pairs of an event and a goal: precision and recall at each threshold, and the choice of one. Paths are relative
to the working directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from ellm_agent import cli
from ellm_agent.analysis import figures
from ellm_agent.config import files as config_files
from ellm_agent.errors import UserError
from ellm_agent.text.sentence_bert import sentence_bert
from envs import registry

THRESHOLDS = np.round(np.arange(0.30, 1.00, 0.01), 2)
BETA = 0.5  # precision counts twice as much: a wrong reward misleads, a missed one only slows down
RULE = "largest F-0.5 on free text, among the T at which goals in the game's own words are never confused"
SHOWN = 6  # closest wrong pairs that are printed


@dataclass(frozen=True)
class Options:
    world: str = "crafter"
    """The world whose events these are."""
    pairs: Path = Path("experiments/threshold_pairs.yaml")
    """Labelled wordings: event -> same (goals that it satisfies), near (goals that it does not)."""
    out: Path = Path("results/threshold.json")
    """File for precision and recall at each threshold."""
    figure: Path = Path("docs/threshold.png")
    """File for their curves."""


@dataclass(frozen=True)
class Pair:
    """An event, a goal, and whether the event satisfies the goal, in a person's judgement."""

    event: str
    goal: str
    satisfied: bool


def main(options: Options) -> None:
    """Measures precision and recall at each threshold, chooses one by ``RULE``, and writes both and their figure.

    Raises:
        UserError: if the pairs cannot be read, or the world does not exist.
    """
    try:
        words = yaml.safe_load(options.pairs.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "run this in the repository's root"
        raise UserError(f"cannot read {options.pairs}: {error.strerror}; {hint}") from error
    with config_files.one_line():
        canonical = registry.get(options.world).language().canonical
    curves: dict[str, list[dict[str, float]]] = {}
    for kind, labelled in labelled_pairs(words, canonical).items():
        texts = list(dict.fromkeys(text for p in labelled for text in (p.event, canonical(p.goal))))
        vectors = dict(zip(texts, sentence_bert(texts), strict=True))  # of unit length
        cosines = np.array([float(vectors[p.event] @ vectors[canonical(p.goal)]) for p in labelled]).round(4)
        satisfied = np.array([pair.satisfied for pair in labelled])
        curves[kind] = [
            {"threshold": t, **precision_and_recall(cosines, satisfied, t)} for t in THRESHOLDS.tolist()
        ]
        print(f"{kind}: {len(labelled)} pairs, {int(satisfied.sum())} satisfied; closest wrong ones:")
        wrong = [(c, p) for c, p in zip(cosines.tolist(), labelled, strict=True) if not p.satisfied]
        for cosine, pair in sorted(wrong, key=lambda one: -one[0])[:SHOWN]:
            print(f"  {cosine:.3f}  {pair.event} / {pair.goal}")
    chosen = choose(curves)
    for kind, rows in curves.items():
        at = next(row for row in rows if row["threshold"] == chosen)
        print(f"T = {chosen}: {kind} precision {at['precision']:.3f}, recall {at['recall']:.3f}")
    with figures.style():
        figures.save_png(draw(curves, chosen), options.figure)
    content = {"chosen": chosen, "rule": RULE, **curves}
    options.out.write_text(json.dumps(content, indent=1), encoding="utf-8")


def labelled_pairs(words: Mapping[str, Any], canonical: Callable[[str], str]) -> dict[str, list[Pair]]:
    """Pairs in exact and in free wordings.

    *Exact*: each of the world's goals against each event. *Free*: each wording against each event,
    and each near miss against its own event.
    """
    exact = [Pair(event, goal, event == goal) for event in words for goal in words]
    free = [
        Pair(event, goal, owner == event)
        for owner, entry in words.items()
        for goal in entry["same"]
        for event in words
    ]
    free += [
        Pair(event, goal, False)
        for event, entry in words.items()
        for goal in entry["near"]
        if canonical(goal) not in words  # those are among the exact pairs
    ]
    return {"exact": exact, "free": free}


def precision_and_recall(cosines: np.ndarray, satisfied: np.ndarray, threshold: float) -> dict[str, float]:
    """Of the pairs above T, the share that is satisfied; of those satisfied, the share above T.

    Args:
        cosines: of pairs, ``(n,)``.
        satisfied: their labels, ``(n,)`` bool.
        threshold: T.
    """
    rewarded = cosines > threshold
    right = float((rewarded & satisfied).sum())
    precision = right / rewarded.sum() if rewarded.any() else 1.0
    return {"precision": float(precision), "recall": float(right / satisfied.sum())}


def choose(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> float:
    """The threshold by ``RULE``."""
    clear = {row["threshold"] for row in curves["exact"] if row["precision"] == row["recall"] == 1}
    return max((row for row in curves["free"] if row["threshold"] in clear), key=f_score)["threshold"]


def f_score(row: Mapping[str, float]) -> float:
    """F-beta of a row's precision and recall: (1 + b^2) P R / (b^2 P + R)."""
    precision, recall = row["precision"], row["recall"]
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def draw(curves: Mapping[str, Sequence[Mapping[str, float]]], chosen: float) -> Figure:
    """Precision and recall against T, exact and free wordings."""
    figure = Figure(figsize=(10, 3.8))
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"exact": "goals in the game's own words", "free": "goals in free text"}
    for axes, (kind, rows) in zip(panels, curves.items(), strict=True):
        for which, colour in zip(("precision", "recall"), figures.COLOURS, strict=False):
            axes.plot([r["threshold"] for r in rows], [r[which] for r in rows], color=colour, label=which)
        axes.axvline(chosen, color="gray", linestyle=":", label=f"chosen: {chosen}")
        axes.set(title=titles[kind], xlabel="threshold T", ylim=(0, 1.03))
    panels[0].legend(loc="lower left")
    return figure


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
