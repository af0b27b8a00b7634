"""Downstream tasks: what a pretrained agent is to learn (Du et al. 2023, section 4). They are data, in ``tasks.yaml``.

A task is solved by what really happens (the *effect* definition). Each task is also a registered environment:
``gym.make("ellm/PlantRow-v0")`` is :class:`envs.crafter.env.CrafterTextEnv` with ``task="plant row"``, and its docstring
says what solves it.

Imports nothing of the game, so that names of tasks are known without it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

REWARDS = ("last", "each")  # what a task rewards: its solution, or each step, too


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Attributes:
        name: of the task.
        spec: what solves it, for people.
        goal: the event that solves it; None: surviving until the episode is truncated.
        after: instructions before it, in turn.
        in_order: whether these must have happened before, one after the other.
        beside: thing that must stand next to what the goal places, if any.
        holding: item that must be held when the goal happens, if any.
    """

    name: str
    spec: str
    goal: str | None
    after: tuple[str, ...] = ()
    in_order: bool = False
    beside: str | None = None
    holding: str | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The instructions, one after the other; the task itself comes last."""
        return (*self.after, self.name)

    @property
    def environment(self) -> str:
        """Name of its environment: "PlantRow"."""
        return "".join(word.capitalize() for word in self.name.split())

    @property
    def specification(self) -> str:
        """Docstring of its environment: what solves it, its steps, its reward, and when an episode ends."""
        before = " (these must happen first, in this order)" if self.in_order else ""
        steps = f"**Steps**: {', '.join(self.after)}{before}, {self.name}." if self.after else ""
        reward = "**Reward**: 1 when it is solved; with ``task_reward='each'`` also for each step, in turn."
        if self.goal is None:
            reward = "**Reward**: in each frame lived, 1 / the episode's length."
        ends = f"**End**: when it is solved, when the player dies, or after {tasks().episode_length} frames."
        parts = [f"Downstream task *{self.name}*: {self.spec}", steps, reward, ends]
        parts.append("Everything else is :class:`envs.crafter.env.CrafterTextEnv`.")
        return "\n\n".join(part for part in parts if part)

    def fulfilled(self, events: Sequence[str], state: Callable[[], Any]) -> bool:
        """True if its goal was reached in a frame, whatever was to be done before it.

        Args:
            events: of the frame (``captions.describe_transition``).
            state: returns the ``CrafterState`` after it; called only where it matters.
        """
        if self.goal is None or self.goal not in events:
            return False
        if self.beside is not None and not _stands_beside(state(), self.beside):
            return False
        return self.holding is None or self.holding in state().held


def _stands_beside(state: Any, thing: str) -> bool:
    """True if one of the four cells around the faced one, where things are placed, holds such a thing."""
    x, y = state.facing
    around = [state.thing_at(x + dx, y + dy) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    return thing in around or f"ripe {thing}" in around


class Progress:
    """Progress of an episode on a task.

    Args:
        task: the task.
        reward: "last" (the paper's ``reward_last``: 1 when the task is solved) or "each" (1 for each completed step, too).
        episode_length: frames of an episode.
    """

    def __init__(self, task: Task, reward: str, episode_length: int):
        self.task, self.reward, self._length = task, reward, episode_length
        self.start()

    def start(self) -> None:
        """A new episode."""
        self.step, self.solved = 0, False

    @property
    def over(self) -> bool:
        """True if the episode ends because the task is solved (survival ends with the time limit)."""
        return self.solved and self.task.goal is not None

    @property
    def instruction(self) -> str:
        """The next step; after all steps, the task itself."""
        return self.task.steps[self.step]

    def advance(self, events: Sequence[str], state: Callable[[], Any], lives: bool, last: bool) -> float:
        """Advances by one frame; returns its reward.

        Args:
            events: of the frame.
            state: returns the state after it.
            lives: whether the player lives.
            last: whether the time limit is reached.
        """
        if self.task.goal is None:
            self.solved = lives and last
            return 1 / self._length if lives else 0.0
        ready = not self.task.in_order or self.step == len(self.task.after)
        if ready and self.task.fulfilled(events, state):
            self.solved = True
            return 1.0
        if self.step < len(self.task.after) and self.instruction in events:
            self.step += 1
            return 1.0 if self.reward == "each" else 0.0
        return 0.0


@dataclass(frozen=True)
class Tasks:
    """The content of ``tasks.yaml``."""

    episode_length: int
    by_name: Mapping[str, Task]


@functools.cache
def tasks() -> Tasks:
    """All tasks, read once."""
    data = yaml.safe_load(Path(__file__).with_name("tasks.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, entry in data["tasks"].items():
        fields = {"spec": f"The goal {name!r} comes about.", "goal": name, **entry}
        found[name] = Task(name, **{**fields, "after": tuple(fields.get("after", ()))})
    return Tasks(data["episode_length"], MappingProxyType(found))
