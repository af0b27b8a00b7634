"""An agent that acts uniformly at random and learns nothing: the lowest reference."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm


class RandomAgent(BaseAlgorithm):
    """Uniformly random actions behind SB3's interface, with its callbacks.

    Args:
        env: parallel environments with discrete actions.
        seed: of everything random.
    """

    def __init__(self, env, seed: int | None = None):
        super().__init__(None, env, learning_rate=0.0, seed=seed, device="cpu", support_multi_env=True)
        self._setup_model()

    def _setup_model(self) -> None:
        self.set_random_seed(self.seed)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return [], []

    def predict(
        self, observation, state=None, episode_start=None, deterministic=False
    ) -> tuple[np.ndarray, None]:
        return np.random.randint(self.action_space.n, size=len(observation)), None

    def learn(
        self,
        total_timesteps: int,
        callback=None,
        log_interval: int = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> RandomAgent:
        """Plays, and calls the callbacks."""
        total_timesteps, callback = self._setup_learn(total_timesteps, callback, reset_num_timesteps)
        callback.on_training_start(locals(), globals())
        playing = True
        while playing and self.num_timesteps < total_timesteps:
            callback.on_rollout_start()
            actions, _ = self.predict(self._last_obs)
            self._last_obs, _, self._last_episode_starts, infos = self.env.step(actions)
            self.num_timesteps += self.n_envs
            callback.update_locals(locals())
            playing = callback.on_step()
        callback.on_training_end()
        return self
