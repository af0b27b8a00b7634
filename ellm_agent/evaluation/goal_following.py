"""Goal following: how often a trained agent does what it is instructed to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from ellm_agent.analysis.tables import Table
from ellm_agent.build import make_player, make_similarity, make_worlds
from ellm_agent.config import Config
from ellm_agent.config.suggester import NO_MISTAKES
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording, record_episodes
from ellm_agent.goals.base import FixedGoals, Goal
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.runs import checkpoints
from ellm_agent.runs.pretrained import Pretrained
from envs import registry


@dataclass(frozen=True)
class GoalFollowing:
    """When goals were reached, by instruction.

    Attributes:
        goals: the instructions, one for each set of episodes.
        events: the world's event for each of them.
        needs: for each of them, the indices of goals that must come before it in any episode.
        observes_goals: whether the agent observes its instruction; if not, there is one set of episodes.
        within: frames of an episode, at most.
        reached: ``[instruction][goal][episode]``: the frame at which the goal was first reached, from 1; None: never.
    """

    goals: tuple[Goal, ...]
    events: tuple[str, ...]
    needs: tuple[tuple[int, ...], ...]
    observes_goals: bool
    within: int
    reached: list[list[list[int | None]]]

    def success_rate(self, i: int) -> float:
        """Success rate of goal ``i`` when it is the instruction (over all episodes, if the agent observes none)."""
        return float(np.mean([frame is not None for frame in self._own(i)]))

    def median_frames(self, i: int) -> float | None:
        """Median frames until goal ``i`` is reached when it is the instruction; None if it never is."""
        frames = [frame for frame in self._own(i) if frame is not None]
        return float(np.median(frames)) if frames else None

    def first_rates(self, i: int) -> tuple[float, float] | None:
        """How often goal ``i`` comes before another goal: when it is the instruction, and when the other one is.

        The mean over the other goals, without those that need goal ``i`` (a table needs wood). Both are counted in the
        same way, so an agent that ignores its instruction has the same rate twice. None if there are no others.
        """
        others = [k for k in range(len(self.goals)) if k != i and i not in self.needs[k]]
        if not others or not self.observes_goals:
            return None
        own = [self._before(i, i, k) for k in others]
        other = [self._before(k, i, k) for k in others]
        return float(np.mean(own)), float(np.mean(other))

    def _before(self, instruction: int, i: int, other: int) -> float:
        """Share of episodes in which goal ``i`` was reached, and the other one not before it."""
        never = self.within + 1
        pairs = zip(self.reached[instruction][i], self.reached[instruction][other], strict=True)
        return float(np.mean([mine is not None and mine <= (its or never) for mine, its in pairs]))

    def _own(self, i: int) -> list[int | None]:
        return self.reached[i if self.observes_goals else 0][i]


def measure(
    config: Config, trained: Pretrained, goals: Sequence[Goal], episodes: int, within: int
) -> GoalFollowing:
    """Lets a trained agent play with one instruction after the other.

    Args:
        config: of the run that trained it.
        trained: its networks.
        goals: the instructions; none: all goals of the world.
        episodes: for each goal, in as many held-out worlds.
        within: frames after which an episode ends.

    Raises:
        UserError: if a goal means nothing in the world, two mean the same, or the agent cannot be read.
    """
    config = config.changed(
        **{
            "env.episode_length": within,
            "env.task": None,
            "suggester.kind": "novelty",
            "suggester.max_active_goals": None,
            **NO_MISTAKES,
            "reward.success": "effect",
        }
    )
    world = registry.get(config.env.name)
    language = world.language(**config.env.options)
    goals = tuple(goals) or language.goals
    events = _events_of(goals, language.goals, make_similarity(config, language))
    needs = tuple(tuple(events.index(e) for e in world.needs(event) if e in events) for event in events)
    phrases = checkpoints.load_phrases(trained.state, trained.source)
    observes, agent, reached = config.agent.goal_conditioned, None, []
    for instruction in [(goal,) for goal in goals] if observes else [()]:
        worlds = make_worlds(config, FixedGoals(instruction), phrases, episodes, one_episode=True)
        agent = agent or make_player(config, trained, worlds)
        recordings = record_episodes(agent, worlds, config.env.name, config.env.options)
        reached.append([[_first_frame(recording, event) for recording in recordings] for event in events])
    return GoalFollowing(goals, events, needs, observes, within, reached)


def _events_of(goals: Sequence[Goal], known: Sequence[str], similar: GoalSimilarity) -> tuple[str, ...]:
    """The world's event for each goal: of the events that satisfy it, the closest.

    Raises:
        UserError: if none does, or two goals mean the same.
    """
    similar.prepare(known)
    found: dict[str, Goal] = {}
    for goal in goals:
        event = max(known, key=lambda event: similar.cosine(event, goal))
        if not similar.satisfies(event, goal):
            raise UserError(f"goal {goal!r} means nothing in this world; the closest that does is {event!r}")
        if event in found:
            raise UserError(f"goals {found[event]!r} and {goal!r} are the same; name one of them")
        found[event] = goal
    return tuple(found)


def _first_frame(recording: Recording, event: str) -> int | None:
    """The first frame at which an event happened, from 1; None if it did not."""
    return next((frame for frame, step in enumerate(recording.steps, 1) if event in step["events"]), None)


def show(found: GoalFollowing) -> None:
    """Prints the table, goal by goal."""
    console = Console(soft_wrap=True, highlight=False)
    if not found.observes_goals:
        console.print(
            "this agent does not observe goals: instructions change nothing (train with --goal-conditioned)"
        )
    compared = ("first", "first, other instruction", "ratio") if found.observes_goals else ()
    rows = []
    for i, goal in enumerate(found.goals):
        frames, rates = found.median_frames(i), found.first_rates(i)
        cells = ["-"] * len(compared)
        if rates:
            own, other = rates
            cells = [f"{own:.0%}", f"{other:.0%}", f"{own / other:.1f}" if other else "-"]
        reached = f"{found.success_rate(i):.0%}", "never" if frames is None else f"{frames:.0f}"
        rows.append((goal, *reached, *cells))
    table = Table(rows, ("goal", "reached", "frames", *compared), range(1, 6))
    title = f"within {found.within} frames, {len(found.reached[0][0])} held-out worlds"
    console.print(table.console(title))
