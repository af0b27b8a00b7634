"""A filter of suggested goals that is learned from the agent's own attempts. Works with any suggester, in any world.

An attempt at a goal is an action whose meaning is that goal (``Language.action_meanings``). For each goal a logistic
regression predicts from the words of the caption whether an attempt succeeds. A suggested goal whose attempts would almost
never succeed in the present situation is not shown: it could only distract the agent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ellm_agent.goals.base import Goal, GoalSuggester
from ellm_agent.goals.logistic import design_matrix, logistic_regression
from envs.interface import Language, Situation

HOPELESS = 0.03  # least probability of success of a goal that is shown
FEW = 30  # attempts before anything is concluded
MOST = 1_000  # attempts kept for each goal, the newest
GROWTH = 1.5  # a regression is fitted again when there are so many times as many attempts
LATEST = 2_000  # ... and at the latest after so many attempts more
CACHED = 2**15  # pairs of captions and goals whose predictions are cached


class AttemptFilter(GoalSuggester):
    """Another suggester's goals, without those whose attempts would almost never succeed.

    Args:
        suggester: suggests goals for situations.
        language: of the worlds.
        similar: (event, goal) -> whether the event fulfils the goal, for the reward.
    """

    learns_from_attempts = True

    def __init__(self, suggester: GoalSuggester, language: Language, similar: Callable[[str, str], bool]):
        self.description = f"{suggester.description}; without goals whose attempts keep failing"
        self.likely_goals, self.open_vocabulary = suggester.likely_goals, suggester.open_vocabulary
        self.rewards_goals = suggester.rewards_goals
        self._suggester, self._language, self._similar = suggester, language, similar
        self._known = functools.cache(self._known_goals)
        self._clauses = functools.lru_cache(CACHED)(language.clauses_of)
        self._hidden = self._seen = 0
        self._forget()

    def _forget(self) -> None:
        self._attempts: dict[Goal, list[tuple[str, bool]]] = {}
        self._counts: dict[Goal, int] = {}  # attempts so far
        self._fitted: dict[Goal, int] = {}  # attempts at the last fit
        self._models: dict[Goal, tuple[dict[str, int], np.ndarray]] = {}
        self._hopeless = functools.lru_cache(CACHED)(self._predict)

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        suggested = self._suggester.suggest(situations)
        shown = self._filter(situations, suggested)
        self._seen += sum(len(goals or ()) for goals in suggested)
        self._hidden += sum(len(goals or ()) for goals in suggested) - sum(
            len(goals or ()) for goals in shown
        )
        return shown

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        return self._filter(situations, self._suggester.recall(situations))

    @property
    def known_goals(self) -> Collection[Goal]:
        return self._suggester.known_goals

    def tokens_of(self, situation: Situation) -> int | None:
        return self._suggester.tokens_of(situation)

    def note_attempt(self, goal: Goal, situation: Situation, succeeded: bool) -> None:
        attempts = self._attempts.setdefault(goal, [])
        attempts.append((situation.caption, succeeded))
        del attempts[:-MOST]
        count = self._counts[goal] = self._counts.get(goal, 0) + 1
        fitted = self._fitted.get(goal, 0)
        if count >= FEW and count >= min(max(GROWTH * fitted, FEW), fitted + LATEST):
            self._fit(goal)
            self._hopeless = functools.lru_cache(CACHED)(self._predict)

    def status(self) -> str:
        return self._suggester.status()

    def metrics(self) -> dict[str, float]:
        """The suggester's, and the share of suggested goals that were hidden so far."""
        return self._suggester.metrics() | {"goals/hidden": self._hidden / max(self._seen, 1)}

    def state_dict(self) -> dict[str, Any]:
        return {
            "suggester": self._suggester.state_dict(),
            "attempts": {goal: [list(attempt) for attempt in own] for goal, own in self._attempts.items()},
            "counts": dict(self._counts),
            "fitted": dict(self._fitted),
            "models": {
                goal: [list(columns), weights.tolist()] for goal, (columns, weights) in self._models.items()
            },
            "hidden": self._hidden,
            "seen": self._seen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._suggester.load_state_dict(state["suggester"])
        self._forget()
        self._attempts = {goal: [(c, bool(s)) for c, s in own] for goal, own in state["attempts"].items()}
        self._counts, self._fitted = dict(state["counts"]), dict(state["fitted"])
        self._models = {
            goal: ({clause: i for i, clause in enumerate(clauses, 1)}, np.array(weights))
            for goal, (clauses, weights) in state["models"].items()
        }
        self._hidden, self._seen = int(state["hidden"]), int(state["seen"])

    def close(self) -> None:
        self._suggester.close()

    def _filter(
        self, situations: Sequence[Situation], suggested: Sequence[tuple[Goal, ...] | None]
    ) -> list[tuple[Goal, ...] | None]:
        shown = []
        for situation, goals in zip(situations, suggested, strict=True):
            if goals is not None:
                goals = tuple(goal for goal in goals if not self._hopeless(situation.caption, goal))
            shown.append(goals)
        return shown

    def _predict(self, caption: str, goal: Goal) -> bool:
        """Whether attempts at a goal would almost never succeed; False for goals that were hardly ever attempted."""
        models = [self._models[known] for known in self._known(goal) if known in self._models]
        return bool(models) and all(self._probability(caption, *model) < HOPELESS for model in models)

    def _probability(self, caption: str, columns: Mapping[str, int], weights: np.ndarray) -> float:
        own = sorted(columns[clause] for clause in self._clauses(caption) if clause in columns)
        return float(1 / (1 + np.exp(-weights[[0, *own]].sum())))

    def _known_goals(self, goal: Goal) -> tuple[Goal, ...]:
        """The goals of the language that are meant by a wording."""
        return tuple(known for known in self._language.goals if self._similar(known, goal))

    def _fit(self, goal: Goal) -> None:
        self._fitted[goal] = self._counts[goal]
        attempts = self._attempts[goal]
        columns, inputs = design_matrix([self._clauses(caption) for caption, _ in attempts])
        outcomes = np.array([succeeded for _, succeeded in attempts], float)
        self._models[goal] = columns, logistic_regression(inputs, outcomes)
