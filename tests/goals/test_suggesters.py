"""Suggesters without a language model, and who is given which facts."""

import pytest

from ellm_agent.goals.base import (
    AllGoals,
    CommonGoals,
    FixedGoals,
    FullState,
    NoGoals,
    OracleSuggester,
    TaskGoals,
)
from ellm_agent.goals.language_model import LanguageModelSuggester
from envs.interface import Privileged, Situation
from tests.helpers.scene_model import Model, suggester_of

SITUATIONS = [Situation("You see grass."), Situation("You see a tree.", "chop tree")]


@pytest.mark.parametrize(
    ("suggester", "goals", "rewards"),
    [
        (AllGoals(("a", "b")), [("a", "b")] * 2, True),
        (FixedGoals(["c"]), [("c",)] * 2, True),
        (NoGoals(), [()] * 2, False),
        (TaskGoals(), [(), ("chop tree",)], False),
    ],
)
def test_suggesters_without_a_model(suggester, goals, rewards):
    assert suggester.suggest(SITUATIONS) == suggester.recall(SITUATIONS) == goals
    assert suggester.rewards_goals is rewards
    assert not suggester.reads_privileged


def test_the_commonest_goals_are_those_most_often_possible():
    seen = [("a", "b"), ("b", "c"), ("b", "c", "d")]
    suggester = CommonGoals(((SITUATIONS[0], Privileged(possible)) for possible in seen), count=2)
    assert suggester.suggest(SITUATIONS) == [("b", "c")] * 2
    assert suggester.description == "common: always b, c (not a language model)"


def test_only_the_oracle_reads_privileged_facts():
    oracle = OracleSuggester()
    assert oracle.reads_privileged
    facts = [Privileged(("eat cow",)), Privileged(())]
    assert oracle.suggest(list(map(FullState, SITUATIONS, facts))) == [("eat cow",), ()]
    assert not LanguageModelSuggester.reads_privileged


def test_what_others_are_given_has_no_privileged_facts():
    """So no prompt can contain one: the same observation with other facts asks the same question."""
    assert not {"possible", "privileged"} & {*Situation.__slots__}
    with pytest.raises(AttributeError):
        OracleSuggester().suggest(SITUATIONS)
    model = Model()
    suggester_of(model).suggest([Situation("A."), Situation("A.", "a task's next step")])
    assert model.asked == ["A."]
