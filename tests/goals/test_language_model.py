"""Goals from a language model."""

import math

import pytest

from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from tests.helpers.scene_model import saved, situations, suggester_of


class Recorder(LanguageModel):
    """A model that keeps what it was asked and answers from a list."""

    description, name = "a recorder", "recorder"

    def __init__(self, *answers):
        self.asked, self.answers = [], list(answers)

    def answer(self, prompts):
        self.asked.append([prompt.user for prompt in prompts])
        return [self.answers.pop(0) for _ in prompts]


def test_each_caption_is_asked_once_in_one_batch():
    model = Recorder(Answer("- chop tree"), Answer("- sleep"), Answer("nothing\n- eat cow"))
    suggester = suggester_of(model, "open")
    goals = suggester.suggest(situations("A.", "B.", "A."))
    assert goals == [("chop tree",), ("sleep",), ("chop tree",)]
    assert suggester.suggest(situations("B.", "C.")) == [("sleep",), ("eat cow",)]
    assert [len(batch) for batch in model.asked] == [2, 1]
    assert suggester.metrics()["llm/scenes"] == 3


def test_closed_form_suggests_what_is_more_likely_than_not():
    def yes(p):
        return Answer("?", {"Yes": math.log(p), "No": math.log(1 - p)})

    model = Recorder(yes(0.9), yes(0.5), yes(0.51))
    suggester = suggester_of(model, "closed", candidates=("a", "b", "c"))
    assert suggester.suggest(situations("A.")) == [("a", "c")]


def test_failures_later_on_leave_no_goals_and_are_asked_again(capsys):
    failure = LanguageModelError("gone")
    model = Recorder(Answer("- sleep"), failure, Answer("- eat cow"))
    suggester = suggester_of(model, "open")
    suggester.suggest(situations("A."))
    assert suggester.suggest(situations("A.", "B.")) == [("sleep",), None]
    assert suggester.suggest(situations("B.")) == [None]  # a dead server is left alone for a while
    assert suggester.suggest(situations("B.")) == [("eat cow",)]
    assert suggester.metrics()["llm/failures"] == 1
    assert "warning: gone" in capsys.readouterr().err


def test_pauses_grow_while_a_server_stays_dead(capsys):
    model = Recorder(Answer("- sleep"), *[LanguageModelError("gone")] * 5)
    suggester = suggester_of(model, "open")
    suggester.suggest(situations("A."))
    for _ in range(20):
        assert suggester.suggest(situations("B.")) == [None]
    # Calls 1, 3, 6, 11 and 20: after pauses of 1, 2, 4 and 8 calls.
    assert len(model.asked) == 1 + 5
    assert capsys.readouterr().err.count("warning") == 1


def test_one_failure_in_the_first_batch_is_not_the_end():
    model = Recorder(LanguageModelError("gone"), Answer("- sleep"))
    suggester = suggester_of(model, "open")
    assert suggester.suggest(situations("A.", "B.")) == [None, ("sleep",)]


def test_closed_answers_are_kept_one_by_one():
    yes, no = Answer("Yes"), Answer("No")
    model = Recorder(yes, LanguageModelError("gone"), no, yes)
    suggester = suggester_of(model, "closed", candidates=("a", "b", "c"))
    assert suggester.suggest(situations("A.")) == [("a",)]
    assert suggester.suggest(situations("A.")) == [("a", "b")]
    assert [len(batch) for batch in model.asked] == [3, 1]
    assert suggester.suggest(situations("A.")) == [("a", "b")]
    assert suggester.metrics()["llm/scenes"] == 1


@pytest.mark.parametrize("every", [0, 1])
def test_closed_form_goes_on_with_what_was_answered(every):
    refusal, yes = LanguageModelError("would rather not", "refused"), Answer("Yes")
    model = Recorder(refusal, yes, refusal, *[refusal] * 3)
    suggester = suggester_of(model, "closed", candidates=("a", "b", "c"), every=every)
    goals = suggester.suggest(situations("A.", "B."))
    assert goals == [("b",), ("b",) if every else ()]  # asking ahead, from the closest that has an answer
    assert suggester.suggest(situations("A.", "B.")) == goals
    assert len(model.asked) == 1
    assert suggester.metrics()["llm/scenes"] == 1


def test_refusals_to_a_part_of_the_questions_survive_a_checkpoint():
    refusal, gone = LanguageModelError("would rather not", "refused"), LanguageModelError("gone")
    suggester = suggester_of(Recorder(refusal, gone), "closed", candidates=("a", "b"))
    assert suggester.suggest(situations("A.")) == [None]
    model = Recorder(Answer("Yes"))
    other = suggester_of(model, "closed", candidates=("a", "b"))
    other.load_state_dict(saved(suggester))
    assert other.suggest(situations("A.")) == [("b",)]
    assert [len(batch) for batch in model.asked] == [1]


def test_a_spent_budget_survives_a_checkpoint(capsys):
    spent = LanguageModelError("the budget is spent", "over_budget")
    suggester = suggester_of(Recorder(spent), "open")
    suggester.suggest(situations("A."))
    other = suggester_of(Recorder(), "open")
    other.load_state_dict(saved(suggester))
    assert other.suggest(situations("B.")) == [None]
    assert capsys.readouterr().err.count("budget is spent") == 1


def test_answers_survive_a_checkpoint():
    suggester = suggester_of(Recorder(Answer("- sleep")), "open")
    suggester.suggest(situations("A."))
    other = suggester_of(Recorder(), "open")
    other.load_state_dict(saved(suggester))
    assert other.metrics() == suggester.metrics()
    assert other.suggest(situations("A.")) == [("sleep",)]


def test_rejection_of_the_first_request_is_raised():
    error = LanguageModelError("no such model", "rejected")
    with pytest.raises(LanguageModelError, match="no such model"):
        suggester_of(Recorder(error), "open").suggest(situations("A."))
