"""Random network distillation."""

from __future__ import annotations

import torch

from ellm_agent.rewards.novelty.base import NoveltyModel, mlp


class RND(NoveltyModel):
    """Random network distillation (Burda et al. 2018): a predictor learns the output of a random network.

        bonus = mean over outputs of (predictor(s') - target(s'))^2

    The error falls with every visit that the predictor learns from.

    Args:
        inputs: length of a state.
        actions: number of actions (unused).
        hidden: width of both networks.
    """

    def __init__(self, inputs: int, actions: int, hidden: int):
        super().__init__()
        self.target = mlp(inputs, hidden, hidden).requires_grad_(False)
        self.predictor = mlp(inputs, hidden, hidden)

    def novelty(self, states: torch.Tensor) -> torch.Tensor:
        """Prediction error, ``(batch,)``."""
        return (self.predictor(states) - self.target(states)).square().mean(dim=1)

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        return self.novelty(after)

    def loss(self, before, actions, after) -> torch.Tensor:
        return self.novelty(after).mean()
