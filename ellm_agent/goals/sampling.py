"""Samples the active goals: at most ``max_active`` of the suggested ones, kept until achieved or too old."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ellm_agent.goals.base import Goal


class GoalSampler:
    """Samples the active goals of each world, uniformly without replacement.

    Args:
        n_envs: worlds.
        max_active: active goals of a world, at most; None: all suggested goals are active, nothing is sampled.
        frames: for which sampled goals stay active, unless they are achieved before.

    Attributes:
        active: per world, the goals sampled last.
    """

    def __init__(self, n_envs: int, max_active: int | None, frames: int):
        self._max_active, self._max_age = max_active, frames
        self._random = np.random.default_rng()
        self._age = np.zeros(n_envs, int)  # frames since sampling
        self.active: list[tuple[Goal, ...]] = [()] * n_envs

    @property
    def enabled(self) -> bool:
        """Whether goals are sampled; otherwise all are active."""
        return self._max_active is not None

    def seed(self, seed: int | None) -> None:
        """Seeds the random numbers."""
        self._random = np.random.default_rng(seed)

    def reset(self) -> None:
        """Forgets the active goals."""
        self._age[:] = 0
        self.active = [()] * len(self.active)

    def select(
        self, world: int, still_open: tuple[Goal, ...], candidates: Callable[[], Sequence[Goal]]
    ) -> tuple[Goal, ...]:
        """The active goals of a world in the next frame.

        Args:
            world: its index.
            still_open: those of its active goals that are not achieved yet.
            candidates: returns all open goals; called only if new ones are to be sampled.
        """
        self._age[world] += 1
        if not still_open or self._age[world] >= self._max_age:
            goals = candidates()
            count = min(self._max_active, len(goals))
            chosen = sorted(self._random.choice(len(goals), count, replace=False)) if count else ()
            still_open, self._age[world] = tuple(goals[k] for k in chosen), 0
        self.active[world] = still_open
        return still_open

    def state_dict(self) -> dict[str, Any]:
        return {
            "random": self._random.bit_generator.state,
            "active": [list(goals) for goals in self.active],
            "age": self._age.tolist(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``. Raises: KeyError, TypeError, ValueError for anything else."""
        self._random.bit_generator.state = state["random"]
        self.active = [tuple(goals) for _, goals in zip(self.active, state["active"], strict=True)]
        self._age[:] = state["age"]
