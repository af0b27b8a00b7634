"""What a run takes over from a pretrained agent: its networks, or its actions (Du et al. 2023, section 4.3).

A copy of what is taken lies in the run's folder, under ``pretrained/``: the run can be resumed and read without the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from ellm_agent.agents.dqn import TextDQN
from ellm_agent.runs import checkpoints


def load_pretrained_networks(agent: BaseAlgorithm, folder: Path, layers: str) -> None:
    """Puts pretrained networks into a fresh agent; its optimiser starts anew.

    Args:
        agent: built as the pretrained one was.
        folder: of what ``copy_pretrained`` copied.
        layers: "all", or "head": then the encoder stays as it is.

    Raises:
        UserError: if they cannot be read, or do not fit.
    """
    checkpoints.load_policy(folder, agent)
    # What a state was worth in pretraining, where much more is paid for, says little of the task. Unlearning it would begin with
    # what the agent does most, and so undo what it can do; what is better than what in a state (the policy, or a dueling
    # network's advantages) stays.
    for critic in _state_values(agent):
        nn.init.zeros_(critic.weight)
        nn.init.zeros_(critic.bias)
    if layers == "head":
        policy: Any = getattr(agent, "q_net", agent.policy)
        for parameter in policy.features_extractor.parameters():
            parameter.requires_grad_(False)


def _state_values(agent: BaseAlgorithm) -> list[nn.Linear]:
    """The layers that say what a state is worth."""
    if isinstance(agent, TextDQN):
        return [agent.q_net.value, agent.q_net_target.value]
    return [agent.policy.value_net]
