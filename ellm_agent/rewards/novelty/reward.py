"""Novelty as a transition reward: what the models of this folder have in common when they score an agent's experience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from ellm_agent.records import Transitions
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.novelty.base import NoveltyModel
from ellm_agent.text.embedding_bag import sum_of_rows
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.text.whitening import PhraseFeatures

CLIP = 5.0  # of normalised states (Burda et al. 2018, section 2.4)
WARM_UP = 50  # steps of all worlds before the first bonus: normalisers need data (Burda: random steps)
DISCOUNT = 0.99  # of the returns whose deviation is the scale (Burda et al. 2018, section 2.4)


class NoveltyReward(TransitionReward):
    """Scores transitions by a novelty model, which learns from them.

    A state is the sum of the frozen vectors of all phrases that the agent observes, normalised by running mean and
    standard deviation and clipped to +-5. Bonuses without a size of their own are divided by the running standard
    deviation of their discounted returns, across episodes.

    Args:
        n_envs: parallel worlds.
        features: vectors of the phrases.
        model: scores transitions.
        device: of the model.
        learning_rate: Adam step size.
        batch_size: transitions in one gradient step.
        passes: gradient steps on each batch.
    """

    def __init__(
        self,
        n_envs: int,
        features: PhraseFeatures,
        model: NoveltyModel,
        device: torch.device | str = "cpu",
        learning_rate: float = 1e-4,
        batch_size: int = 64,
        passes: int = 1,
    ):
        self._features, self._device = features, torch.device(device)
        self._model = model.to(self._device)
        self._batch_size, self._passes = batch_size, passes
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.Adam(learned, lr=learning_rate, fused=True)
        self._states, self._scale = RunningMeanStd(shape=(DIMENSIONS,)), RunningMeanStd(shape=())
        self._returns = np.zeros(n_envs)  # discounted, of raw bonuses; across episodes (Burda et al.)
        self._steps = 0
        self._visited: list[set[bytes]] = [
            set() for _ in range(n_envs)
        ]  # observations of the present episodes
        self._collected: list[tuple[torch.Tensor, ...]] = []
        self._log = dict.fromkeys(("bonuses", "bonus", "updates", "loss"), 0.0)

    def reset(self, observations: np.ndarray) -> None:
        self._visited = [{row.tobytes()} for row in observations]

    def reward(self, transitions: Transitions) -> np.ndarray:
        keys = [row.tobytes() for row in transitions.next_observations]
        first_visit = torch.tensor([key not in seen for key, seen in zip(keys, self._visited, strict=True)])
        for key, seen in zip(keys, self._visited, strict=True):
            seen.add(key)
        for i in np.flatnonzero(transitions.dones):
            self._visited[i] = {transitions.first_observations[i].tobytes()}
        before, after = self._vectors(transitions.observations), self._vectors(transitions.next_observations)
        self._states.update(after.numpy())
        actions = torch.as_tensor(transitions.actions).long()
        batch = tuple(
            part.to(self._device) for part in (self._normalise(before), actions, self._normalise(after))
        )
        with torch.no_grad():
            bonus = self._model.score(*batch, first_visit.to(self._device)).cpu().numpy()
        bonus = self._scaled(bonus).astype(np.float32)
        self._log["bonuses"] += len(bonus)
        self._log["bonus"] += float(bonus.sum())
        self._learn(batch)
        return bonus

    def metrics(self) -> dict[str, float]:
        """Mean bonus (scaled, unweighted) and mean loss of the model since the last call."""
        log, self._log = self._log, dict.fromkeys(self._log, 0.0)
        return {
            "bonus/mean": log["bonus"] / max(log["bonuses"], 1),
            "bonus/loss": log["loss"] / max(log["updates"], 1),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "returns": torch.as_tensor(self._returns),
            "steps": self._steps,
            "collected": [list(parts) for parts in self._collected],
            "visited": [[row.hex() for row in sorted(seen)] for seen in self._visited],
            "log": dict(self._log),
            "states": _moments(self._states),
            "scale": _moments(self._scale),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._returns, self._steps = state["returns"].numpy().copy(), state["steps"]
        self._collected = [tuple(part.to(self._device) for part in parts) for parts in state["collected"]]
        self._visited = [{bytes.fromhex(row) for row in rows} for rows in state["visited"]]
        self._log = dict(state["log"])
        for name, statistics in (("states", self._states), ("scale", self._scale)):
            mean, var, count = state[name]
            statistics.mean, statistics.var, statistics.count = mean.numpy(), var.numpy(), count.item()

    def _scaled(self, bonus: np.ndarray) -> np.ndarray:
        self._steps += 1
        if self._steps <= WARM_UP:
            return np.zeros_like(bonus)
        if not self._model.scaled:
            return bonus
        self._returns = DISCOUNT * self._returns + bonus
        self._scale.update(self._returns)
        return bonus / np.sqrt(self._scale.var + 1e-8)

    def _learn(self, transition: tuple[torch.Tensor, ...]) -> None:
        self._collected.append(transition)
        while sum(len(part[1]) for part in self._collected) >= self._batch_size:
            joined = [torch.cat(parts) for parts in zip(*self._collected, strict=True)]
            batch = [part[: self._batch_size] for part in joined]
            self._collected = [tuple(part[self._batch_size :] for part in joined)]
            for _ in range(self._passes):
                loss = self._model.loss(*batch)
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                self._log["updates"] += 1
                self._log["loss"] += loss.item()

    def _vectors(self, observations: np.ndarray) -> torch.Tensor:
        return sum_of_rows(self._features.tensor, torch.as_tensor(observations))  # (n_envs, d)

    def _normalise(self, states: torch.Tensor) -> torch.Tensor:
        mean = torch.as_tensor(self._states.mean, dtype=torch.float32)
        deviation = torch.as_tensor(np.sqrt(self._states.var + 1e-8), dtype=torch.float32)
        return ((states - mean) / deviation).clamp(-CLIP, CLIP)


def _moments(statistics: RunningMeanStd) -> list[torch.Tensor]:
    parts = (statistics.mean, statistics.var, statistics.count)
    return [torch.as_tensor(part, dtype=torch.float64) for part in parts]
