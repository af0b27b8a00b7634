"""Which goals the agent's actions were attempts at."""

from __future__ import annotations

import numpy as np

from ellm_agent.goals.base import Goal
from envs.interface import Language


class Attempts:
    """Finds the goals that actions were attempts at: those that are their meanings in the observed captions.

    Args:
        language: of the worlds.
    """

    def __init__(self, language: Language):
        meanings = language.action_meanings
        actions = 1 + max((action for pairs in meanings.values() for action, _ in pairs), default=0)
        # (clauses, actions): number of the goal that an action is an attempt at where the clause holds, or -1.
        self._goals = language.goals
        self._meant = np.full((len(language.vocabulary), actions), -1, np.int64)
        rows = {clause: i for i, clause in enumerate(language.vocabulary)}
        numbers = {goal: i for i, goal in enumerate(language.goals)}
        for clause, pairs in meanings.items():
            for action, meaning in pairs:
                if meaning in numbers and clause in rows:
                    self._meant[rows[clause], action] = numbers[meaning]

    def goals(self, captions: np.ndarray, actions: np.ndarray) -> list[Goal | None]:
        """The goal that each action was an attempt at, or None.

        Args:
            captions: ids of clauses, ``(n, clauses)``, padded with 0, whose meanings hold always.
            actions: ``(n,)``.
        """
        known = np.minimum(actions, self._meant.shape[1] - 1)
        meant = np.where(
            actions < self._meant.shape[1], self._meant[captions, known[:, None]].max(axis=1), -1
        )
        always = np.where(actions < self._meant.shape[1], self._meant[0, known], -1)
        return [None if goal < 0 else self._goals[goal] for goal in np.maximum(meant, always).tolist()]
