"""Simulated judges of answers, which replace people or a larger model as the source of labels.

One is fitted to suggestion logs, and knows what tends to happen after a caption. It is no oracle: it is linear in the
caption's clauses, and the agent of its logs played for the goals that were suggested then. The other knows the world's
advice, and asks whether goals make sense.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ellm_agent.goals.logistic import design_matrix
from ellm_agent.goals.usefulness import COST
from ellm_agent.lm_training.reward_model import Comparison
from ellm_agent.lm_training.suggestions import EQUAL, Suggestion

NOISE = 0.1  # share of labels that are random
DECAY = 1.0  # of the ridge regression


class ExpectedUsefulness:
    """Expected usefulness of answers: a ridge regression of each event's worth on the clauses of captions.

        U(x, y) = sum over events e that y names of v_e(x)  -  c |{goals of y that name no event}|

    where v_e(x) fits the usefulness of naming e alone.

    Args:
        rows: of logs.
        events: all that can happen.
        clauses_of: caption -> its clauses.
        satisfies: (event, goal) -> whether the event fulfils the goal.
        worth: event -> w_e in the usefulness.
        cost: c in it.
    """

    def __init__(
        self,
        rows: Sequence[Suggestion],
        events: Sequence[str],
        clauses_of: Callable[[str], frozenset[str]],
        satisfies: Callable[[str, str], bool],
        worth: Mapping[str, float] = EQUAL,
        cost: float = COST,
    ):
        self._clauses_of, self._cost = clauses_of, cost
        self._named = functools.cache(lambda goal: [i for i, e in enumerate(events) if satisfies(e, goal)])
        self._columns, inputs = design_matrix([frozenset(clauses_of(row.caption)) for row in rows])
        alone = np.array(
            [[row.usefulness((event,), satisfies, worth, cost) for event in events] for row in rows]
        )
        penalty = DECAY * np.eye(inputs.shape[1])
        penalty[0, 0] = 0.0  # not of the intercept
        self._weights = np.linalg.solve(
            inputs.T @ inputs + penalty, inputs.T @ alone
        )  # (1 + clauses, events)

    def __call__(self, caption: str, goals: Sequence[str]) -> float:
        """Expected usefulness of goals for a caption."""
        known = [self._columns[clause] for clause in self._clauses_of(caption) if clause in self._columns]
        worth = self._weights[[0, *known]].sum(axis=0)  # (events,)
        named, nothing = set(), 0
        for goal in dict.fromkeys(goals):
            named.update(self._named(goal))
            nothing += not self._named(goal)
        return float(worth[sorted(named)].sum()) - self._cost * nothing


class AdvisedUsefulness:
    """Usefulness of answers by a world's advice: how many sensible goals they name, less a cost for each other goal.

        U(x, y) = |{sensible goals that y names}|  -  c |{goals of y that name none}|

    For worlds in which foolish goals can be achieved as well as sensible ones, so that what happens says little.

    Args:
        sensible_goals: caption -> the goals that make sense there.
        satisfies: (event, goal) -> whether the event fulfils the goal.
        cost: c.
    """

    def __init__(
        self,
        sensible_goals: Callable[[str], Sequence[str]],
        satisfies: Callable[[str, str], bool],
        cost: float = COST,
    ):
        self._sensible_goals, self._satisfies, self._cost = sensible_goals, satisfies, cost

    def __call__(self, caption: str, goals: Sequence[str]) -> float:
        """Usefulness of goals for a caption."""
        sensible = self._sensible_goals(caption)
        named = [{e for e in sensible if self._satisfies(e, goal)} for goal in dict.fromkeys(goals)]
        return len(set().union(*named)) - self._cost * sum(not own for own in named)


def compare(
    question: Sequence[int],
    answers: Sequence[Sequence[int]],
    worths: Sequence[float],
    rng: np.random.Generator,
    noise: float = NOISE,
) -> Comparison:
    """Labels of a judge that answers at random in a share of the cases (so that half of those are wrong).

    Args:
        question: token ids.
        answers: token ids of each.
        worths: the judge's opinion of each; equal ones tie.
        rng: of the noise.
        noise: share of random labels, of each pair and of the choice of the best.
    """
    k = len(answers)
    values = np.asarray(worths)
    preferred = values[:, None] > values[None, :]
    for i in range(k):
        for j in range(i):
            if (preferred[i, j] or preferred[j, i]) and rng.random() < noise:
                preferred[i, j] = rng.random() < 0.5
                preferred[j, i] = not preferred[i, j]
    best = int(rng.integers(k)) if rng.random() < noise else int(values.argmax())
    return Comparison(question, answers, torch.from_numpy(preferred), best)
