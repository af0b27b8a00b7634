"""What a suggester is worth, before anybody trains on it: its goals for situations of worlds that no corpus uses.

Any suggester, in any world; asked as training asks it, so that its answers are read as in training.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ellm_agent.analysis.agreement import auc
from ellm_agent.goals.base import CommonGoals, FullState, Goal, GoalSuggester
from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.goals.quality import BINS, GoalCounts, shares
from ellm_agent.lm_training.sft import HELD_OUT_WORLDS
from envs.interface import Language, World

OTHERS = 50_000  # worlds further on, from which the commonest goals are counted


@dataclass(frozen=True)
class Quality:
    """Measures of a suggester; shares are in [0, 1], and nan where there is nothing to count.

    Attributes:
        good, poorly_timed, bad, nonsensical: shares of the suggested goals, by the bins of ``goals.quality``.
        goals: suggested for a situation, mean.
        recall: share of the possible goals that are suggested.
        precision: share of the possible ones among suggestions that are goals of the world (good or poorly timed): what
            is no goal at all can neither be achieved nor mistaken for another.
        auc: probability that a possible goal of a situation is suggested and an impossible one is not, ties counting half:
            the area under the ROC curve of "is suggested", over all situations and goals.
        silent: share of the situations without an answer.
        seconds: for a situation.
        tokens_read, tokens_written: for a situation; 0 if nothing counts them.
        usd: dollars for a thousand situations; nan if no price is known.
    """

    good: float
    poorly_timed: float
    bad: float
    nonsensical: float
    goals: float
    recall: float
    precision: float
    auc: float
    silent: float
    seconds: float
    tokens_read: float = 0.0
    tokens_written: float = 0.0
    usd: float = float("nan")


def states(
    world: World, count: int, seed: int, protocol: str | None = None, first_world: int = HELD_OUT_WORLDS
) -> list[FullState]:
    """Situations of worlds that no corpus uses, with their privileged facts.

    Args:
        world: the game.
        count: situations.
        seed: of the situations.
        protocol: rules; None: of all protocols, the one with the most goals.
        first_world: seed of the first world.
    """
    return [FullState(*pair) for pair in world.situations(first_world, count, seed, protocol)]


def measure(suggester: GoalSuggester, asked: Sequence[FullState], language: Language) -> Quality:
    """Asks a suggester about all situations, waiting for its answers.

    Args:
        suggester: which waits for its language model, if it has one.
        asked: the situations.
        language: of their world.

    Raises:
        LanguageModelError: if the model cannot be asked at all.
    """
    started = time.perf_counter()
    given = asked if suggester.reads_privileged else [state.situation for state in asked]
    answers = suggester.suggest(given)
    if isinstance(suggester, LanguageModelSuggester):  # not what captions without an answer borrow
        answers = suggester.own_goals(given)
    seconds = time.perf_counter() - started
    cost = suggester.metrics()
    return Quality(
        **quality_of([goals or () for goals in answers], asked, language),
        silent=float(np.mean([goals is None for goals in answers])),
        seconds=seconds / len(asked),
        tokens_read=cost.get("llm/tokens_read", 0.0) / len(asked),
        tokens_written=cost.get("llm/tokens_written", 0.0) / len(asked),
        usd=1_000 * cost["llm/usd"] / len(asked) if "llm/usd" in cost else float("nan"),
    )


def quality_of(
    suggested: Sequence[tuple[Goal, ...]], asked: Sequence[FullState], language: Language
) -> dict[str, float]:
    """The measures that depend on goals alone, by the names of ``Quality``."""
    counts = GoalCounts(language)
    counts.note_suggested(suggested, [state.privileged for state in asked])
    bins = shares(counts.suggested) or dict.fromkeys(BINS, float("nan"))
    named = [{language.canonical(goal) for goal in goals} for goals in suggested]
    hits = sum(len(mine.intersection(s.privileged.possible)) for mine, s in zip(named, asked, strict=True))
    goals = {*language.goals}
    possible, real = (
        sum(map(len, sets))
        for sets in ([s.privileged.possible for s in asked], [mine & goals for mine in named])
    )
    labelled = [
        (goal in mine, goal in state.privileged.possible)
        for mine, state in zip(named, asked, strict=True)
        for goal in _candidates(state, language)
    ]
    chosen, right = np.array(labelled).reshape(-1, 2).T
    return {
        **bins,
        "goals": float(np.mean([len(goals) for goals in suggested])),
        "recall": hits / possible if possible else float("nan"),
        "precision": hits / real if real else float("nan"),
        "auc": auc(chosen.astype(float), right),
    }


def _candidates(state: FullState, language: Language) -> Sequence[Goal]:
    """The goals that could be suggested in a state."""
    return language.candidates(state.situation.caption) if language.candidates else language.goals


class RandomGoals(GoalSuggester):
    """Suggests goals at random, out of those that a state's candidates are.

    Args:
        count: how many.
        candidates: state -> goals.
        seed: of the choice.
    """

    description = "random goals (not a language model)"
    reads_privileged = True

    def __init__(self, count: int, candidates: Callable[[FullState], Sequence[Goal]], seed: int = 0):
        self._count, self._candidates, self._rng = count, candidates, random.Random(seed)

    def suggest(self, situations: Sequence[FullState]) -> list[tuple[Goal, ...]]:
        pools = map(self._candidates, situations)
        return [tuple(self._rng.sample(list(pool), min(self._count, len(pool)))) for pool in pools]


def usual_number(others: Sequence[FullState]) -> int:
    """How many goals are possible on average, rounded, at least 1."""
    return max(1, round(float(np.mean([len(state.privileged.possible) for state in others]))))


def references(others: Sequence[FullState], language: Language) -> dict[str, GoalSuggester]:
    """The suggesters that know nothing, beside which another stands; as many goals as are possible on average."""
    count = usual_number(others)
    return {
        f"the {count} commonest goals, always": CommonGoals(others, count),
        f"{count} goals at random": RandomGoals(count, lambda state: _candidates(state, language)),
    }
