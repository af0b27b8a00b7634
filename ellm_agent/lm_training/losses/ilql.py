"""Implicit language Q-learning (Snell et al. 2022): losses of the heads, and the target.

Actions are tokens. A state is all tokens before one; tokens that the environment wrote are no actions. All functions take
one row per action, in the order of play; losses of no actions are 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import functional as F


def bellman_target(
    rewards: torch.Tensor, next_values: torch.Tensor, terminal: torch.Tensor, gamma: float
) -> torch.Tensor:
    """y = r + gamma (1 - d) V(h'), without a gradient.

    Args:
        rewards: r of each action, ``(actions,)``.
        next_values: V of the state of the next action in the episode, ``(actions,)``.
        terminal: d, whether no action follows, ``(actions,)`` bool.
        gamma: discount per action.
    """
    return (rewards + gamma * (~terminal) * next_values).detach()


def q_loss(q1: torch.Tensor, q2: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Sum over both heads of the mean of (y - Q_i(h, a))^2; q1, q2: of the taken tokens, ``(actions,)``."""
    return _mean((target - q1) ** 2) + _mean((target - q2) ** 2)


def expectile_loss(values: torch.Tensor, q: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean of |tau - 1[Q < V]| (Q - V)^2, without a gradient to Q (Kostrikov et al. 2022, equation 5).

    Args:
        values: V(h), ``(actions,)``.
        q: the smaller of the target heads' Q(h, a), ``(actions,)``.
        tau: .5 evaluates the data's policy (SARSA); nearer to 1, the best that the data's actions allow.
    """
    error = q.detach() - values
    weight = torch.where(error < 0, 1 - tau, tau)
    return _mean(weight * error**2)


def cql_loss(q: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of softmax(Q(h, .)) against the taken token: tokens that the data does not have stay low.

    Args:
        q: Q(h, .), ``(actions, vocabulary)``.
        actions: taken tokens, ``(actions,)``.
    """
    return F.cross_entropy(q, actions)


@torch.no_grad()
def polyak(targets: Iterable[torch.Tensor], sources: Iterable[torch.Tensor], rate: float) -> None:
    """target <- (1 - rate) target + rate source, in place."""
    for target, source in zip(targets, sources, strict=True):
        target.lerp_(source, rate)


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.sum() / max(1, len(values))
