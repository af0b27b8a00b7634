"""The scored form, by hand: what is subtracted, what is suggested, and what a checkpoint keeps."""

import json

import numpy as np
import pytest

from ellm_agent.goals.scoring import ScoredQuestions
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from envs.interface import Situation
from prompts import scored
from tests.helpers.scene_model import suggester_of

GOALS = ("sleep", "eat cow", "chop tree")
NEUTRAL = (-2.0, -8.0, -9.0)
SCENES = {"A": (-2.5, -4.0, -9.0), "B": (-1.0, -9.0, -5.0)}


class Known(LanguageModel):
    """Answers with the numbers above."""

    description = name = "known"

    def __init__(self):
        self.asked = []

    def answer(self, prompts):
        self.asked += [prompt.user for prompt in prompts]
        return [answer_to(prompt) for prompt in prompts]


def answer_to(prompt):
    caption = prompt.user.removesuffix(f" {scored.LEAD}")
    values = NEUTRAL if caption == scored.NEUTRAL else SCENES[caption]
    return Answer("", dict(zip(prompt.continuations, values, strict=True)))


def suggested(caption, questions):
    goals = None
    for question in questions.about(caption):
        complete, goals = questions.learn(question, answer_to(question.prompt))
    assert complete
    return goals


def test_pointwise_mutual_information_per_word():
    """A: -2.5 + 2, (-4 + 8) / 2, (-9 + 9) / 2 = -.5, 2, 0. B: 1, -.5, 2."""
    assert suggested("A", ScoredQuestions(GOALS, best=2)) == ("eat cow", "chop tree")
    assert suggested("A", ScoredQuestions(GOALS, threshold=-0.1)) == ("eat cow", "chop tree")
    assert suggested("A", ScoredQuestions(GOALS, threshold=2.0)) == ()
    assert suggested("B", ScoredQuestions(GOALS, best=3)) == ("chop tree", "sleep", "eat cow")


def test_centred_over_scenes():
    """The neutral caption counts as 16 scenes: after A and B the base rate of sleep is (16 * -2 - 2.5 - 1) / 18."""
    questions = ScoredQuestions(GOALS, base="scenes", best=3)
    suggested("A", questions)

    scores = questions.score(np.array(SCENES["B"]))
    base = [(16 * n + a + b) / 18 for n, a, b in zip(NEUTRAL, SCENES["A"], SCENES["B"], strict=True)]
    expected = [(value - own) / words for value, own, words in zip(SCENES["B"], base, (1, 2, 2), strict=True)]
    assert scores == pytest.approx(expected)


def test_the_neutral_caption_is_asked_about_once():
    model = Known()
    suggester = suggester_of(model, "scored", candidates=GOALS, scoring={"best": 1})
    assert suggester.suggest([Situation("A"), Situation("B")]) == [("eat cow",), ("chop tree",)]
    suggester.suggest([Situation("A")])
    assert sorted(set(model.asked)) == sorted(f"{c} {scored.LEAD}" for c in ("A", "B", scored.NEUTRAL))


def test_an_answer_without_all_likelihoods_gives_no_goals():
    questions = ScoredQuestions(GOALS)
    own, scene = questions.about("A")
    questions.learn(own, answer_to(own.prompt))
    assert questions.learn(scene, Answer("sleep", {" sleep": -1.0})) == (True, None)


@pytest.mark.parametrize("every", [0, 1])
def test_a_caption_that_waited_for_a_failed_neutral_question_is_answered(every):
    """The neutral question fails with A's, is answered with B's, and A is met again."""

    class FailsOnce(Known):
        def answer(self, prompts):
            first, answers = not self.asked, super().answer(prompts)
            if first:
                own = next(i for i, p in enumerate(prompts) if scored.NEUTRAL in p.user)
                answers[own] = LanguageModelError("busy", "timeout")
            return answers

    suggester = suggester_of(FailsOnce(), "scored", candidates=GOALS, every=every, scoring={"best": 1})
    assert suggester.suggest([Situation("A")]) == [None]
    assert suggester.suggest([Situation("B")] * 64) == [("chop tree",)] * 64
    assert suggester.suggest([Situation("A")] * 64) == [("eat cow",)] * 64


def test_without_likelihoods_of_the_neutral_caption_there_are_no_goals():
    questions = ScoredQuestions(GOALS)
    own, scene = questions.about("A")
    assert questions.learn(own, None) == (False, None)
    assert questions.learn(scene, answer_to(scene.prompt)) == (True, None)
    resumed = ScoredQuestions(GOALS)
    resumed.load_state_dict(json.loads(json.dumps(questions.state_dict())))
    assert [question.goal for question in resumed.about("B")] == [""]


def test_a_checkpoint_keeps_base_rates_and_half_answered_scenes():
    one, other = (ScoredQuestions(GOALS, base="scenes", best=1) for _ in range(2))
    own, scene = one.about("A")
    assert one.learn(scene, answer_to(scene.prompt)) == (False, None)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert other.about("A") == [own]
    assert other.learn(own, answer_to(own.prompt)) == (True, ("eat cow",))
    one.learn(own, answer_to(own.prompt))
    assert one.state_dict() == other.state_dict()
