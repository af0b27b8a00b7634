"""Adds a transition reward to the environment's, as a wrapper for SB3's vectorised environments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from ellm_agent.records import Transitions
from ellm_agent.rewards.base import TransitionReward


class AddedReward(VecEnvWrapper):
    """Adds ``weight * reward(transition)`` to the reward, and to the returns that are logged.

    Args:
        venv: environments whose infos carry, at the end of an episode, ``episode`` (SB3's return and length) and
            possibly ``finished`` (a :class:`ellm_agent.records.Episode`).
        reward: scores transitions.
        weight: of its scores.

    Attributes:
        reward: what scores transitions.
    """

    def __init__(self, venv: VecEnv, reward: TransitionReward, weight: float = 1.0):
        super().__init__(venv)
        self.reward, self._weight = reward, np.float32(weight)
        self._returns = np.zeros(venv.num_envs)  # added in the present episodes

    def reset(self) -> np.ndarray:
        self._last = self.venv.reset()
        self._returns[:] = 0
        self.reward.reset(self._last)
        return self._last

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        reached = observations.copy()
        for i in np.flatnonzero(dones):  # the end of an episode, not the beginning of the next one
            reached[i] = infos[i]["terminal_observation"]
        transitions = Transitions(self._last, self._actions, reached, dones, observations, infos)
        added = self._weight * self.reward.reward(transitions)
        self._returns += added
        for i in np.flatnonzero(dones):
            self._log_return(infos[i], float(self._returns[i]))
            self._returns[i] = 0
        self._last = observations
        return observations, rewards + added, dones, infos

    def metrics(self) -> dict[str, float]:
        """The reward's figures since the last call."""
        return self.reward.metrics()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint keeps."""
        return {"reward": self.reward.state_dict(), "returns": self._returns.tolist()}

    def load_state_dict(self, state: Mapping[str, Any], observations: np.ndarray) -> None:
        """Takes over what ``state_dict`` gave.

        Args:
            state: of another of the kind.
            observations: of the wrapped environments when they were restored.
        """
        self._last = observations
        self.reward.load_state_dict(state["reward"])
        self._returns[:] = state["returns"]

    def finish(self) -> None:
        """Tells the reward that there are no more transitions; the environments stay open."""
        self.reward.close()

    @staticmethod
    def _log_return(info: dict[str, Any], added: float) -> None:
        if "finished" in info:
            episode = info["finished"]
            total = round(episode.intrinsic_return + added, 4)
            info["finished"] = dataclasses.replace(episode, intrinsic_return=total)
        if "episode" in info:
            info["episode"]["r"] += added
