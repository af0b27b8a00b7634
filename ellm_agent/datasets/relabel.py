"""What a log would have earned for other goals: a function of the stored events alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ellm_agent.datasets.dataset import Dataset


class EventReward(Protocol):
    """Scores events. ``GoalSimilarity`` behind fixed goals is one, see ``ForGoals``; ``Unlocks`` another."""

    def __call__(self, events: Sequence[str], achieved: Sequence[str]) -> tuple[float, Sequence[str]]:
        """The reward of a transition, and the events that count as achieved from then on.

        Args:
            events: what happened in it.
            achieved: events that counted as achieved before, in this episode.
        """


class Unlocks:
    """1 for each achievement that is unlocked in an episode: Crafter's own reward, without its health.

    Args:
        goals: events that are achievements.
    """

    def __init__(self, goals: Sequence[str]):
        self._goals = frozenset(goals)

    def __call__(self, events: Sequence[str], achieved: Sequence[str]) -> tuple[float, Sequence[str]]:
        new = [event for event in dict.fromkeys(events) if event in self._goals and event not in achieved]
        return float(len(new)), new


class ForGoals:
    """ELLM's reward for goals that are open in the whole episode until they are achieved.

    A world's own rule about events that are not rewarded (``Language.unrewarded``) is not applied.

    Args:
        similarity: a ``rewards.goal_similarity.GoalSimilarity``.
        goals: in any wording.
    """

    def __init__(self, similarity, goals: Sequence[str]):
        self._similarity, self._goals = similarity, tuple(goals)

    def __call__(self, events: Sequence[str], achieved: Sequence[str]) -> tuple[float, Sequence[str]]:
        reward = self._similarity.reward(events, self._goals, achieved)
        return reward.value, reward.events


def relabel(dataset: Dataset, reward: EventReward) -> np.ndarray:
    """The rewards that the dataset's transitions would have earned, ``(transitions,)`` float32."""
    rewards = np.zeros(len(dataset), np.float32)
    for _, steps in events_by_episode(dataset):
        achieved: list[str] = []
        for step, events in steps:
            rewards[step], new = reward(events, achieved)
            achieved += new
    return rewards


def events_by_episode(dataset: Dataset) -> Iterator[tuple[int, list[tuple[int, list[str]]]]]:
    """For each episode in which something happened: its number, and its transitions with events, in order."""
    episode_of = np.searchsorted(dataset.starts, dataset.event_steps, side="right") - 1
    found: dict[int, dict[int, list[str]]] = {}
    for episode, step, event in zip(
        episode_of.tolist(), dataset.event_steps.tolist(), dataset.event_ids.tolist(), strict=True
    ):
        found.setdefault(episode, {}).setdefault(step, []).append(dataset.phrases[event])
    for episode, steps in found.items():
        yield episode, list(steps.items())
