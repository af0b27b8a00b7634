"""The scripted model: it knows what a caption says, and makes mistakes in fixed proportions."""

import pytest

from ellm_agent.llm.scripted import FORGOTTEN, MISTAKES, PARAPHRASED, ScriptedModel
from envs import registry
from envs.interface import Advice
from prompts import closed_form, open_ended
from tests.helpers.questions import LANGUAGE

CAPTION = "You see grass, tree. You are targeting tree. You have in your inventory wood. You feel sleepy."


def test_it_answers_as_a_model_would():
    model = ScriptedModel(registry.get("crafter").advice())
    first, second = model.answer([open_ended.prompt(CAPTION, LANGUAGE)] * 2)
    assert first == second
    assert "chop tree" in open_ended.parse(first.text)
    captions = [CAPTION.replace("sleepy", f"sleepy{'.' * i}") for i in range(300)]
    answers = model.answer([open_ended.prompt(caption, LANGUAGE) for caption in captions])
    goals = [open_ended.parse(answer.text) for answer in answers]
    assert all(goals)
    questions = [
        closed_form.prompt(caption, goal, LANGUAGE)
        for caption in captions[:50]
        for goal in ("chop tree", "eat cow")
    ]
    p = [closed_form.probability_of_yes(a.text, a.logprobs) for a in model.answer(questions)]
    assert sum(p[0::2]) / 50 > 0.8
    assert sum(p[1::2]) / 50 < 0.2


def test_its_mistakes_have_fixed_proportions():
    advice = registry.get("crafter").advice()
    captions = [CAPTION.replace("sleepy", f"sleepy{'.' * i}") for i in range(1_000)]
    answers = ScriptedModel(advice).answer([open_ended.prompt(caption, LANGUAGE) for caption in captions])
    goals = [set(open_ended.parse(answer.text)) for answer in answers]
    wordings = {goal: {goal, *advice.paraphrases.get(goal, ())} for goal in advice.goals}

    def share(known) -> float:
        return sum(bool(own.intersection(known)) for own in goals) / len(goals)

    assert share(advice.outside) == pytest.approx(MISTAKES["outside"], abs=0.03)
    assert share(advice.meaningless) == pytest.approx(MISTAKES["bad"], abs=0.03)
    late = set().union(*(wordings[goal] for goal in advice.poorly_timed(CAPTION)))
    assert share(late) == pytest.approx(MISTAKES["poorly_timed"], abs=0.05)
    assert share(wordings["chop tree"]) == pytest.approx(1 - FORGOTTEN, abs=0.03)
    assert share(wordings["chop tree"] - {"chop tree"}) == pytest.approx(
        (1 - FORGOTTEN) * PARAPHRASED, abs=0.03
    )


def test_it_knows_what_its_advice_knows():
    advice = Advice(sensible_goals=lambda caption: ["open door"], goals=("open door",))
    answers = ScriptedModel(advice).answer(
        [open_ended.prompt(f"You see door {i}.", LANGUAGE) for i in range(50)]
    )
    assert {goal for answer in answers for goal in open_ended.parse(answer.text)} == {"open door"}
