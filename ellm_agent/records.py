"""Named records that cross module boundaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class IntrinsicReward:
    """The reward of one transition for goals.

    Attributes:
        value: the reward: the cosine, times the weights of goals and of rare events.
        events: the events that satisfied an open goal.
        goals: the open goals that they satisfied.
        cosine: the largest cosine similarity above the threshold, or 0.
    """

    value: float
    events: tuple[str, ...]
    goals: tuple[str, ...]
    cosine: float = 0.0


NO_REWARD = IntrinsicReward(0.0, (), ())


class Transitions(NamedTuple):
    """One transition of each parallel world.

    Attributes:
        observations: ``(n_envs, slots)``.
        actions: ``(n_envs,)``.
        next_observations: ``(n_envs, slots)``; where an episode ended, its last one.
        dones: ``(n_envs,)`` bool, whether the episode ended.
        first_observations: ``(n_envs, slots)``; where an episode ended, the first one of the next episode.
        infos: of the worlds after it, for each; diagnostics, such as what a judge of clips sees.
    """

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray
    dones: np.ndarray
    first_observations: np.ndarray
    infos: Sequence[Mapping[str, Any]] = ()


class StepLog(NamedTuple):
    """Diagnostics of one transition in one world. Not for the agent.

    Attributes:
        goals: the active goals, suggested for the state before the action.
        achieved: events rewarded in the episode before it.
        reward: its reward for goals.
    """

    goals: tuple[str, ...]
    achieved: tuple[str, ...]
    reward: IntrinsicReward


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes:
        world_seed: int that, with the actions, determines it.
        length: frames.
        intrinsic_return: undiscounted sum of all intrinsic rewards, a weighted novelty bonus included.
        extrinsic_return: undiscounted sum of the environment's rewards, unweighted.
        unlocked: sorted names of the achievements unlocked.
        success: whether the environment's task was solved; None if it has none.
        scores: other numbers of the world, by name.
    """

    world_seed: int
    length: int
    intrinsic_return: float
    extrinsic_return: float
    unlocked: tuple[str, ...]
    success: bool | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """A row of ``episodes.jsonl``, without its frames."""
        row = {name: value for name, value in vars(self).items() if name != "scores" and value is not None}
        if taken := {"frames", *vars(self)} & set(self.scores):
            raise ValueError(f"a world's score is named {sorted(taken)[0]!r}, which is another column's name")
        return row | dict(self.scores)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Episode:
        """The episode of a row of ``episodes.jsonl``.

        Raises:
            TypeError: if it is no such row.
        """
        own = {name: value for name, value in row.items() if name in cls.__dataclass_fields__}
        return cls(**own, scores=cls.scores_of(row))

    @classmethod
    def scores_of(cls, row: Mapping[str, Any]) -> dict[str, float]:
        """The world's own numbers in such a row."""
        return {
            name: value for name, value in row.items() if name not in ("frames", *cls.__dataclass_fields__)
        }

    def __deepcopy__(self, memo: dict) -> Episode:
        # SB3's vectorised environments deep-copy every info at every step; this cannot change.
        return self
