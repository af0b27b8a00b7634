"""What all offline agents share: SB3's interface, and a loop that draws batches from a log instead of playing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from ellm_agent.agents.offline.buffer import Batch, LoggedTransitions, OfflineBuffer

UPDATES = 8  # gradient steps between callbacks


class OfflineAgent(BaseAlgorithm):
    """Learns from logged transitions, behind SB3's ``learn``, ``predict``, ``save`` and ``load``.

    ``num_timesteps`` counts the transitions drawn from the log: ``learn(1_000_000)`` with batches of 1,000 takes 1,000
    gradient steps. Subclasses say what a gradient step is.

    Args:
        policy: class of the policy.
        env: gives the spaces; it is not played in.
        log: the transitions; None: the agent only plays.
        learning_rate: Adam's step size.
        batch_size: transitions in a gradient step.
        gamma: discount per frame.
        n_steps: frames in an n-step return; None: all to the end of the episode.
        top_share: see ``OfflineBuffer``.
        max_grad_norm: gradient norm above which gradients are scaled down.
    """

    def __init__(
        self,
        policy,
        env,
        log: LoggedTransitions | None = None,
        learning_rate: float = 5e-4,
        batch_size: int = 1024,
        gamma: float = 0.95,
        n_steps: int | None = 1,
        top_share: float = 1.0,
        max_grad_norm: float = 10.0,
        policy_kwargs: dict[str, Any] | None = None,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
    ):
        super().__init__(
            policy, env, learning_rate, policy_kwargs, device=device, seed=seed, support_multi_env=True
        )
        self.batch_size, self.gamma, self.n_steps = batch_size, gamma, n_steps
        self.top_share, self.max_grad_norm = top_share, max_grad_norm
        self.buffer = OfflineBuffer(log, gamma, n_steps, top_share) if log is not None else None
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        ).to(self.device)
        self._create_networks()

    def _create_networks(self) -> None:
        """Makes networks beside the policy."""

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Takes a gradient step; returns figures to log."""
        raise NotImplementedError

    def train(self, gradient_steps: int) -> None:
        """Takes gradient steps on batches of the log."""
        self.policy.set_training_mode(True)
        rows = [self.update(self.buffer.sample(self.batch_size, self.device)) for _ in range(gradient_steps)]
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates)
        for name in rows[0]:
            self.logger.record_mean(
                f"train/{name}", torch.stack([row[name].detach() for row in rows]).mean().item()
            )

    def learn(
        self,
        total_timesteps: int,
        callback=None,
        log_interval: int | None = None,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> OfflineAgent:
        """Draws ``total_timesteps`` transitions, in batches.

        Raises:
            ValueError: if the agent has no log.
        """
        if self.buffer is None:
            raise ValueError("the agent has no log to learn from")
        total, callback = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name)
        callback.on_training_start(locals(), globals())
        infos: tuple = ()  # no world was played
        going = True
        while going and self.num_timesteps < total:
            callback.on_rollout_start()
            left = -(-(total - self.num_timesteps) // self.batch_size)
            steps = min(UPDATES, left)
            self.train(steps)
            self.num_timesteps += steps * self.batch_size
            callback.update_locals(locals())
            going = callback.on_step()
        callback.on_training_end()
        return self

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "buffer"]

    def step(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor, module: nn.Module) -> None:
        """One step of an optimiser, with clipped gradients."""
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), self.max_grad_norm)
        optimizer.step()

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def predict(
        self,
        observation: np.ndarray,
        state: tuple | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple | None]:
        """As SB3's."""
        return self.policy.predict(observation, state, episode_start, deterministic)
