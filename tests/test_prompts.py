"""Prompts and their parsers, and the script that answers them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellm_agent.llm.scripted import ScriptedModel, sensible_goals
from prompts import closed_form, open_ended

CAPTION = "You see grass, tree. You are targeting tree. You have in your inventory wood. You feel sleepy."


@pytest.mark.parametrize(
    ("answer", "goals"),
    [
        ("- chop tree\n- drink water", ("chop tree", "drink water")),
        ("Sure! Here is what to do:\n1. Chop the tree.\n2) **Drink water**\n\nGood luck!", ("chop the tree", "drink water")),
        ("* eat cow\n* eat cow\n• Sleep!", ("eat cow", "sleep")),
        ("chop tree\ndrink water", ("chop tree", "drink water")),
        ('(1) "place stone"', ("place stone",)),
        ("", ()),
        ("- \n-   \n", ()),
        ("- " + "x" * 101, ()),
        ("- chop\x1b[31m tree", ("chop [31m tree",)),
    ],
)  # fmt: skip
def test_open_answers(answer, goals):
    assert open_ended.parse(answer) == goals


@given(st.text())
def test_open_parser_never_raises_and_gives_clean_goals(text):
    goals = open_ended.parse(text)
    assert len(goals) <= open_ended.MAX_GOALS
    assert len(set(goals)) == len(goals)
    for goal in goals:
        assert goal
        assert goal.isprintable()
        assert len(goal) <= open_ended.MAX_GOAL_CHARACTERS


@given(
    st.lists(
        st.from_regex(r"[a-z]{1,8}( [a-z]{1,8}){0,3}", fullmatch=True), min_size=1, max_size=15, unique=True
    )
)
def test_bullets_are_read_back(goals):
    assert open_ended.parse("\n".join(f"- {goal}" for goal in goals)) == tuple(goals)


def test_probability_of_yes_is_renormalised():
    logprobs = {"Yes": math.log(0.3), " yes": math.log(0.1), "No": math.log(0.2), "Maybe": math.log(0.4)}
    assert closed_form.probability_of_yes("No", logprobs) == pytest.approx(0.4 / 0.6)


@pytest.mark.parametrize(
    ("text", "p"), [("Yes.", 1), ("no", 0), ("Well, yes", 1), ("I think not", 0), ("", 0), ("No, yes", 0)]
)
def test_probability_of_yes_from_text(text, p):
    assert closed_form.probability_of_yes(text, {}) == p


@given(st.text(), st.dictionaries(st.text(max_size=6), st.floats(allow_nan=True)))
def test_closed_parser_never_raises(text, logprobs):
    assert 0 <= closed_form.probability_of_yes(text, logprobs) <= 1


def test_prompts_carry_caption_goal_and_verbs():
    asked = open_ended.prompt(CAPTION, ("chop", "sleep"))
    assert "chop, sleep" in asked.system
    assert open_ended.caption_of(asked.user) == CAPTION
    asked = closed_form.prompt(CAPTION, "chop tree")
    assert closed_form.caption_and_goal_of(asked.user) == (CAPTION, "chop tree")
    assert asked.logprobs


def test_script_knows_what_the_caption_tells():
    assert set(sensible_goals(CAPTION)) == {"chop tree", "chop grass", "place crafting table", "sleep"}
    assert "make wood pickaxe" in sensible_goals(
        "You see crafting table, grass. You have in your inventory wood."
    )


def test_script_answers_as_a_model_would():
    model = ScriptedModel()
    prompts = [open_ended.prompt(CAPTION, ("chop",))] * 2
    first, second = model.answer(prompts)
    assert first == second
    assert "chop tree" in open_ended.parse(first.text)
    captions = [CAPTION.replace("sleepy", f"sleepy{'.' * i}") for i in range(300)]
    answers = model.answer([open_ended.prompt(caption, ("chop",)) for caption in captions])
    told = [open_ended.parse(answer.text) for answer in answers]
    mistaken = sum(any(goal in ("build a house", "go fishing") for goal in goals) for goals in told)
    assert 0 < mistaken < 40  # mistakes are made, in the stated small proportion

    questions = [
        closed_form.prompt(caption, goal) for caption in captions[:50] for goal in ("chop tree", "eat cow")
    ]
    p = [closed_form.probability_of_yes(a.text, a.logprobs) for a in model.answer(questions)]
    assert sum(p[0::2]) / 50 > 0.8
    assert sum(p[1::2]) / 50 < 0.2
