"""Puts pretrained networks into a new agent (Du et al. 2023, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn


def load_pretrained_networks(agent: BaseAlgorithm, policy: Mapping[str, Any], layers: str) -> None:
    """Puts pretrained networks into a new agent, whose optimiser starts anew.

    The state-value layers are reset: pretraining returns are on another scale, and regressing them down first destroys
    the policy. Advantages (or the policy) are kept.

    Args:
        agent: built as the pretrained one was.
        policy: the pretrained policy's ``state_dict``.
        layers: "all", or "head": then the encoder is frozen.
    """
    agent.policy.load_state_dict(policy)
    # SB3's actor-critic policies have one value head and one encoder; ours name theirs.
    for head in getattr(agent.policy, "value_heads", None) or [agent.policy.value_net]:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    if layers == "head":
        encoder = getattr(agent.policy, "trained_encoder", None) or agent.policy.features_extractor
        encoder.requires_grad_(False)
