"""Rewards for novelty: what they have in common. Each kind is a file beside this one and a line in ``BONUSES``."""

from __future__ import annotations

import torch
from torch import nn


class Bonus(nn.Module):
    """Scores transitions by how new they are, and learns from them.

    States are vectors: the sum of the frozen phrase vectors that the agent reads. All methods take batches.

    Attributes:
        scaled: whether its size means nothing by itself, so that it is divided by the running deviation of its returns.
    """

    scaled = True

    def score(
        self, before: torch.Tensor, actions: torch.Tensor, after: torch.Tensor, first_visit: torch.Tensor
    ) -> torch.Tensor:
        """The bonus of each transition, before scaling.

        Args:
            before: states, ``(batch, d)``.
            actions: ``(batch,)`` int64.
            after: states that followed, ``(batch, d)``.
            first_visit: ``(batch,)`` bool, whether the episode had not been in the state that followed.

        Returns:
            ``(batch,)`` float32.
        """
        raise NotImplementedError

    def loss(self, before: torch.Tensor, actions: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """What to minimise on transitions; a scalar."""
        raise NotImplementedError


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
