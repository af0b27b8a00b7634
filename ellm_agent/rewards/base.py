"""The interface of rewards for transitions: novelty, preferences, or any other signal beside that for goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ellm_agent.records import Transitions


class TransitionReward:
    """Scores transitions when they are collected, and may learn from them.

    So a reward is right with n-step returns, with rules about the episode, and with any SB3 algorithm; a replay keeps the
    reward that a transition had when it was new. ``wrappers.added_reward.AddedReward`` adds it to the environment's.

    Attributes:
        failure: why training must end, after a checkpoint; None: it goes on.
    """

    failure: Exception | None = None

    def reset(self, observations: np.ndarray) -> None:
        """New episodes have begun in all worlds, with these observations, ``(n_envs, slots)``."""

    def reward(self, transitions: Transitions) -> np.ndarray:
        """The reward of each transition, ``(n_envs,)`` float32. Learns from them, if it learns."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Figures for the log since the last call, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint keeps: tensors, numbers, and lists and dictionaries of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""

    def close(self) -> None:
        """There are no more transitions."""
