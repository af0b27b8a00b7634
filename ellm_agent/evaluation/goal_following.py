"""Telling an agent what to do, and counting how often it does that."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ellm_agent.build import environment_arguments, make_exploration, make_player
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording, record_episodes
from ellm_agent.goals import FixedGoals
from ellm_agent.goals.base import Goal
from ellm_agent.rewards import GoalSimilarity
from ellm_agent.runs import checkpoints
from envs.crafter.env import CrafterTextEnv
from envs.crafter.tasks import tasks


@dataclass(frozen=True)
class Told:
    """When goals were reached, by what was told.

    Attributes:
        goals: that were told, one after the other.
        events: what the game calls them.
        reads_goals: whether the agent reads what it is told; if not, there is one row for all.
        within: frames of an episode, at most.
        reached: when one (first index) was told, the frame at which a goal (second) was first reached in an episode (third), from
            1; None if it was not.
    """

    goals: tuple[Goal, ...]
    events: tuple[str, ...]
    reads_goals: bool
    within: int
    reached: list[list[list[int | None]]]

    def told(self, i: int) -> float:
        """How often goal ``i`` was reached when it was told (or whatever was told, if that makes no difference)."""
        return float(np.mean([frame is not None for frame in self._when(i)]))

    def frames(self, i: int) -> float | None:
        """Median frames until it was reached when it was told; None if it never was."""
        frames = [frame for frame in self._when(i) if frame is not None]
        return float(np.median(frames)) if frames else None

    def compared(self, i: int) -> tuple[float, float] | None:
        """How often goal ``i`` came before another one when it was told, and when the other one was told.

        The mean over the others; those on whose way it lies (a table needs wood) are left out. Both count in the same way, so
        that an agent that does not listen has the same share twice. None if there are no others.
        """
        others = [k for k in range(len(self.goals)) if k != i and not self._needs(k, i)]
        if not others or not self.reads_goals:
            return None
        return tuple(
            float(np.mean([self._before(told(k), i, k) for k in others]))
            for told in (lambda k: i, lambda k: k)
        )

    def _before(self, told: int, i: int, other: int) -> float:
        """Share of episodes in which goal ``i`` was reached, and the other one not before it."""
        never = self.within + 1
        pairs = zip(self.reached[told][i], self.reached[told][other], strict=True)
        return float(np.mean([mine is not None and mine <= (its or never) for mine, its in pairs]))

    def _when(self, i: int) -> list[int | None]:
        return self.reached[i if self.reads_goals else 0][i]

    def _needs(self, k: int, i: int) -> bool:
        task = tasks().by_name.get(self.events[k])
        return task is not None and self.events[i] in task.after


def measure(config: Config, checkpoint: Path, goals: Sequence[Goal], episodes: int, within: int) -> Told:
    """Lets a trained agent play, telling it one goal after the other.

    Args:
        config: of the run that trained it.
        checkpoint: of that run.
        goals: to tell; none: all of the game.
        episodes: for each goal, in as many held-out worlds.
        within: frames after which an episode ends.

    Raises:
        UserError: if a goal means nothing in the game, two mean the same, or the agent cannot be read.
    """
    torch.set_num_threads(config.threads)
    config = dataclasses.replace(
        config,
        environment=dataclasses.replace(config.environment, episode_length=within, task=None),
        goals=dataclasses.replace(config.goals, success="effect", goals_at_once=None),
    )
    arguments = environment_arguments(config)
    phrases = checkpoints.load_phrases(checkpoint)
    language = CrafterTextEnv(**arguments).language
    goals = tuple(goals) or language.goals
    events = _meant(
        goals, language.goals, GoalSimilarity(phrases, config.goals.threshold, language.canonical)
    )
    reads, agent, reached = config.goals.goal_conditioned, None, []
    for told in [(goal,) for goal in goals] if reads else [()]:
        exploration = make_exploration(config, FixedGoals(told), phrases, episodes, one_episode=True)
        agent = agent or make_player(config, checkpoint, exploration)
        recordings = record_episodes(agent, exploration, episodes, arguments)
        reached.append([[_frame(recording, event) for recording in recordings] for event in events])
    return Told(goals, events, reads, within, reached)


def _meant(goals: Sequence[Goal], known: Sequence[str], similar: GoalSimilarity) -> tuple[str, ...]:
    """What the game calls goals: of the events that satisfy each, the closest.

    Raises:
        UserError: if none does, or two goals are one.
    """
    found: dict[str, Goal] = {}
    for goal in goals:
        event = max(known, key=lambda event: similar.cosine(event, goal))
        if not similar.satisfies(event, goal):
            raise UserError(f"goal {goal!r} means nothing in this game; the closest that does is {event!r}")
        if event in found:
            raise UserError(f"goals {found[event]!r} and {goal!r} are the same; name one of them")
        found[event] = goal
    return tuple(found)


def _frame(recording: Recording, event: str) -> int | None:
    """The first frame at which something happened, from 1; None if it did not."""
    return next((frame for frame, step in enumerate(recording.steps, 1) if event in step["events"]), None)


def show(found: Told) -> None:
    """Prints the table, goal by goal."""
    console = Console(soft_wrap=True, highlight=False)
    if not found.reads_goals:
        told = "this agent does not read goals: it does the same whatever it is told (train with --goal-conditioned)"
        console.print(told)
    episodes = len(found.reached[0][0])
    table = Table(title=f"within {found.within} frames, {episodes} held-out worlds", title_justify="left")
    table.add_column("goal", no_wrap=True)
    compared = ("first", "first, another told", "ratio") if found.reads_goals else ()
    for column in ("reached", "frames", *compared):
        table.add_column(column, justify="right")
    for i, goal in enumerate(found.goals):
        frames = found.frames(i)
        cells = [f"{found.told(i):.0%}", "never" if frames is None else f"{frames:.0f}"]
        shares = found.compared(i)
        if shares:
            cells += [
                f"{shares[0]:.0%}",
                f"{shares[1]:.0%}",
                f"{shares[0] / shares[1]:.1f}" if shares[1] else "-",
            ]
        elif compared:
            cells += ["-"] * len(compared)
        table.add_row(Text(goal), *cells)
    console.print(table)
