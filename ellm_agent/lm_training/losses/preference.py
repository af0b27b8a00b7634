"""Losses of reward models: comparisons of answers to the same question."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def best_of_k(scores: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the choice of the best answer (Ziegler et al. 2019, equation 1, there with K = 4).

        L = -log( exp r(x, y_b) / sum_i exp r(x, y_i) )

    Args:
        scores: r(x, y_i), ``(questions, K)``.
        best: b, ``(questions,)`` int64.

    Returns:
        The mean over the questions, in nats.
    """
    return F.cross_entropy(scores, best)


def ranking(scores: torch.Tensor, preferred: torch.Tensor) -> torch.Tensor:
    """Mean pairwise loss of K ranked answers (Ouyang et al. 2022, equation 1; K from 4 to 9).

        L = -1/C(K, 2) sum over pairs of log sigmoid(r(x, y_w) - r(x, y_l))

    All pairs of a question are in one batch element, so that no answer is overfitted K - 1 times in an epoch. Pairs that
    tie are left out, and divide by the number of pairs that are left.

    Args:
        scores: r(x, y_i), ``(questions, K)``.
        preferred: whether y_i was preferred to y_j, ``(questions, K, K)`` bool.

    Returns:
        The mean over the questions that have a pair, in nats; 0 if none has.

    Raises:
        ValueError: if the labels are not for these answers.
    """
    questions, k = scores.shape
    if preferred.shape != (questions, k, k):
        raise ValueError(
            f"labels have shape {tuple(preferred.shape)}, but the scores are for {questions} questions with {k} answers"
            f" each; labels must have shape {(questions, k, k)}"
        )
    differences = scores[:, :, None] - scores[:, None, :]  # (questions, K, K)
    losses = torch.where(preferred, -F.logsigmoid(differences), 0.0).sum(dim=(1, 2))
    pairs = preferred.sum(dim=(1, 2))  # (questions,)
    return (losses / pairs.clamp(min=1)).sum() / (pairs > 0).sum().clamp(min=1)


def pair_accuracy(scores: torch.Tensor, preferred: torch.Tensor) -> float:
    """Share of the labelled pairs that the scores order in the same way; arguments of ``ranking``."""
    right = scores[:, :, None] > scores[:, None, :]
    return float((right & preferred).sum() / preferred.sum().clamp(min=1))
