"""Conservative Q-learning, CQL(H) (Kumar et al. 2020), for the dueling double DQN: presses down the values of actions that
are not in the log."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3.common.utils import polyak_update
from torch.nn import functional as F

from ellm_agent.agents.offline.base import OfflineAgent
from ellm_agent.agents.offline.buffer import Batch
from ellm_agent.agents.targets import double_q_target


def cql_penalty(q_values: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """R = mean (log sum_a' exp Q(s, a') - Q(s, a))  (equation 4): the cross-entropy of softmax(Q) and the log.

    Args:
        q_values: ``(batch, actions)``.
        actions: ``(batch, 1)`` int64, of the log.
    """
    return (torch.logsumexp(q_values, dim=1, keepdim=True) - q_values.gather(1, actions)).mean()


class CQL(OfflineAgent):
    """Double DQN on the log, with ``alpha`` times the penalty. ``alpha=0`` is plain DQN.

    Args:
        *args, **kwargs: as ``OfflineAgent``; the policy is a ``TextDQNPolicy``.
        alpha: weight of the penalty.
        polyak: share of the Q network that its target takes over at each gradient step.
        temperature: of the softmax policy that plays, reward units; ``predict(deterministic=True)`` is greedy.
    """

    def __init__(
        self,
        *args,
        alpha: float = 0.1,
        polyak: float = 0.005,
        temperature: float | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        **kwargs,
    ):
        self.alpha, self.polyak = alpha, polyak
        super().__init__(*args, policy_kwargs={"temperature": temperature} | (policy_kwargs or {}), **kwargs)

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        q_net, q_net_target = self.policy.q_net, self.policy.q_net_target
        with torch.no_grad():
            target = double_q_target(
                batch.rewards,
                torch.zeros_like(batch.discounts),  # the discounts hold the ends of episodes
                batch.discounts,
                q_net(batch.next_observations),
                q_net_target(batch.next_observations),
            )
        q_values = q_net(batch.observations)  # (batch, actions)
        loss = F.mse_loss(q_values.gather(1, batch.actions), target)
        penalty = cql_penalty(q_values, batch.actions)
        self.step(self.policy.optimizer, loss + self.alpha * penalty, self.policy.q_net)
        polyak_update(q_net.parameters(), q_net_target.parameters(), self.polyak)
        return {
            "critic_loss": loss,
            "penalty": penalty,
            "q_value": q_values.gather(1, batch.actions).mean(),
            "max_q": q_values.max(dim=1).values.mean(),
        }
