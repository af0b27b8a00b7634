"""The interface of novelty models."""

from __future__ import annotations

import torch
from torch import nn


class NoveltyModel(nn.Module):
    """Scores transitions by how new they are, and learns from them. All methods take batches.

    Attributes:
        scaled: whether its scores have no size of their own, so that they are divided by the running deviation of
            their returns.
    """

    scaled = True

    def score(
        self, before: torch.Tensor, actions: torch.Tensor, after: torch.Tensor, first_visit: torch.Tensor
    ) -> torch.Tensor:
        """The bonus of each transition, before scaling.

        Args:
            before: states, ``(batch, d)``.
            actions: ``(batch,)`` int64.
            after: next states, ``(batch, d)``.
            first_visit: ``(batch,)`` bool, whether the next state is visited for the first time in the episode.

        Returns:
            ``(batch,)`` float32.
        """
        raise NotImplementedError

    def loss(self, before: torch.Tensor, actions: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """The loss on a batch of transitions; a scalar."""
        raise NotImplementedError


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
