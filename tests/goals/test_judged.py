"""Closed form by statements: which goals follow from which answers, who is asked what, and how often."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from ellm_agent.build import make_suggester
from ellm_agent.builders.suggesters import VERSIONS
from ellm_agent.config import Config
from ellm_agent.config.files import in_world
from ellm_agent.errors import UserError
from ellm_agent.goals.judged import CosineJudge, Judge, JudgedGoals, ModelJudge
from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.llm.recorded import RecordedModel
from envs.interface import Judgements, Language, Situation, Statement
from prompts import closed_form, open_ended, scored, statement
from tests.helpers.questions import LANGUAGE as WORDS
from tests.helpers.scene_model import suggester_of

# A world of two things and two places: the caption names the thing in the hand, or "x@p" for one that lies somewhere.
STATEMENTS = tuple(Statement(thing, where) for thing in ("cup", "sock") for where in ("on shelf", "in sink"))


def of(caption):
    return [s for s in STATEMENTS if s.thing == caption]


def goals(caption, judge):
    return tuple(f"place {s}" for s in of(caption) if judge(s))


JUDGEMENTS = Judgements(STATEMENTS, of, goals, lambda s: f"Does {s.thing} belong {s.where}?", "Answer.")
LANGUAGE = Language(("",), str, tuple(f"place {s}" for s in STATEMENTS), judgements=JUDGEMENTS)


def states(*captions):
    return [Situation(caption) for caption in captions]


class Counting(Judge):
    """Knows that cups belong on shelves; is not told about socks at first."""

    description = "a test"

    def __init__(self):
        self.asked, self.known = [], {"cup"}

    def answer(self, statements):
        self.asked += statements
        return [s.where == "on shelf" if s.thing in self.known else None for s in statements]


def test_goals_follow_from_answers_and_each_statement_is_asked_about_once():
    judge = Counting()
    suggester = JudgedGoals(judge, JUDGEMENTS)
    assert suggester.suggest(states("cup", "cup", "nothing")) == [("place cup on shelf",)] * 2 + [()]
    assert suggester.suggest(states("cup")) == suggester.recall(states("cup")) == [("place cup on shelf",)]
    assert judge.asked == list(STATEMENTS[:2])


def test_what_is_not_known_yet_is_asked_again():
    judge = Counting()
    suggester = JudgedGoals(judge, JUDGEMENTS)
    assert suggester.suggest(states("sock")) == [()]
    judge.known.add("sock")
    assert suggester.suggest(states("sock")) == [("place sock on shelf",)]
    assert judge.asked == [*STATEMENTS[2:], *STATEMENTS[2:]]


class Model(LanguageModel):
    """Says yes to shelves; fails at socks as long as it is told to."""

    description, name, can_be_asked_ahead = "a model", "m", False

    def __init__(self):
        self.prompts, self.fails = [], False

    def answer(self, prompts):
        self.prompts += prompts
        error = LanguageModelError("down", "server_error")
        yes = {True: Answer("Yes", {"Yes": math.log(0.9), "No": math.log(0.1)}), False: Answer("No")}
        return [error if self.fails and "sock" in p.user else yes["shelf" in p.user] for p in prompts]


def test_a_language_model_is_asked_a_yes_no_question_about_each_statement():
    model = Model()
    judge = ModelJudge(LanguageModelSuggester(model, "statements", LANGUAGE), len(STATEMENTS))
    assert judge.answer(STATEMENTS) == [True, False, True, False]
    assert [p.user for p in model.prompts[:2]] == [
        "Does cup belong on shelf? Yes or No?",
        "Does cup belong in sink? Yes or No?",
    ]
    assert model.prompts[0].system == "Answer."
    assert model.prompts[0].logprobs
    assert "4 distinct questions" in judge.description
    assert judge.status() == "4 of 4 questions answered"
    other = ModelJudge(LanguageModelSuggester(Model(), "statements", LANGUAGE), len(STATEMENTS))
    other.load_state_dict(json.loads(json.dumps(judge.state_dict())))
    assert other.recall(STATEMENTS) == [True, False, True, False]


def test_a_question_that_failed_has_no_answer_and_is_asked_again(capsys):
    model = Model()
    model.fails = True
    judge = ModelJudge(LanguageModelSuggester(model, "statements", LANGUAGE), len(STATEMENTS))
    assert judge.answer(STATEMENTS) == [True, False, None, None]
    model.fails = False
    assert judge.answer(STATEMENTS[2:]) == [True, False]


def test_evaluation_asks_no_model():
    model = Model()
    judge = ModelJudge(LanguageModelSuggester(model, "statements", LANGUAGE), len(STATEMENTS))
    assert judge.answer(STATEMENTS[:2]) == [True, False]
    assert judge.recall(STATEMENTS) == [True, False, None, None]
    assert len(model.prompts) == 2


def test_what_was_answered_survives_a_checkpoint():
    judge = Counting()
    suggester, other = JudgedGoals(Counting(), JUDGEMENTS), JudgedGoals(judge, JUDGEMENTS)
    suggester.suggest(states("cup"))
    other.load_state_dict(json.loads(json.dumps(suggester.state_dict())))
    assert other.suggest(states("cup")) == [("place cup on shelf",)]
    assert judge.asked == []


def test_cosines_by_hand():
    vectors = {"cup": [1, 0], "sock": [0, 1], "on shelf": [0.8, 0.6], "in sink": [0.6, 0.8]}
    judge = CosineJudge(STATEMENTS, 0.5, lambda texts: np.array([vectors[text] for text in texts]))
    assert judge.answer(STATEMENTS) == [True, False, False, True]
    assert judge.cosines[STATEMENTS[0]] == pytest.approx(0.8)


def test_sbert_needs_a_world_where_goals_depend_on_statements():
    config = Config().changed(**{"suggester.kind": "sbert"})
    with pytest.raises(UserError, match="goal-mode is sbert, but in crafter"):
        make_suggester(config, Language(("",), str, ()))


def test_common_goals_are_those_of_the_usual_placements():
    config = Config().changed(**{"env.name": "housekeep", "suggester.kind": "common"})
    config = config.model_copy(
        update={"env": config.env.model_copy(update={"own": {"placements": "votes.npy"}})}
    )
    with pytest.raises(UserError, match=r"goal-mode is common, .*; not with --placements"):
        make_suggester(config, Language(("",), str, ()))


# --- recorded answers -------------------------------------------------------------------------------------------------


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


HEAD = {"description": "somebody", "version": "statement-1"}


def test_recorded_answers(tmp_path):
    rows = [
        {"user": f"Does cup belong {w}? Yes or No?", "yes": y}
        for w, y in (("on shelf", 0.75), ("in sink", 0.0))
    ]
    model = RecordedModel(write(tmp_path / "a.jsonl", HEAD, *rows))
    assert model.description == "somebody"
    judge = ModelJudge(LanguageModelSuggester(model, "statements", LANGUAGE), 4)
    assert judge.answer(STATEMENTS[:2]) == [True, False]
    # What the file leaves out has no answer: neither is the sock right nor wrong anywhere.
    assert judge.answer(STATEMENTS) == [True, False, None, None]
    assert (model.metrics()["llm/recorded"], model.metrics()["llm/not_recorded"]) == (2, 2)
    # Evaluation looks answers up, without a count.
    fresh = ModelJudge(LanguageModelSuggester(model, "statements", LANGUAGE), 4)
    assert fresh.recall(STATEMENTS) == [True, False, None, None]
    assert model.metrics()["llm/recorded"] == 2


ROWS = {
    "open": [{"user": open_ended.prompt("A.", WORDS).user, "text": "- chop tree"}],
    "closed": [{"user": closed_form.prompt("A.", "chop tree", WORDS).user, "yes": 0.9}],
    "scored": [
        {"user": scored.prompt(caption, ()).user, "text": "", "logprobs": {" chop tree": value, " drink water": -9}}
        for caption, value in ((scored.NEUTRAL, -9), ("A.", -1))
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", ROWS)
def test_a_file_may_leave_situations_out(tmp_path, form):
    head = {"description": "somebody", "version": VERSIONS[form]}
    model = RecordedModel(write(tmp_path / "a.jsonl", head, *ROWS[form]))
    suggester = suggester_of(model, form, scoring={"best": 1} if form == "scored" else None)
    assert suggester.suggest(states("B.")) == [None]  # there is nothing to borrow yet
    assert suggester.suggest(states("A.", "B.")) == [("chop tree",), ("chop tree",)]  # all answers name it
    assert suggester.recall(states("B.", "C.")) == [("chop tree",), ("chop tree",)]
    missing = {"open": 1, "closed": 3, "scored": 1}[form]  # closed: "drink water" in A, and both goals in B
    assert suggester.metrics()["llm/not_recorded"] == missing


@pytest.mark.parametrize("left", [(), ("A.",)])
def test_scored_answers_without_the_neutral_caption_are_no_goals(tmp_path, left):
    head = {"description": "somebody", "version": scored.VERSION}
    rows = [row for row in ROWS["scored"] if any(row["user"].startswith(caption) for caption in left)]
    suggester = suggester_of(RecordedModel(write(tmp_path / "a.jsonl", head, *rows)), "scored")
    assert suggester.suggest(states("A.")) == [None]


def test_a_file_for_other_prompts_is_refused(tmp_path):
    model = RecordedModel(write(tmp_path / "a.jsonl", HEAD, {"user": "Are cups cups? Yes or No?", "yes": 1}))
    prompts = [statement.prompt(one, JUDGEMENTS) for one in STATEMENTS]
    with pytest.raises(UserError, match="answers prompts of version statement-1, not open-3"):
        model.check("open-3")
    with pytest.raises(UserError, match="holds no answer to any question of this world, such as: Does cup"):
        model.check("statement-1", prompts)
    model.check("statement-1", [*prompts, dataclasses.replace(prompts[0], user="Are cups cups? Yes or No?")])


@pytest.mark.parametrize(
    "rows", [(), ([],), ({"version": "x"},), (HEAD, {"yes": 1}), (HEAD, {"user": "?", "yes": 2}), (HEAD, 3)]
)
def test_what_is_no_file_of_recorded_answers_is_refused(tmp_path, rows):
    with pytest.raises(UserError, match="holds no recorded answers"):
        RecordedModel(write(tmp_path / "a.jsonl", *rows))


def test_a_missing_or_damaged_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read recorded answers .*/a.jsonl: No such file"):
        RecordedModel(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl.gz").write_bytes(b"\x1f\x8b\x08broken")
    with pytest.raises(UserError, match="holds no recorded answers"):
        RecordedModel(tmp_path / "b.jsonl.gz")


def test_housekeeps_closed_form_is_offline_by_default():
    from envs import registry

    config = in_world(Config(), "housekeep")
    language = registry.get("housekeep").language(protocol="ellm")
    suggester = make_suggester(config, language)
    assert "Claude, a large language model" in suggester.description
    assert "at most 292 distinct questions" in suggester.description
    trained = config.changed(**{"suggester.llm.kind": "recorded", "suggester.llm.answers": "trained"})
    assert "not a language model" in make_suggester(trained, language).description
