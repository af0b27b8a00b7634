"""Intrinsic curiosity (ICM): the error of a forward model in features that an inverse model learns."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ellm_agent.rewards.novelty.base import NoveltyModel, mlp

BETA = 0.2  # weight of the forward loss in ICM, its complement that of the inverse loss (Pathak et al. 2017)


class ICM(NoveltyModel):
    """Intrinsic curiosity module (Pathak et al. 2017, equations 2 to 7): the error of a forward model.

        a_hat = inverse(phi(s), phi(s'))      loss_I = cross-entropy of a
        phi_hat = forward(phi(s), a)          loss_F = |phi_hat - phi(s')|^2 / 2
        loss = 0.8 loss_I + 0.2 loss_F        bonus = loss_F of the transition

    Args:
        inputs: length of a state.
        actions: number of actions.
        hidden: width of all layers, and of the features.
    """

    def __init__(self, inputs: int, actions: int, hidden: int):
        super().__init__()
        self.actions = actions
        self.features = mlp(inputs, hidden, hidden)
        self.inverse = mlp(2 * hidden, hidden, actions)
        self.forward_model = mlp(hidden + actions, hidden, hidden)

    def forward_error(self, phi: torch.Tensor, actions: torch.Tensor, next_phi: torch.Tensor) -> torch.Tensor:
        """Half the squared error of the forward model, summed over features, ``(batch,)``."""
        chosen = F.one_hot(actions, self.actions).to(phi.dtype)
        predicted = self.forward_model(torch.cat([phi, chosen], dim=1))
        return (predicted - next_phi).square().sum(dim=1) / 2

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        return self.forward_error(self.features(before), actions, self.features(after))

    def loss(self, before, actions, after) -> torch.Tensor:
        phi, next_phi = self.features(before), self.features(after)
        inverse = F.cross_entropy(self.inverse(torch.cat([phi, next_phi], dim=1)), actions)
        return (1 - BETA) * inverse + BETA * self.forward_error(phi, actions, next_phi).mean()
