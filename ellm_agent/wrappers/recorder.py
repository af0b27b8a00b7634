"""Writes the transitions of a run down, as the outermost wrapper of its worlds. It changes nothing else."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from ellm_agent.datasets.shards import ShardWriter


class TransitionRecorder(VecEnvWrapper):
    """Logs each transition, with the reward that the agent learns from.

    Args:
        venv: text environments whose infos carry ``events``, ``world_seed`` and, at the end of an episode,
            ``terminal_observation`` and ``TimeLimit.truncated``.
        writer: of the shards.
    """

    def __init__(self, venv: VecEnv, writer: ShardWriter):
        super().__init__(venv)
        self._writer = writer

    def reset(self) -> np.ndarray:
        self._last = self.venv.reset()
        return self._last

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        self._writer.add(self._last, self._actions, rewards, dones, infos, observations)
        self._last = observations
        return observations, rewards, dones, infos

    def flush(self) -> None:
        """Writes what has come to disk."""
        self._writer.flush()

    def resume(self, observations: np.ndarray | None, frames: int) -> None:
        """Goes on from a checkpoint.

        Args:
            observations: of the wrapped environments when they were restored.
            frames: played until then.
        """
        self._last = observations
        self._writer.resume(frames)
