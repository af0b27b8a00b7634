"""Rewards for novelty as a wrapper for SB3's vectorised environments.

A bonus is computed when a transition is collected, from the models as they are then, and becomes part of its reward.
So it is right under n-step returns, under rules about the episode (NovelD's first visit), and under any SB3
algorithm; a replay keeps the bonus that a transition had when it was new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from ellm_agent.rewards import Bonus
from ellm_agent.text.embedding_bag import sum_of_rows
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.text.whitening import PhraseFeatures

CLIP = 5.0  # of normalised states (Burda et al. 2018, section 2.4)


WARM_UP = 50  # steps of all worlds before the first bonus: normalisers need data (Burda: random steps)
DISCOUNT = 0.99  # of the returns of bonuses whose deviation is the scale (Burda et al. 2018, section 2.4)


class NoveltyBonus(VecEnvWrapper):
    """Adds ``weight * bonus`` to the reward.

    Bonuses without a size of their own are divided by the running standard deviation of their discounted returns.

    The bonus sees the sum of the frozen vectors of all phrases that the agent reads, normalised by running mean and
    standard deviation and clipped to +-5. Its model learns from new transitions in batches, with Adam.

    Args:
        venv: environments whose observations are phrase ids; 0 is padding.
        features: vectors of the phrases.
        bonus: scores transitions.
        weight: of the bonus in the reward.
        learning_rate: Adam step size of the bonus's model.
        batch_size: transitions in one of its gradient steps.
        passes: gradient steps on each batch.

    Attributes:
        bonus: the model.
    """

    def __init__(
        self,
        venv: VecEnv,
        features: PhraseFeatures,
        bonus: Bonus,
        weight: float = 1.0,
        learning_rate: float = 1e-4,
        batch_size: int = 64,
        passes: int = 1,
    ):
        super().__init__(venv)
        self.bonus, self._features, self._weight = bonus, features, weight
        self._batch_size, self._passes = batch_size, passes
        learned = [parameter for parameter in bonus.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(learned, lr=learning_rate, fused=True)
        self.states = RunningMeanStd(shape=(DIMENSIONS,))
        self.scale = RunningMeanStd(shape=())
        self._returns = np.zeros(venv.num_envs)  # discounted, of raw bonuses; across episodes (Burda et al.)
        self._steps = 0
        self._collected: list[tuple[torch.Tensor, ...]] = []
        self._totals = np.zeros(3)  # bonuses, their sum, steps of learning
        self._losses = 0.0

    def reset(self) -> np.ndarray:
        self._last = self.venv.reset()
        self._visited = [{row.tobytes()} for row in self._last]
        return self._last

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        observations, rewards, dones, infos = self.venv.step_wait()
        reached = observations.copy()
        for i in np.flatnonzero(dones):  # reached is how an episode ended, not where the next one starts
            reached[i] = infos[i]["terminal_observation"]
        bonus = self._score(self._last, self._actions, reached)
        for i in np.flatnonzero(dones):
            self._visited[i] = {observations[i].tobytes()}
        self._last = observations
        return observations, rewards + np.float32(self._weight) * bonus, dones, infos

    def metrics(self) -> dict[str, float]:
        """Mean bonus (scaled, unweighted) and mean loss of the model since the last call."""
        count, total, steps = self._totals
        metrics = {"bonus/mean": total / max(count, 1), "bonus/loss": self._losses / max(steps, 1)}
        self._totals[:] = self._losses = 0.0
        return metrics

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: tensors, numbers, and lists and dictionaries of them."""
        return {
            "model": self.bonus.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "returns": torch.as_tensor(self._returns),
            "steps": self._steps,
            "collected": [list(parts) for parts in self._collected],
            "visited": [self._as_rows(seen) for seen in self._visited],
            "totals": [*self._totals.tolist(), self._losses],  # since metrics were last told
            **{
                name: [torch.as_tensor(part, dtype=torch.float64) for part in (of.mean, of.var, of.count)]
                for name, of in (("states", self.states), ("scale", self.scale))
            },
        }

    def restore(self, state: Mapping[str, Any], observation: np.ndarray) -> None:
        """Takes up what ``state`` gave.

        Args:
            state: of another of the kind.
            observation: that the worlds under it gave when they were restored.
        """
        self._last = observation
        self.bonus.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._returns, self._steps = state["returns"].numpy(), state["steps"]
        self._collected = [tuple(parts) for parts in state["collected"]]
        self._visited = [{row.tobytes() for row in rows.numpy()} for rows in state["visited"]]
        *self._totals[:], self._losses = state["totals"]
        for name, of in (("states", self.states), ("scale", self.scale)):
            mean, var, count = state[name]
            of.mean, of.var, of.count = mean.numpy(), var.numpy(), count.item()

    def _as_rows(self, seen: set[bytes]) -> torch.Tensor:
        slots, dtype = self.observation_space.shape[0], self.observation_space.dtype
        return torch.from_numpy(np.frombuffer(b"".join(sorted(seen)), dtype).reshape(-1, slots).copy())

    def _score(self, before: np.ndarray, actions: np.ndarray, after: np.ndarray) -> np.ndarray:
        keys = [row.tobytes() for row in after]
        first = torch.tensor([key not in seen for key, seen in zip(keys, self._visited, strict=True)])
        for key, seen in zip(keys, self._visited, strict=True):
            seen.add(key)
        one, other = self._read(before), self._read(after)
        self.states.update(other.numpy())
        transition = (self._normalised(one), torch.as_tensor(actions).long(), self._normalised(other))
        with torch.no_grad():
            raw = self.bonus.score(*transition, first).numpy()
        self._steps += 1
        if self._steps <= WARM_UP:
            raw = np.zeros_like(raw)
        elif self.bonus.scaled:
            self._returns = DISCOUNT * self._returns + raw
            self.scale.update(self._returns)
            raw = raw / np.sqrt(self.scale.var + 1e-8)
        scaled = raw.astype(np.float32)
        self._totals[:2] += len(scaled), scaled.sum()
        self._learn(transition)
        return scaled

    def _learn(self, transition: tuple[torch.Tensor, ...]) -> None:
        self._collected.append(transition)
        while sum(len(part[1]) for part in self._collected) >= self._batch_size:
            joined = [torch.cat(parts) for parts in zip(*self._collected, strict=True)]
            batch = [part[: self._batch_size] for part in joined]
            self._collected = [tuple(part[self._batch_size :] for part in joined)]
            for _ in range(self._passes):
                loss = self.bonus.loss(*batch)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self._totals[2] += 1
                self._losses += loss.item()

    def _read(self, observations: np.ndarray) -> torch.Tensor:
        return sum_of_rows(self._features.tensor, torch.as_tensor(observations))

    def _normalised(self, states: torch.Tensor) -> torch.Tensor:
        mean, std = self.states.mean, np.sqrt(self.states.var + 1e-8)
        scaled = (states - torch.as_tensor(mean, dtype=torch.float32)) / torch.as_tensor(
            std, dtype=torch.float32
        )
        return scaled.clamp(-CLIP, CLIP)
