"""Costs of asking: estimates, prices and budgets."""

import json

import pytest

from ellm_agent.cost_estimate import growth
from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModelError, Prompt
from ellm_agent.llm.budget import Metered, Price, price_of, size, tokens
from tests.helpers.scene_model import Model, situations, suggester_of


def test_scenes_grow_by_a_power_law():
    assert growth(100, 10, 200, 20, 1_000) == pytest.approx(5)  # in proportion
    assert growth(100, 10, 200, 10 * 2**0.5, 1_000) == pytest.approx(5**0.5)
    assert growth(100, 10, 200, 10, 1_000) == pytest.approx(1)  # nothing new any more
    assert growth(100, 0, 200, 0, 1_000) == pytest.approx(5)
    assert growth(200, 20, 200, 20, 1_000) == pytest.approx(5)  # one row


def prompt(characters, most):
    return Prompt("", "x" * characters, most, 0.0, False, "")


def test_prices_add_up():
    assert Price(2.0, 10.0).of(500_000, 100_000) == pytest.approx(2.0)
    assert price_of("gpt-4o-mini") == Price(0.15, 0.60)
    assert price_of("gpt-4o-mini", read=1.0) == Price(1.0, 0.60)
    assert price_of("a-model-of-mine") is None
    assert price_of("a-model-of-mine", 0.0, 0.0) == Price(0.0, 0.0)
    assert tokens("12345") == 2


def test_a_budget_is_never_exceeded():
    class Costly(Model):
        def answer(self, prompts):
            return [Answer("x", {}, prompt_tokens=100, answer_tokens=10) for _ in prompts]

    # 100 tokens read, reserved as 150, and 10 written: $ 0.0001 + 0.00002 each.
    model = Metered(Costly(), Price(1.0, 2.0), budget_usd=0.00100)
    answers = [answer for _ in range(20) for answer in model.answer([prompt(400, 10)])]
    paid = [answer for answer in answers if isinstance(answer, Answer)]
    assert len(paid) == 7  # an eighth could cost 0.00084 + 0.00017
    assert {answer.kind for answer in answers[7:]} == {"over_budget"}
    assert model.metrics()["llm/usd"] == pytest.approx(7 * 0.00012)
    together = Metered(Costly(), Price(1.0, 2.0), budget_usd=0.00100)
    answers = together.answer([prompt(400, 10)] * 20)  # all under way at once: what each may cost is reserved
    assert sum(isinstance(answer, Answer) for answer in answers) == 5


def test_failures_that_cost_count_against_the_budget():
    class Thinking(Model):
        def answer(self, prompts):
            self.asked += prompts
            kind = "empty" if len(self.asked) <= 2 else "timeout"
            return [
                LanguageModelError("no", kind, 400, 200)
                if kind == "empty"
                else LanguageModelError("no", kind)
            ]

    model = Metered(Thinking(), None, budget_tokens=1_500)
    for _ in range(5):
        model.answer([prompt(400, 10)])
    # 600 each for two empty answers; a timeout may have cost 150 + 10; the next might come to 1,520.
    assert model.metrics()["llm/tokens_read"] == 2 * 400 + 150
    assert model.metrics()["llm/tokens_written"] == 2 * 200 + 10


def test_a_budget_in_tokens_needs_no_price():
    class Silent(Model):
        def answer(self, prompts):
            return [Answer("12345678") for _ in prompts]  # a server that does not count

    model = Metered(Silent(), None, budget_tokens=300)
    answers = [model.answer([prompt(400, 10)])[0] for _ in range(3)]
    assert [isinstance(answer, Answer) for answer in answers] == [
        True,
        True,
        False,
    ]  # 102, 204, and at most 160 more
    assert model.metrics()["llm/tokens_read"] == 200
    assert model.metrics()["llm/tokens_written"] == 4
    assert "llm/usd" not in model.metrics()
    other = Metered(Silent(), None, budget_tokens=300)
    other.load_state_dict(json.loads(json.dumps(model.state_dict())))
    assert other.metrics() == model.metrics()


# 8 characters, continued by 4 and 8: texts of 3 and 4 tokens, behind each of which a server writes one.
SCORED = Prompt("", "x" * 8, 0, 0.0, False, "", continuations=("y" * 4, "z" * 8))


def test_each_continuation_is_a_text_of_its_own():
    assert size(SCORED) == (3 + 4, 2)
    assert size(prompt(9, 10)) == (3, 10)


@pytest.mark.parametrize(
    ("answer", "booked"),
    [
        (Answer("z" * 8), (7, 2)),  # a server that does not count
        (Answer("z" * 8, {}, 9, 2), (9, 2)),
        (Answer("z" * 8, {}, 5, 0), (5, 0)),  # a model in this process writes nothing
        (LanguageModelError("no", "timeout"), (10, 2)),  # 3 * 7 // 2
        (LanguageModelError("no", "server_error"), (0, 0)),
    ],
)
def test_scored_questions_count_all_continuations(answer, booked):
    class Scores(Model):
        def answer(self, prompts):
            return [answer for _ in prompts]

    model = Metered(Scores(), None, budget_tokens=12)
    model.answer([SCORED])
    assert (model.metrics()["llm/tokens_read"], model.metrics()["llm/tokens_written"]) == booked
    (refused,) = Metered(Scores(), None, budget_tokens=11).answer([SCORED])
    assert refused.kind == "over_budget"


def test_a_budget_in_dollars_needs_a_price():
    with pytest.raises(UserError, match="--llm-price-read"):
        Metered(Model(), None, budget_usd=1.0)


def test_a_spent_budget_ends_questions_not_the_run(capsys):
    class Broke(Model):
        def answer(self, prompts):
            self.asked += prompts
            if len(self.asked) > 1:
                return [LanguageModelError("the budget is spent", "over_budget") for _ in prompts]
            return [Answer("- sleep")]

    model = Broke()
    suggester = suggester_of(model, stop_on_failure=True)
    assert suggester.suggest(situations("a.")) == [("sleep",)]
    for _ in range(50):
        assert suggester.suggest(situations("a.", "b.")) == [("sleep",), None]
    assert len(model.asked) == 2
    assert capsys.readouterr().err.count("budget is spent") == 1
