"""Statistics of few seeds, by ``rliable`` (Agarwal et al. 2021): interquartile means, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rliable import library, metrics

RESAMPLES = 1_000


@dataclass(frozen=True)
class Estimate:
    """Interquartile mean over seeds, and its 95 % stratified bootstrap interval; numbers or curves."""

    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __str__(self) -> str:
        return f"{float(self.centre):.2f} [{float(self.low):.2f}, {float(self.high):.2f}]"


def _estimated(scores: dict, centre: Callable) -> tuple[dict, dict]:
    before = np.random.get_state()
    np.random.seed(0)  # rliable resamples with NumPy's global generator
    try:
        return library.get_interval_estimates(scores, centre, reps=RESAMPLES)
    finally:
        np.random.set_state(before)


def interquartile_mean(runs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Interquartile mean over seeds for each method (of three seeds: their mean).

    Args:
        runs: method -> ``(seeds,)`` numbers, or ``(seeds, points)`` curves.
    """
    scores = {name: np.asarray(values, float) for name, values in runs.items()}
    shaped = {name: v.reshape(len(v), 1, -1) for name, v in scores.items()}  # (seeds, one task, points)
    centres, intervals = _estimated(shaped, _trimmed_mean)
    estimates = {}
    for name, values in scores.items():
        shape = values.shape[1:]
        low, high = (part.reshape(shape) for part in intervals[name])
        estimates[name] = Estimate(centres[name].reshape(shape), low, high)
    return estimates


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    """What rliable's ``aggregate_iqm`` computes, for all points at once: ``(seeds, tasks, points)`` -> ``(points,)``."""
    ordered = np.sort(values.reshape(-1, values.shape[-1]), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(axis=0)


def probability_of_improvement(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Probability that a run of one method is better than a run of the other (ties count half)."""
    pair = {"one,other": (np.asarray(one, float)[:, None], np.asarray(other, float)[:, None])}
    centres, intervals = _estimated(pair, metrics.probability_of_improvement)
    low, high = (np.float64(part.item()) for part in intervals["one,other"])
    return Estimate(np.float64(centres["one,other"].item()), low, high)


def performance_profile(runs: Mapping[str, np.ndarray], thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Share of (seed, task) pairs whose value is above each threshold.

    Args:
        runs: method -> ``(seeds, tasks)``.
        thresholds: ``(points,)``.
    """
    return {
        name: (np.asarray(values)[..., None] > thresholds).mean(axis=(0, 1)) for name, values in runs.items()
    }
