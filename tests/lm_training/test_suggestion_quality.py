"""What a suggester is worth, with figures worked out by hand; and the command."""

import json
import math

import pytest

from ellm_agent.goals.base import FixedGoals, FullState, OracleSuggester
from ellm_agent.lm_training.suggestion_quality import measure, quality_of, references, states
from envs import registry
from envs.interface import Language, Privileged, Situation
from tests.helpers.processes import script

LANGUAGE = Language(
    vocabulary=("",),
    to_sentence=" ".join,
    goals=("chop tree", "eat cow", "drink water", "sleep"),
    verbs=("chop", "eat", "drink"),
    nouns=("tree", "cow", "water"),
)
STATES = [
    FullState(Situation("You see tree, cow."), Privileged(("chop tree", "eat cow"))),
    FullState(Situation("You see water."), Privileged(("drink water", "chop tree"))),
]


def test_by_hand():
    """Suggested: chop tree (good), drink water (poorly timed), chop cow (bad); eat moon (nonsensical), drink water (good).

    Possible are 4, of which 2 are named; 3 names are goals. Of the 4 possible ones half are suggested, of the 4 others 1:
    AUC (2 * (3 + 1 / 2) + 2 * (3 / 2)) / 16.
    """
    found = quality_of(
        [("chop tree", "drink water", "chop cow"), ("eat moon", "drink water")], STATES, LANGUAGE
    )
    assert found == pytest.approx(
        {"good": 2 / 5, "poorly_timed": 1 / 5, "bad": 1 / 5, "nonsensical": 1 / 5}
        | {"goals": 2.5, "recall": 2 / 4, "precision": 2 / 3, "auc": 10 / 16}
    )


@pytest.mark.parametrize("protocol", ["ellm", "homes"])
def test_situations_are_those_of_the_protocol(protocol):
    """The oracle of Housekeep suggests what is possible there, and all of it is known to the protocol's language."""
    housekeep = registry.get("housekeep")
    language = housekeep.language(protocol=protocol)
    asked = states(housekeep, 40, 0, protocol)
    oracle = measure(OracleSuggester(), asked, language)
    assert (oracle.good, oracle.recall, oracle.precision) == (1, 1, 1)
    assert {*language.judgements.all} >= {
        one for at in asked for one in language.judgements.of(at.situation.caption)
    }


def test_the_oracle_is_perfect_and_silence_worthless():
    oracle = measure(OracleSuggester(), STATES, LANGUAGE)
    assert (oracle.good, oracle.recall, oracle.precision, oracle.auc) == (1, 1, 1, 1)
    silent = measure(FixedGoals(()), STATES, LANGUAGE)
    assert (silent.recall, silent.auc, silent.goals) == (0, 0.5, 0)
    assert math.isnan(silent.good)
    assert math.isnan(silent.precision)


def test_what_knows_nothing():
    """chop tree is possible twice, the others once each; two goals on average."""
    rows = references(STATES, LANGUAGE)
    assert rows["the 2 commonest goals, always"].suggest(STATES[:1]) == [("chop tree", "drink water")]
    assert list(rows) == ["the 2 commonest goals, always", "2 goals at random"]
    at_random = measure(rows["2 goals at random"], STATES * 400, LANGUAGE)
    assert at_random.auc == pytest.approx(0.5, abs=0.05)
    assert at_random.recall == pytest.approx(0.5, abs=0.05)


def test_the_command(tmp_path):
    out = tmp_path / "quality.json"
    options = ("--llm", "script", "--llm-caption", "whole", "--count", 40, "--out", out)
    done = script("suggestion_quality.py", *options)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    asked, oracle, bundled, commonest, at_random = rows.values()
    assert list(rows)[1:3] == ["oracle", "bundled model, open form"]
    assert oracle["recall"] == oracle["precision"] == oracle["auc"] == 1
    assert 1 > asked["auc"] > commonest["auc"] > at_random["auc"] > 0.4
    assert bundled["good"] > commonest["good"]
