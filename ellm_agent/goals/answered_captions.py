"""Captions that a language model has answered, and what unanswered ones borrow from the most similar of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ellm_agent.goals.base import Goal

SIMILAR = 3  # answered captions that lend their goals
GROWTH = 1.5  # the lenders are renewed when there are so many times as many captions with goals
CACHED = 2**14  # captions whose borrowed goals are cached: most occur once or twice


class AnsweredCaptions:
    """Goals by caption. An own answer stands, also one without goals; a caption without an answer borrows, and so does
    one that got only empty answers or refusals (None).

    It borrows the union of the goals of the ``SIMILAR`` most similar captions that have goals. Similarity of two
    captions with sets of clauses a and b is |a & b| / |a | b| (Jaccard); of equally similar ones the older count.
    Lenders are renewed only when captions with goals have become half as many again, so that borrowed goals can be
    cached; what is borrowed never depends on the cache, and so is the same in a resumed run.

    Args:
        clauses_of: caption -> its clauses.

    Attributes:
        goals: answered caption -> its goals, or None, in the order of the answers.
    """

    def __init__(self, clauses_of: Callable[[str], Collection[str]]):
        self._clauses_of = clauses_of
        self.load_state_dict({"goals": {}, "lenders": 0})

    @property
    def can_lend(self) -> bool:
        """Whether any caption has goals."""
        return bool(self._lenders)

    def add(self, caption: str, goals: tuple[Goal, ...] | None) -> None:
        """Adds an answer."""
        self.goals[caption] = goals
        self._with_goals += bool(goals)
        if goals and self._with_goals >= GROWTH * len(self._lenders):
            self._renew(self._with_goals)

    def borrow(self, caption: str) -> tuple[Goal, ...]:
        """Goals for a caption without an answer. At least one caption must have goals (``can_lend``)."""
        return self._borrow(caption)

    def state_dict(self) -> dict[str, Any]:
        return {"goals": dict(self.goals), "lenders": len(self._lenders)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.goals: dict[str, tuple[Goal, ...] | None] = {
            caption: goals if goals is None else tuple(goals) for caption, goals in state["goals"].items()
        }
        self._with_goals = sum(map(bool, self.goals.values()))
        self._renew(state["lenders"])

    def _renew(self, count: int) -> None:
        """Makes the first ``count`` captions with goals the lenders."""
        self._lenders = [caption for caption, goals in self.goals.items() if goals][:count]
        clauses = [frozenset(self._clauses_of(caption)) for caption in self._lenders]
        self._columns = {clause: i for i, clause in enumerate(frozenset().union(*clauses))}
        self._matrix = np.zeros((len(clauses), len(self._columns)), np.float32)  # (lenders, clauses): 1 or 0
        for row, own in zip(self._matrix, clauses, strict=True):
            row[[self._columns[clause] for clause in own]] = 1
        self._sizes = self._matrix.sum(axis=1)
        self._borrow = functools.lru_cache(CACHED)(self._look_up)

    def _look_up(self, caption: str) -> tuple[Goal, ...]:
        own = frozenset(self._clauses_of(caption))
        shared = self._matrix[:, [self._columns[c] for c in own if c in self._columns]].sum(axis=1)  # |a & b|
        similarity = shared / np.maximum(len(own) + self._sizes - shared, 1)  # (lenders,)
        closest = np.argsort(-similarity, kind="stable")[:SIMILAR]  # of equal ones the older first
        return tuple(dict.fromkeys(goal for i in closest for goal in self.goals[self._lenders[i]]))
