"""Base class of worlds that are played many at once in compiled code: all of SB3's interface that is the same in each.

Knows nothing of any world.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices

from envs.interface import HELD_OUT_SEEDS
from envs.text_env import save_episode


class CompiledVecEnv(VecEnv):
    """Parallel worlds in one process, which share all of their attributes.

    Subclasses override :meth:`_start`, :meth:`_info`, :meth:`_observations`, :meth:`_resume_episode` and ``step_wait``.

    Args:
        n_envs: parallel worlds.
        observation_space: of one world.
        action_space: of one world.
    """

    reference: str  # name of the class that plays one world in Python, for messages

    def __init__(self, n_envs: int, observation_space: gym.Space, action_space: gym.Space):
        self.render_mode = None
        super().__init__(n_envs, observation_space, action_space)
        self._random = [seeding.np_random()[0] for _ in range(n_envs)]
        self._world_seeds = [0] * n_envs
        self._actions_taken: list[list[int]] = [[] for _ in range(n_envs)]

    # --- what a world says --------------------------------------------------------------------------------------------

    def _start(self, i: int, world_seed: int | None = None) -> None:
        """Starts an episode in world ``i``; see ``_draw_seed``."""
        raise NotImplementedError

    def _info(self, i: int) -> dict[str, Any]:
        """The info of the present state of world ``i``, as at a reset."""
        raise NotImplementedError

    def _observations(self) -> np.ndarray:
        """A copy of the observations of all worlds."""
        raise NotImplementedError

    def _resume_episode(self, i: int, episode: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """``resume_episode`` of a text environment, in world ``i``."""
        raise NotImplementedError

    # --- SB3's interface ----------------------------------------------------------------------------------------------

    def reset(self) -> np.ndarray:
        """Starts an episode in every world; seeds and options as SB3's ``seed`` and ``set_options`` left them."""
        for i in range(self.num_envs):
            if self._seeds[i] is not None:
                self._random[i] = seeding.np_random(self._seeds[i])[0]
            self._start(i, (self._options[i] or {}).get("world_seed"))
            self.reset_infos[i] = self._info(i)
        self._reset_seeds()
        self._reset_options()
        return self._observations()

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the actions of the next frame."""
        self._chosen = np.asarray(actions, np.int64)

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute, once for each world: all worlds share it."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refused: worlds do not change after they are made."""
        raise AttributeError(f"{attr_name} of compiled worlds cannot be set; make new ones")

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """``episode`` and ``resume_episode``, as in any text environment."""
        methods = {"episode": self._episode, "resume_episode": self._resume_episode}
        if method_name not in methods:
            raise AttributeError(f"compiled worlds have no method {method_name}; use {self.reference}")
        return [methods[method_name](i, *args, **kwargs) for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """No world is wrapped."""
        return [False for _ in self._get_indices(indices)]

    # --- shared -------------------------------------------------------------------------------------------------------

    def _episode(self, i: int) -> dict[str, Any]:
        return save_episode(self._random[i], self._world_seeds[i], self._actions_taken[i])

    def _draw_seed(self, i: int, world_seed: int | None) -> int:
        """The world seed of the episode that starts in world ``i``: the one given, or a training world's, drawn."""
        if world_seed is None:
            world_seed = self._random[i].integers(HELD_OUT_SEEDS)
        self._world_seeds[i], self._actions_taken[i] = int(world_seed), []
        return self._world_seeds[i]
