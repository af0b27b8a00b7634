"""Named records that cross module boundaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Payment:
    """What one transition earned, and for which goals.

    Attributes:
        reward: the largest cosine above the threshold, or 0.
        events: the events that satisfied a suggested goal.
        goals: the suggested goals that they satisfied.
    """

    reward: float
    events: tuple[str, ...]
    goals: tuple[str, ...]


NO_PAYMENT = Payment(0.0, (), ())


class StepLog(NamedTuple):
    """What exploration made of one transition. Not for the agent.

    Attributes:
        goals: all goals suggested for the state before the action.
        achieved: events paid for in the episode before it.
        payment: what it earned.
    """

    goals: tuple[str, ...]
    achieved: tuple[str, ...]
    payment: Payment


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes:
        world_seed: int that, with the actions, determines it.
        length: frames.
        intrinsic_return: undiscounted sum of intrinsic rewards.
        extrinsic_return: undiscounted sum of the environment's rewards.
        unlocked: sorted names of the achievements unlocked.
        success: whether the environment's task was solved; None if it has none.
    """

    world_seed: int
    length: int
    intrinsic_return: float
    extrinsic_return: float
    unlocked: tuple[str, ...]
    success: bool | None = None

    def row(self) -> dict[str, Any]:
        """For a log."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __deepcopy__(self, memo: dict) -> Episode:
        return self
