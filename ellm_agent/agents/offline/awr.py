"""Advantage-weighted regression (Peng et al. 2019): imitates actions the more, the better they turned out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ellm_agent.agents.offline.base import OfflineAgent
from ellm_agent.agents.offline.buffer import Batch


def advantage_weights(advantages: torch.Tensor, temperature: float, largest: float) -> torch.Tensor:
    """w = min(exp(A / t), largest)  (Peng et al. 2019, equation 3 and section 3.3; t is their beta).

    IQL's policy extraction is the same with t = 1 / beta (Kostrikov et al. 2021, equation 7).
    """
    return (advantages / temperature).exp().clamp(max=largest)


def awr_loss(log_probs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """L = -mean w log pi(a | s), without a gradient through w.

    Args:
        log_probs: ``(batch,)``, of the logged actions.
        weights: ``(batch,)``.
    """
    return -(weights.detach() * log_probs).mean()


class AWR(OfflineAgent):
    """Advantage-weighted regression with the returns of the log: A = G - V(s), V regressed on G.

    G goes to the end of the episode; where that was truncated, V of its last observation stands for the rest.

    Args:
        *args, **kwargs: as ``OfflineAgent``, but for n_steps.
        temperature: t, reward units.
        max_weight: the largest weight.
    """

    def __init__(self, *args, temperature: float = 0.2, max_weight: float = 20.0, **kwargs):
        self.temperature, self.max_weight = temperature, max_weight
        super().__init__(*args, n_steps=None, **kwargs)

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            last_values = self.policy.predict_values(batch.next_observations)  # (batch, 1)
        returns = batch.rewards + batch.discounts * last_values
        values, log_probs, _ = self.policy.evaluate_actions(batch.observations, batch.actions.squeeze(1))
        value_loss = F.mse_loss(values, returns)
        advantages = (returns - values).detach().squeeze(1)  # (batch,)
        weights = advantage_weights(advantages, self.temperature, self.max_weight)
        policy_loss = awr_loss(log_probs, weights)
        self.step(self.policy.optimizer, policy_loss + value_loss, self.policy)
        return {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "value": values.mean(),
            "weight": weights.mean(),
        }
