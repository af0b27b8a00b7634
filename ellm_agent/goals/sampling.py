"""Goals drawn by lot: of all that are suggested, a few count at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ellm_agent.goals.base import Goal


class GoalLots:
    """Draws the goals that count in each world, and keeps them while they are open and not too old.

    Args:
        n_envs: worlds.
        at_once: how many count at a time; None: all, and nothing is drawn.
        frames: for which those drawn count, unless they are achieved before.

    Attributes:
        drawn: per world, the goals drawn last.
    """

    def __init__(self, n_envs: int, at_once: int | None, frames: int):
        self._at_once, self._most_frames = at_once, frames
        self._random = np.random.default_rng()
        self._frames = np.zeros(n_envs, int)  # since they were drawn
        self.drawn: list[tuple[Goal, ...]] = [()] * n_envs

    @property
    def are_drawn(self) -> bool:
        """Whether lots decide, or all goals count."""
        return self._at_once is not None

    def seed(self, seed: int | None) -> None:
        """Starts the random numbers over."""
        self._random = np.random.default_rng(seed)

    def begin(self) -> None:
        """Forgets what was drawn."""
        self._frames[:] = 0
        self.drawn = [()] * len(self.drawn)

    def draw(
        self, world: int, kept: tuple[Goal, ...], there: Callable[[], Sequence[Goal]]
    ) -> tuple[Goal, ...]:
        """The goals that count in a world in the next frame.

        Args:
            world: its index.
            kept: those of the goals drawn before that are still open.
            there: gives all that are open, to draw from where none is left or time is up.
        """
        self._frames[world] += 1
        if not kept or self._frames[world] >= self._most_frames:
            goals = there()
            few = min(self._at_once, len(goals))
            chosen = sorted(self._random.choice(len(goals), few, replace=False)) if few else ()
            kept, self._frames[world] = tuple(goals[k] for k in chosen), 0
        self.drawn[world] = kept
        return kept

    def state(self) -> list[Any]:
        """What a checkpoint keeps, as JSON values."""
        return [self._random.bit_generator.state, self.drawn, self._frames.tolist()]

    def restore(self, state: Sequence[Any]) -> None:
        """Takes up what ``state`` gave.

        Raises:
            KeyError, TypeError, ValueError: if it is no such state.
        """
        random, drawn, frames = state
        self._random.bit_generator.state = random
        self.drawn = [tuple(goals) for _, goals in zip(self.drawn, drawn, strict=True)]
        self._frames[:] = frames
