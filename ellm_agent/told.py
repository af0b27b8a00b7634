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

from ellm_agent import checkpoints
from ellm_agent.config import Config
from ellm_agent.evaluation import Recording, record_episodes
from ellm_agent.goals import FixedGoals
from ellm_agent.goals.base import Goal
from ellm_agent.rewards import GoalSimilarity
from ellm_agent.training import environment_arguments, make_exploration, make_player
from envs.crafter_text import CrafterTextEnv
from envs.knowledge import canonical
from envs.tasks import tasks


@dataclass(frozen=True)
class Told:
    """How often goals were reached.

    Attributes:
        goals: that were told, one after the other.
        reads_goals: whether the agent reads what it is told; if not, there is one row for all.
        episodes: for each goal told.
        within: frames of an episode, at most.
        reached: share of episodes in which a goal (column) was reached while one (row) was told: until that was reached, or
            the episode's end.
        frames: median frames until the goal told was reached, where it was; None if it never was.
    """

    goals: tuple[Goal, ...]
    reads_goals: bool
    episodes: int
    within: int
    reached: list[list[float]]
    frames: list[float | None]

    def told(self, i: int) -> float:
        """How often goal ``i`` was reached when it was told."""
        return self.reached[i if self.reads_goals else 0][i]

    def otherwise(self, i: int) -> float | None:
        """How often it was reached when another was told: the mean over the others that do not need it, if there are any."""
        others = [k for k, goal in enumerate(self.goals) if k != i and not self._needs(goal, self.goals[i])]
        return float(np.mean([self.reached[k][i] for k in others])) if others else None

    def _needs(self, goal: Goal, step: Goal) -> bool:
        """Whether a goal cannot be reached without another: wood comes before a table."""
        task = tasks().by_name.get(canonical(goal))
        return task is not None and canonical(step) in task.after


def measure(config: Config, checkpoint: Path, goals: Sequence[Goal], episodes: int, within: int) -> Told:
    """Lets a trained agent play, telling it one goal after the other.

    Args:
        config: of the run that trained it.
        checkpoint: of that run.
        goals: to tell; none: all of the game.
        episodes: for each goal, in as many held-out worlds.
        within: frames after which an episode ends.

    Raises:
        UserError: if the agent cannot be read.
    """
    torch.set_num_threads(config.threads)
    world = dataclasses.replace(config.environment, episode_length=within, task=None)
    config = dataclasses.replace(config, environment=world)
    arguments = environment_arguments(config)
    phrases = checkpoints.load_phrases(checkpoint)
    language = CrafterTextEnv(**arguments).language
    goals = tuple(goals) or language.goals
    similar = GoalSimilarity(phrases, config.goals.threshold, language.canonical)
    reads, agent = config.goals.goal_conditioned, None
    rows, frames = [], []
    for told in [(goal,) for goal in goals] if reads else [()]:
        exploration = make_exploration(config, FixedGoals(told), phrases, episodes, one_episode=True)
        agent = agent or make_player(config, checkpoint, exploration)
        recordings = record_episodes(agent, exploration, episodes, arguments)
        # Once it has done what it was told, it is told nothing any more, and what it does then says nothing.
        ends = [_frame(recording, told[0], similar) if told else None for recording in recordings]
        when = {
            goal: [
                _frame(recording, goal, similar, end) for recording, end in zip(recordings, ends, strict=True)
            ]
            for goal in goals
        }
        rows.append([float(np.mean([frame is not None for frame in when[goal]])) for goal in goals])
        for goal in told or goals:
            reached = [frame for frame in when[goal] if frame is not None]
            frames.append(float(np.median(reached)) if reached else None)
    return Told(goals, reads, episodes, within, rows, frames)


def _frame(recording: Recording, goal: Goal, similar: GoalSimilarity, end: int | None = None) -> int | None:
    """The frame at which a goal was reached, from 1 to ``end``; None if it was not."""
    for frame, step in enumerate(recording.steps[:end], 1):
        if any(similar.satisfies(event, goal) for event in step["events"]):
            return frame
    return None


def show(found: Told) -> None:
    """Prints the table, goal by goal."""
    console = Console(soft_wrap=True, highlight=False)
    if not found.reads_goals:
        console.print(
            "this agent does not read goals: it does the same whatever it is told (train with --goal-conditioned)"
        )
    table = Table(
        title=f"reached within {found.within} frames, {found.episodes} held-out worlds", title_justify="left"
    )
    table.add_column("goal")
    for column in (
        ("told", "told another", "times as often", "frames") if found.reads_goals else ("reached", "frames")
    ):
        table.add_column(column, justify="right")
    for i, goal in enumerate(found.goals):
        frames = "never" if found.frames[i] is None else f"{found.frames[i]:.0f}"
        cells = [f"{found.told(i):.0%}"]
        if found.reads_goals:
            other = found.otherwise(i)
            cells += [
                "-" if other is None else f"{other:.0%}",
                f"{found.told(i) / other:.1f}" if other else "-",
            ]
        table.add_row(Text(goal), *cells, frames)
    console.print(table)
