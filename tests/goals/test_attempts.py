"""The filter that is learned from attempts: what it hides, what it shows, and that it resumes exactly."""

from __future__ import annotations

import json

import pytest

from ellm_agent.goals.attempts import FEW, AttemptFilter
from ellm_agent.goals.base import AllGoals
from envs.interface import Language, Situation

LANGUAGE = Language(
    vocabulary=("", "you see a tree", "you hold an axe"),
    to_sentence=". ".join,
    goals=("chop tree", "drink water"),
)
TREE, AXE, BOTH = Situation("tree"), Situation("axe"), Situation("tree. axe")


def make() -> AttemptFilter:
    return AttemptFilter(AllGoals(LANGUAGE.goals), LANGUAGE, lambda event, goal: event in goal)


def teach(suggester: AttemptFilter, attempts: int) -> None:
    """Chopping works with a tree and an axe, and never without the axe."""
    for _ in range(attempts // 2):
        suggester.note_attempt("chop tree", TREE, succeeded=False)
        suggester.note_attempt("chop tree", BOTH, succeeded=True)


def test_goals_whose_attempts_keep_failing_are_hidden_there_and_only_there():
    suggester = make()
    assert suggester.suggest([TREE, AXE, BOTH]) == [LANGUAGE.goals] * 3  # nothing is known yet
    teach(suggester, 1000)
    assert suggester.suggest([TREE, BOTH]) == [("drink water",), LANGUAGE.goals]
    assert suggester.recall([TREE]) == [("drink water",)]
    assert suggester.metrics()["goals/hidden"] == pytest.approx(1 / 10)


def test_old_attempts_are_forgotten():
    """What has always failed is shown again, when the newest thousand attempts have succeeded."""
    suggester = make()
    for succeeded in [False] * 1_500 + [True] * 500:
        suggester.note_attempt("chop tree", TREE, succeeded)
    half = json.loads(json.dumps(suggester.state_dict()))
    for _ in range(1_600):
        suggester.note_attempt("chop tree", TREE, succeeded=True)
    assert suggester.suggest([TREE]) == [LANGUAGE.goals]
    kept = suggester.state_dict()["attempts"]["chop tree"]
    assert len(kept) == 1_000 >= len(half["attempts"]["chop tree"])


def test_few_attempts_conclude_nothing():
    suggester = make()
    for _ in range(FEW - 1):
        suggester.note_attempt("chop tree", TREE, succeeded=False)
    assert suggester.suggest([TREE]) == [LANGUAGE.goals]


def test_other_wordings_are_hidden_too():
    class Wordy(AllGoals):
        def suggest(self, situations):
            return [("please chop tree now", "sing")] * len(situations)

    suggester = AttemptFilter(Wordy(()), LANGUAGE, lambda event, goal: event in goal)
    teach(suggester, 1000)
    assert suggester.suggest([TREE]) == [("sing",)]  # what means no goal of the world is never hidden


def test_the_suggesters_tokens_are_told():
    class Writes(AllGoals):
        def tokens_of(self, situation):
            return len(situation.caption)

    suggester = AttemptFilter(Writes(LANGUAGE.goals), LANGUAGE, lambda event, goal: event in goal)
    assert suggester.tokens_of(TREE) == 4


def test_it_resumes_exactly():
    suggester, resumed = make(), make()
    teach(suggester, 777)
    resumed.load_state_dict(json.loads(json.dumps(suggester.state_dict())))
    for one in (suggester, resumed):
        teach(one, 500)
        one.suggest([TREE, AXE])
    assert json.dumps(resumed.state_dict()) == json.dumps(suggester.state_dict())
