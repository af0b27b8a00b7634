"""Statistics of few seeds, by ``rliable`` (Agarwal et al. 2021): interquartile means, bootstrap intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rliable import library, metrics
from scipy.stats import trim_mean

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # rliable's way of seeding is an old one of arch's
        return library.get_interval_estimates(
            scores, centre, reps=RESAMPLES, random_state=np.random.RandomState(0)
        )


def interquartile_mean(runs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Interquartile mean over seeds for each method (of three seeds: their mean).

    Args:
        runs: method -> ``(seeds,)`` numbers, or ``(seeds, points)`` curves.
    """
    scores = {name: np.asarray(values, float) for name, values in runs.items()}
    shaped = {name: v.reshape(len(v), 1, -1) for name, v in scores.items()}  # (seeds, one task, points)

    def centre(values: np.ndarray) -> np.ndarray:
        return trim_mean(values.reshape(-1, values.shape[-1]), 0.25, axis=0)  # all points at once

    centres, intervals = _estimated(shaped, centre)
    estimates = {}
    for name, values in scores.items():
        shape = values.shape[1:]
        low, high = (part.reshape(shape) for part in intervals[name])
        estimates[name] = Estimate(centres[name].reshape(shape), low, high)
    return estimates


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
