"""Statistics of few seeds, by ``rliable`` (Agarwal et al. 2021): interquartile means, bootstrap intervals.

rliable is imported late: a run, which imports this module, needs none of it, and it takes longer than most of the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

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


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """rliable resamples with NumPy's global generator."""
    before = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(before)


@_seeded()
def _estimate(
    scores: np.ndarray | list[np.ndarray], centre: Callable, resamples: int, shape: tuple[int, ...] = ()
) -> Estimate:
    """The estimate of one set of scores, in a shape. One at a time, so that others do not matter."""
    from rliable import library

    centres, intervals = library.get_interval_estimates({"": scores}, centre, reps=resamples)
    return Estimate(*(np.reshape(part, shape) for part in (centres[""], *intervals[""])))


def interquartile_mean(values: Sequence | np.ndarray) -> Estimate:
    """Interquartile mean over a method's seeds (of three seeds: their mean).

    Args:
        values: ``(seeds,)`` numbers, or ``(seeds, points)`` curves.
    """
    scores = np.asarray(values, float)
    as_one_task = scores.reshape(len(scores), 1, -1)  # (seeds, tasks, points)
    resamples = CURVE_RESAMPLES if scores.ndim > 1 else RESAMPLES
    return _estimate(as_one_task, _trimmed_mean, resamples, scores.shape[1:])


def _trimmed_mean(values: np.ndarray) -> np.ndarray:
    """rliable's ``aggregate_iqm`` for all points at once: ``(seeds, tasks, points)`` -> ``(points,)``."""
    ordered = np.sort(values.reshape(-1, values.shape[-1]), axis=0)
    cut = len(ordered) // 4
    return ordered[cut : len(ordered) - cut].mean(axis=0)


def probability_of_improvement(one: Sequence[float], other: Sequence[float]) -> Estimate:
    """Probability that a run of one method is better than a run of the other (ties count half)."""
    from rliable import metrics

    pair = [np.asarray(runs, float)[:, None] for runs in (one, other)]
    return _estimate(pair, metrics.probability_of_improvement, CURVE_RESAMPLES)


@_seeded()
def performance_profile(values: Sequence | np.ndarray, thresholds: np.ndarray) -> Estimate:
    """Share of (seed, task) pairs whose value is above each threshold, and its 95 % interval.

    Args:
        values: of a method, ``(seeds, tasks)``.
        thresholds: ``(points,)``.
    """
    from rliable import library

    scores = {"": np.asarray(values, float)}
    found, bands = library.create_performance_profile(scores, thresholds, reps=PROFILE_RESAMPLES)
    return Estimate(found[""], *bands[""])
