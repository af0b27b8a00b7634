"""Statistics of few seeds, by ``rliable`` (Agarwal et al. 2021): interquartile means, bootstrap intervals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rliable import library, metrics

RESAMPLES = 10_000  # bootstrap samples for numbers
CURVE_RESAMPLES = 1_000  # for curves and pairs, which take longer
PROFILE_RESAMPLES = 300


@dataclass(frozen=True)
class Estimate:
    """Interquartile mean over seeds, and its 95 % stratified bootstrap interval; numbers or curves."""

    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __str__(self) -> str:
        return f"{float(self.centre):.2f} [{float(self.low):.2f}, {float(self.high):.2f}]"

    def text(self, seeds: int) -> str:
        """Centre and interval; the centre alone below three seeds, of which an interval means nothing."""
        return str(self) if seeds > 2 else f"{float(self.centre):.2f}"


def _estimated(scores: np.ndarray | list[np.ndarray], centre: Callable, resamples: int) -> tuple:
    """Centre and the two ends of the interval. One set of scores at a time, so that others do not matter."""
    with _seeded():
        centres, intervals = library.get_interval_estimates({"": scores}, centre, reps=resamples)
    return centres[""], *intervals[""]


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """rliable resamples with NumPy's global generator."""
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)


def interquartile_mean(runs: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Interquartile mean over seeds for each method (of three seeds: their mean).

    Args:
        runs: method -> ``(seeds,)`` numbers, or ``(seeds, points)`` curves.
    """
    estimates = {}
    for name, values in runs.items():
        scores = np.asarray(values, float)
        shape, resamples = scores.shape[1:], CURVE_RESAMPLES if scores.ndim > 1 else RESAMPLES
        found = _estimated(
            scores.reshape(len(scores), 1, -1), _trimmed_mean, resamples
        )  # (seeds, one task, points)
        estimates[name] = Estimate(*(part.reshape(shape) for part in found))
    return estimates


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    """rliable's ``aggregate_iqm`` for all points at once: ``(seeds, tasks, points)`` -> ``(points,)``."""
    ordered = np.sort(values.reshape(-1, values.shape[-1]), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(axis=0)


def probability_of_improvement(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Probability that a run of one method is better than a run of the other (ties count half)."""
    pair = [np.asarray(runs, float)[:, None] for runs in (one, other)]
    found = _estimated(pair, metrics.probability_of_improvement, CURVE_RESAMPLES)
    return Estimate(*(np.float64(part.item()) for part in found))


def performance_profile(runs: Mapping[str, np.ndarray], thresholds: np.ndarray) -> dict[str, Estimate]:
    """Share of (seed, task) pairs whose value is above each threshold, and its 95 % interval.

    Args:
        runs: method -> ``(seeds, tasks)``.
        thresholds: ``(points,)``.
    """
    profiles = {}
    for name, values in runs.items():
        with _seeded():
            scores = {"": np.asarray(values, float)}
            found, bands = library.create_performance_profile(scores, thresholds, reps=PROFILE_RESAMPLES)
        profiles[name] = Estimate(found[""], *bands[""])
    return profiles
