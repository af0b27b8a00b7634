"""Logistic regression on a few hundred binary features, by Newton's method."""

from __future__ import annotations

import numpy as np

WEIGHT_DECAY = 0.1  # a normal prior of the weights with a variance of 10
STEPS, TOLERANCE = 12, 1e-2  # at most so many, until no weight changes by more


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
