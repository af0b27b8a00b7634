"""Logistic regression on the clauses of captions, by Newton's method, and a test whether there is anything to learn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from scipy.stats import binom

WEIGHT_DECAY = 0.1  # a normal prior of the weights with a variance of 10
CHANCE = 1e-4  # what is as unlikely by chance is no chance
STEPS, TOLERANCE = 12, 1e-2  # at most so many, until no weight changes by more


def design_matrix(rows: Sequence[Collection[str]]) -> tuple[dict[str, int], np.ndarray]:
    """Binary features of sets of clauses.

    Args:
        rows: the clauses of each.

    Returns:
        clause -> its column, and ``(rows, 1 + clauses)``: 1 where a row has the clause; the first column is always 1.
    """
    columns = {clause: i for i, clause in enumerate(sorted(frozenset().union(*rows)), 1)}
    inputs = np.zeros((len(rows), 1 + len(columns)))
    inputs[:, 0] = 1
    for row, clauses in zip(inputs, rows, strict=True):
        row[[columns[clause] for clause in clauses]] = 1
    return columns, inputs


def logistic_regression(inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression with weight decay, by Newton's method.

    Args:
        inputs: ``(rows, columns)``.
        labels: ``(rows,)``, 0 or 1.

    Returns:
        ``(columns,)``.
    """
    weights = np.zeros(inputs.shape[1])
    decay = WEIGHT_DECAY * np.eye(inputs.shape[1])
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(inputs @ weights)))  # (rows,)
        gradient = inputs.T @ (p - labels) + WEIGHT_DECAY * weights
        curvature = np.maximum(p * (1 - p), 1e-4)  # the bound keeps steps from becoming too long
        step = np.linalg.solve((inputs * curvature[:, None]).T @ inputs + decay, gradient)
        weights -= step
        if np.abs(step).max() < TOLERANCE:
            break
    return weights


def depends(inputs: np.ndarray, labels: np.ndarray) -> bool:
    """Whether labels are 1 more often than by chance where some column is 1 (a binomial test of each column).

    Of ``n`` rows with label 1, ``k`` have a column that a share ``p`` of all rows has; by chance, as many as ``k`` have
    it with probability P(Binomial(n, p) >= k).

    Args:
        inputs: ``(rows, columns)``, 0 or 1.
        labels: ``(rows,)``, 0 or 1.
    """
    return bool((binom.sf(labels @ inputs - 1, labels.sum(), inputs.mean(axis=0)) < CHANCE).any())
