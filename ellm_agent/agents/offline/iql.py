"""Implicit Q-learning (Kostrikov, Nair & Levine 2021), for discrete actions: never asks for the value of an action that is
not in the log."""

from __future__ import annotations

import copy

import torch
from stable_baselines3.common.utils import polyak_update
from torch import nn
from torch.nn import functional as F

from ellm_agent.agents.offline.awr import advantage_weights, awr_loss
from ellm_agent.agents.offline.base import OfflineAgent
from ellm_agent.agents.offline.buffer import Batch


def expectile_loss(differences: torch.Tensor, expectile: float) -> torch.Tensor:
    """L_V = mean |tau - 1(u < 0)| u^2, with u = Q - V  (equation 5).

    Args:
        differences: u.
        expectile: tau in (0, 1); 0.5: half the mean squared error, whose minimum is the mean (SARSA).
    """
    return ((expectile - (differences < 0).float()).abs() * differences.square()).mean()


def td_loss(
    q_values: list[torch.Tensor], rewards: torch.Tensor, discounts: torch.Tensor, next_values: torch.Tensor
) -> torch.Tensor:
    """L_Q = sum over critics of mean (R + discount V(s') - Q(s, a))^2  (equation 6).

    Args:
        q_values: ``(batch, 1)`` of each critic.
        rewards: ``(batch, 1)`` n-step returns.
        discounts: ``(batch, 1)``, gamma^n, 0 where the episode terminated.
        next_values: ``(batch, 1)``, without a gradient.
    """
    target = rewards + discounts * next_values
    return sum(F.mse_loss(q, target) for q in q_values)


class TwinCritic(nn.Module):
    """Two Q heads on one text encoder.

    Args:
        encoder: phrase ids -> features.
        actions: how many.
    """

    def __init__(self, encoder: nn.Module, actions: int):
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(encoder.features_dim, actions) for _ in range(2))

    def forward(self, observations: torch.Tensor) -> list[torch.Tensor]:
        """Q of all actions, ``(batch, actions)``, of each head."""
        features = self.encoder(observations)
        return [head(features) for head in self.heads]

    def of(self, observations: torch.Tensor, actions: torch.Tensor) -> list[torch.Tensor]:
        """Q of some actions, ``(batch, 1)``, of each head."""
        return [q.gather(1, actions) for q in self(observations)]


class IQL(OfflineAgent):
    """Implicit Q-learning. Policy and V are SB3's actor-critic, so PPO can learn on from them; the twin critics have an
    encoder of their own, and a slowly moving copy.

    Args:
        *args, **kwargs: as ``OfflineAgent``.
        expectile: tau.
        temperature: t of the policy's weights, reward units: 1 / beta of the paper.
        max_weight: the largest weight. Kostrikov et al.: 100.
        polyak: share of the critics that their copy takes over at each gradient step. Kostrikov et al.: 0.005.
    """

    def __init__(
        self,
        *args,
        expectile: float = 0.8,
        temperature: float = 0.2,
        max_weight: float = 100.0,
        polyak: float = 0.005,
        **kwargs,
    ):
        self.expectile, self.temperature = expectile, temperature
        self.max_weight, self.polyak = max_weight, polyak
        super().__init__(*args, **kwargs)

    def _create_networks(self) -> None:
        # A new encoder, not a copy: twins of the policy's would start out equal to it.
        encoder = self.policy.make_features_extractor()
        self.critic = TwinCritic(encoder, int(self.action_space.n)).to(self.device)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), self.learning_rate, fused=True)

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            q_values = torch.min(*self.critic_target.of(batch.observations, batch.actions))  # (batch, 1)
            next_values = self.policy.predict_values(batch.next_observations)  # (batch, 1)
        values, log_probs, _ = self.policy.evaluate_actions(batch.observations, batch.actions.squeeze(1))
        advantages = q_values - values
        value_loss = expectile_loss(advantages, self.expectile)
        weights = advantage_weights(advantages.detach().squeeze(1), self.temperature, self.max_weight)
        policy_loss = awr_loss(log_probs, weights)
        self.step(self.policy.optimizer, value_loss + policy_loss, self.policy)

        critics = self.critic.of(batch.observations, batch.actions)
        critic_loss = td_loss(critics, batch.rewards, batch.discounts, next_values)
        self.step(self.critic_optimizer, critic_loss, self.critic)
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.polyak)
        return {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "critic_loss": critic_loss,
            "value": values.mean(),
            "q_value": q_values.mean(),
            "weight": weights.mean(),
        }

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "critic", "critic_target", "critic_optimizer"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer", "critic", "critic_target", "critic_optimizer"], []
