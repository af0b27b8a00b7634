"""How well scores and labels agree: Cohen's kappa, ROC AUC, ROC AUC within groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def cohens_kappa(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Agreement of two labellings beyond chance: (p - e) / (1 - e)."""
    a, b = np.asarray(one, bool), np.asarray(other, bool)
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return float(((a == b).mean() - chance) / (1 - chance))


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: probability that a positive scores above a negative, ties half; nan without either."""
    high, low = scores[positive], np.sort(scores[~positive])
    if not len(high) or not len(low):
        return float("nan")
    below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(below.mean() / 2 / len(low))


def grouped_auc(scores: np.ndarray, positive: np.ndarray, group: np.ndarray, judged: np.ndarray) -> float:
    """Mean ROC AUC within groups that have both kinds, weighted by their pairs of one and the other."""
    total = weight = 0.0
    for number in np.unique(group[judged]):
        here = judged & (group == number)
        pairs = positive[here].sum() * (~positive[here]).sum()
        if pairs:
            total, weight = total + pairs * auc(scores[here], positive[here]), weight + pairs
    return total / weight if weight else float("nan")
