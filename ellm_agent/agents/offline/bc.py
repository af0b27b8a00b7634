"""Behaviour cloning: the policy imitates the logged actions; filtered, only those of the best episodes."""

from __future__ import annotations

import torch

from ellm_agent.agents.offline.base import OfflineAgent
from ellm_agent.agents.offline.buffer import Batch


def bc_loss(log_probs: torch.Tensor) -> torch.Tensor:
    """L = -mean log pi(a | s).

    Args:
        log_probs: ``(batch,)``, of the logged actions.
    """
    return -log_probs.mean()


class BC(OfflineAgent):
    """Behaviour cloning; with ``top_share`` below 1 it is filtered.

    The policy is that of PPO, so PPO can learn on from it. Its value head is not trained.
    """

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        _, log_probs, _ = self.policy.evaluate_actions(batch.observations, batch.actions.squeeze(1))
        loss = bc_loss(log_probs)
        self.step(self.policy.optimizer, loss, self.policy)
        return {"policy_loss": loss}
