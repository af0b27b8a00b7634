"""Captions that a language model has answered, and a student of the model for captions that it has not."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ellm_agent.goals.base import Goal
from ellm_agent.goals.logistic import depends, design_matrix, logistic_regression

GROWTH = 1.5  # the student is renewed when there are so many times as many answers
CACHED = 2**14  # captions whose borrowed goals are cached: most occur once or twice
# A goal is borrowed if the student gives it at least this probability. Below one half, because a language model words
# a goal in several ways, each of which is less likely than the goal, and forgets some.
LIKELY = 0.3
# Goals that fewer than one in so many answers name are learned only if their naming depends on the captions: otherwise
# they are mistakes, which may be in any answer.
RARE = 500


class AnsweredCaptions:
    """Goals by caption. An own answer stands, also one without goals; a caption without an answer borrows, and so does
    one that got only empty answers or refusals (None).

    It borrows what a *student* of the language model expects to be answered: for each goal, a logistic regression on
    the caption's clauses, fitted to all answers. So a goal is borrowed where the clauses are that it was named for, and
    not only because most of the caption resembles one for which it was named. The student is renewed only when answers
    have become half as many again, so that borrowed goals can be cached; what is borrowed never depends on the cache,
    and so is the same in a resumed run.

    Args:
        clauses_of: caption -> its clauses.

    Attributes:
        goals: answered caption -> its goals, or None, in the order of the answers.
        named: all goals in the answers, in the order in which they were first named.
    """

    def __init__(self, clauses_of: Callable[[str], Collection[str]]):
        self._clauses_of = clauses_of
        self.load_state_dict({"goals": {}, "learned": 0})

    @property
    def can_lend(self) -> bool:
        """Whether any caption has goals, as far as the student knows."""
        return bool(self._known_goals)

    def add(self, caption: str, goals: tuple[Goal, ...] | None) -> None:
        """Adds an answer."""
        self._answers += goals is not None
        self.goals[caption] = goals
        self.named.update(dict.fromkeys(goals or ()))
        if goals is not None and self._answers >= GROWTH * self._learned:
            self._renew(self._answers)

    def borrow(self, caption: str) -> tuple[Goal, ...]:
        """Goals for a caption without an answer, the likeliest first."""
        return self._borrow(caption)

    def state_dict(self) -> dict[str, Any]:
        return {"goals": dict(self.goals), "learned": self._learned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.goals: dict[str, tuple[Goal, ...] | None] = {
            caption: goals if goals is None else tuple(goals) for caption, goals in state["goals"].items()
        }
        self.named = {goal: None for goals in self.goals.values() for goal in goals or ()}
        self._answers = sum(goals is not None for goals in self.goals.values())
        self._renew(state["learned"])

    def _renew(self, count: int) -> None:
        """Lets the student learn the first ``count`` answers."""
        self._learned = count
        rows = [(caption, goals) for caption, goals in self.goals.items() if goals is not None][:count]
        self._columns, inputs = design_matrix([frozenset(self._clauses_of(caption)) for caption, _ in rows])
        named = Counter(goal for _, goals in rows for goal in goals)
        labels = {goal: np.array([goal in goals for _, goals in rows], float) for goal in named}
        self._known_goals = tuple(
            goal for goal, n in named.items() if n * RARE >= count or depends(inputs, labels[goal])
        )
        fits = [logistic_regression(inputs, labels[goal]) for goal in self._known_goals]
        self._weights = np.array(fits).reshape(-1, inputs.shape[1])  # (goals, 1 + clauses)
        self._borrow = functools.lru_cache(CACHED)(self._look_up)

    def _look_up(self, caption: str) -> tuple[Goal, ...]:
        own = {self._columns[clause] for clause in self._clauses_of(caption) if clause in self._columns}
        log_odds = self._weights[:, [0, *sorted(own)]].sum(axis=1)  # (goals,)
        likeliest = np.argsort(
            -log_odds, kind="stable"
        )  # of equally likely ones the one that was named first
        least = np.log(LIKELY / (1 - LIKELY))
        return tuple(self._known_goals[i] for i in likeliest if log_odds[i] > least)
