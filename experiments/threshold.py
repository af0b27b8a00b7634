"""Measures which threshold T tells goals that an event fulfils from goals that it does not.

Reads ``threshold_pairs.yaml``; writes ``docs/threshold.png`` and ``results/threshold.json``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import yaml

from ellm_agent import cli
from ellm_agent.rewards import GoalSimilarity
from ellm_agent.text.phrases import PhraseTable
from envs.crafter.knowledge import canonical

ROOT = Path(__file__).resolve().parent.parent
THRESHOLDS = np.round(np.arange(0.30, 1.00, 0.01), 2)
BETA = 0.5  # precision counts twice as much: a wrong reward misleads, a missed one only slows down
RULE = "largest F-0.5 on free text, among the T at which goals in the game's own words are never confused"


@dataclass(frozen=True)
class Options:
    pass


def labelled_pairs(words: dict) -> dict[str, list[tuple[str, str, bool]]]:
    """(event, goal, whether the event fulfils the goal), for exact and for free wordings.

    *Exact*: each of the game's goals against each event. *Free*: each wording against each event,
    and each near miss against its own event.
    """
    exact = [(event, goal, event == goal) for event in words for goal in words]
    free = [
        (event, goal, owner == event)
        for owner, entry in words.items()
        for goal in entry["same"]
        for event in words
    ]
    free += [
        (event, goal, False)
        for event, entry in words.items()
        for goal in entry["near"]
        if canonical(goal) not in words  # those are among the exact pairs
    ]
    return {"exact": exact, "free": free}


def precision_and_recall(cosines: np.ndarray, fulfilled: np.ndarray, threshold: float) -> tuple[float, float]:
    """Of the pairs above T, the share that should be; of those that should be, the share above T."""
    paid = cosines > threshold
    right = float((paid & fulfilled).sum())
    return right / paid.sum() if paid.any() else 1.0, right / fulfilled.sum()


def f_score(row: dict) -> float:
    """F-beta of a row's precision and recall."""
    precision, recall = row["precision"], row["recall"]
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def main(_: Options) -> None:
    """Measures, chooses, draws, writes."""
    words = yaml.safe_load((ROOT / "experiments" / "threshold_pairs.yaml").read_text(encoding="utf-8"))
    reward = GoalSimilarity(PhraseTable(), 0.0, canonical)
    curves: dict[str, list[dict]] = {}
    for kind, pairs in labelled_pairs(words).items():
        cosines = np.array([reward.cosine(event, goal) for event, goal, _ in pairs])
        fulfilled = np.array([label for *_, label in pairs])
        rows = [(t, *precision_and_recall(cosines, fulfilled, t)) for t in THRESHOLDS.tolist()]
        curves[kind] = [{"threshold": t, "precision": p, "recall": r} for t, p, r in rows]
        wrong = sorted(
            ((float(c), e, g) for c, (e, g, label) in zip(cosines, pairs, strict=True) if not label),
            reverse=True,
        )
        print(f"{kind}: {len(pairs)} pairs, {int(fulfilled.sum())} fulfilled; closest wrong ones:")
        for cosine, event, goal in wrong[:6]:
            print(f"  {cosine:.3f}  {event} / {goal}")
    clear = {row["threshold"] for row in curves["exact"] if row["precision"] == row["recall"] == 1}
    chosen = max((row for row in curves["free"] if row["threshold"] in clear), key=f_score)["threshold"]
    for kind, rows in curves.items():
        at = next(row for row in rows if row["threshold"] == chosen)
        print(f"T = {chosen}: {kind} precision {at['precision']:.3f}, recall {at['recall']:.3f}")
    results = {"chosen": chosen, "rule": RULE, **curves}
    (ROOT / "results" / "threshold.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    draw(curves, chosen)


def draw(curves: dict[str, list[dict]], chosen: float) -> None:
    """Precision and recall against T, exact and free wordings."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 3.8), sharey=True, layout="constrained")
    titles = {"exact": "goals in the game's own words", "free": "goals in free text"}
    for axes, (kind, rows) in zip(panels, curves.items(), strict=True):
        t = [row["threshold"] for row in rows]
        axes.plot(t, [row["precision"] for row in rows], color="#1a73e8", label="precision")
        axes.plot(t, [row["recall"] for row in rows], color="#e8710a", label="recall")
        axes.axvline(chosen, color="gray", linestyle=":", label=f"chosen: {chosen}")
        axes.set(title=titles[kind], xlabel="threshold T", ylim=(0, 1.03))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, loc="lower left")
    figure.savefig(ROOT / "docs" / "threshold.png", dpi=110)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
