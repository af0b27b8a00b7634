"""Measures which threshold T of ELLM's reward tells goals that an event satisfies from goals that it does not.

From labelled pairs of an event and a goal: precision and recall at each threshold, and the choice of one. Paths are relative
to the working directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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


def main(options: Options) -> None:
    """Measures precision and recall at each threshold, chooses one by ``RULE``, and writes both and their figure.

    Raises:
        UserError: if the pairs cannot be read, or the world does not exist.
    """
    cli.writable(out=options.out, figure=options.figure)
    words = read_words(options.pairs)
    with config_files.one_line():
        canonical = registry.get(options.world).language().canonical
    curves: dict[str, pd.DataFrame] = {}
    for kind, labelled in labelled_pairs(words, canonical).items():
        wordings = labelled["goal"].map(canonical)
        texts = list(dict.fromkeys([*labelled["event"], *wordings]))
        vectors = dict(zip(texts, sentence_bert(texts), strict=True))  # of unit length
        pairs = zip(labelled["event"], wordings, strict=True)
        labelled["cosine"] = [round(float(vectors[event] @ vectors[goal]), 4) for event, goal in pairs]
        measured = [precision_and_recall(labelled["cosine"], labelled["satisfied"], t) for t in THRESHOLDS]
        curves[kind] = pd.DataFrame({"threshold": THRESHOLDS}).join(pd.DataFrame(measured))
        print(f"{kind}: {len(labelled)} pairs, {labelled['satisfied'].sum()} satisfied; closest wrong ones:")
        for pair in labelled[~labelled["satisfied"]].nlargest(SHOWN, "cosine").itertuples():
            print(f"  {pair.cosine:.3f}  {pair.event} / {pair.goal}")
    chosen = choose(curves)
    for kind, rows in curves.items():
        at = rows[rows["threshold"] == chosen].iloc[0]
        print(f"T = {chosen}: {kind} precision {at['precision']:.3f}, recall {at['recall']:.3f}")
    with figures.style():
        figures.save_png(draw(curves, chosen), options.figure)
    content = {kind: rows.to_dict("records") for kind, rows in curves.items()}
    text = json.dumps({"chosen": chosen, "rule": RULE, **content}, indent=1)
    options.out.write_text(text, encoding="utf-8")


def read_words(path: Path) -> dict[str, dict[str, list[str]]]:
    """Labelled wordings: event -> ``same`` and ``near``.

    Raises:
        UserError: if the file cannot be read, or holds something else.
    """
    try:
        words = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "run this in the repository's root"
        raise UserError(f"cannot read {path}: {error.strerror}; {hint}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is not a readable YAML file") from error
    entries = words.items() if isinstance(words, Mapping) else ()
    if not entries or not all(isinstance(event, str) and _is_entry(entry) for event, entry in entries):
        raise UserError(f"{path} must map each event to lists of goals: same and near")
    return words


def _is_entry(entry: Any) -> bool:
    lists = [entry.get("same"), entry.get("near")] if isinstance(entry, Mapping) else [None]
    return all(isinstance(one, list) and all(isinstance(goal, str) for goal in one) for one in lists)


def labelled_pairs(words: Mapping[str, Any], canonical: Callable[[str], str]) -> dict[str, pd.DataFrame]:
    """Pairs in exact and in free wordings: an event, a goal, and whether a person says that the event satisfies it.

    *Exact*: each of the world's goals against each event. *Free*: each wording against each event,
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
    columns = ["event", "goal", "satisfied"]
    return {"exact": pd.DataFrame(exact, columns=columns), "free": pd.DataFrame(free, columns=columns)}


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


def choose(curves: Mapping[str, pd.DataFrame]) -> float:
    """The threshold by ``RULE``."""
    exact, free = curves["exact"], curves["free"]
    clear = exact.loc[(exact["precision"] == 1) & (exact["recall"] == 1), "threshold"]
    if clear.empty:
        raise UserError("there is no threshold that separates all events; two pairs may be too much alike")
    scores = f_score(free[free["threshold"].isin(clear)])
    if not scores.notna().any():
        raise UserError("no goal in free text has the same meaning as an event; list some under same")
    return float(free.loc[scores.idxmax(), "threshold"])


def f_score(rows: pd.DataFrame | Mapping[str, float]) -> pd.Series | float:
    """F-beta of precision and recall: (1 + b^2) P R / (b^2 P + R)."""
    precision, recall = rows["precision"], rows["recall"]
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)


def draw(curves: Mapping[str, pd.DataFrame], chosen: float) -> Figure:
    """Precision and recall against T, exact and free wordings."""
    figure = Figure(figsize=(10, 3.8))
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"exact": "goals in the game's own words", "free": "goals in free text"}
    for axes, (kind, rows) in zip(panels, curves.items(), strict=True):
        for which, colour in zip(("precision", "recall"), figures.COLOURS, strict=False):
            axes.plot(rows["threshold"], rows[which], color=colour, label=which)
        axes.axvline(chosen, color="gray", linestyle=":", label=f"chosen: {chosen}")
        axes.set(title=titles[kind], xlabel="threshold T", ylim=(0, 1.03))
    panels[0].legend(loc="lower left")
    return figure


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
