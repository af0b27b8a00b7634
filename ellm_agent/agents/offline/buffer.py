"""Logged transitions as arrays that batches are drawn from. Knows nothing of text, worlds or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch


class Batch(NamedTuple):
    """Transitions drawn from a log.

    Attributes:
        observations, next_observations: ``(batch, slots)`` phrase ids; the next are those n steps later.
        actions: ``(batch, 1)`` int64.
        rewards: ``(batch, 1)`` n-step returns.
        discounts: ``(batch, 1)``, gamma^n, or 0 where the episode terminated within n steps.
    """

    observations: torch.Tensor
    actions: torch.Tensor
    rewards: torch.Tensor
    discounts: torch.Tensor
    next_observations: torch.Tensor


@dataclass(frozen=True)
class LoggedTransitions:
    """A log, ready to draw from.

    Attributes:
        observations: ``(rows, slots)`` phrase ids; episode e's rows follow each other, the last observation included.
        starts: ``(episodes + 1,)``, the transitions of episode e are ``starts[e]`` to before ``starts[e + 1]``.
        actions: ``(transitions,)``.
        rewards: ``(transitions,)``.
        terminated: ``(transitions,)`` bool.
    """

    observations: np.ndarray
    starts: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray

    def __len__(self) -> int:
        return len(self.actions)


class OfflineBuffer:
    """Draws batches, uniformly over transitions, with NumPy's global generator (which checkpoints keep).

    Args:
        log: the transitions.
        gamma: discount per frame.
        n_steps: frames in an n-step return; None: all to the end of the episode.
        top_share: only of the episodes with the largest returns that hold this share of the transitions.
    """

    def __init__(self, log: LoggedTransitions, gamma: float, n_steps: int | None = 1, top_share: float = 1.0):
        self._log = log
        lengths = np.diff(log.starts)
        episode_of = np.repeat(np.arange(len(lengths)), lengths)
        self._rows = np.arange(len(log)) + episode_of
        self._rewards, steps, self._discounts = n_step_returns(
            log.rewards, log.terminated, log.starts, gamma, n_steps
        )
        self._next_rows = self._rows + steps
        totals = np.add.reduceat(log.rewards.astype(np.float64), log.starts[:-1])
        self.chosen = np.flatnonzero(best_episodes(totals, lengths, top_share)[episode_of])  # transitions

    def __len__(self) -> int:
        return len(self.chosen)

    def sample(self, size: int, device: torch.device | str = "cpu") -> Batch:
        """A batch of transitions."""
        at = self.chosen[np.random.randint(len(self.chosen), size=size)]
        arrays = (
            self._log.observations[self._rows[at]],
            self._log.actions[at, None].astype(np.int64),
            self._rewards[at, None],
            self._discounts[at, None],
            self._log.observations[self._next_rows[at]],
        )
        return Batch(*(torch.from_numpy(array).to(device) for array in arrays))


def n_step_returns(
    rewards: np.ndarray, terminated: np.ndarray, starts: np.ndarray, gamma: float, n_steps: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R_t = sum_{k < m} gamma^k r_{t+k}, with m = n, or fewer where the episode ends before.

    Args:
        rewards, terminated: ``(transitions,)``.
        starts: ``(episodes + 1,)``.
        gamma: discount per frame.
        n_steps: n; None: all to the end of the episode.

    Returns:
        R ``(transitions,)`` float32, m ``(transitions,)``, and the discount of the value that follows: gamma^m, or 0
        where the episode terminated within these steps (a time limit does not stop the bootstrap).
    """
    left = np.repeat(starts[1:], np.diff(starts)) - np.arange(
        len(rewards)
    )  # transitions to the end of the episode
    if n_steps is None:
        steps, total = left, discounted_returns(rewards, starts, gamma)
    else:
        steps, total = np.minimum(left, n_steps), np.zeros(len(rewards), np.float64)
        for k in range(n_steps):
            inside = np.flatnonzero(steps > k)
            total[inside] += gamma**k * rewards[inside + k]
    over = terminated[np.arange(len(rewards)) + steps - 1]
    return total.astype(np.float32), steps, np.where(over, 0.0, gamma**steps).astype(np.float32)


def discounted_returns(rewards: np.ndarray, starts: np.ndarray, gamma: float) -> np.ndarray:
    """G_t = r_t + gamma G_{t+1}, to the last logged transition of the episode: ``(transitions,)`` float32."""
    returns = np.zeros(len(rewards), np.float32)
    lengths = np.diff(starts)
    following = np.zeros(len(lengths))
    for back in range(
        1, int(lengths.max(initial=0)) + 1
    ):  # from the last transition of all episodes to the first
        alive = lengths >= back
        at = starts[1:][alive] - back
        following[alive] = rewards[at] + gamma * following[alive]
        returns[at] = following[alive]
    return returns


def best_episodes(returns: np.ndarray, lengths: np.ndarray, share: float) -> np.ndarray:
    """The fewest episodes, the largest returns first, that hold a share of all transitions: ``(episodes,)`` bool."""
    order = np.argsort(-returns, kind="stable")
    before = np.cumsum(lengths[order]) - lengths[order]
    best = np.zeros(len(returns), bool)
    best[order[before < share * lengths.sum()]] = True
    return best
