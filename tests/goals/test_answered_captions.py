"""Own answers stand; captions without an answer borrow what a student of the model has learned from its answers."""

import itertools
import json
import random

import numpy as np
import pytest
import scipy.optimize

from ellm_agent.goals import answered_captions
from ellm_agent.goals.answered_captions import AnsweredCaptions
from ellm_agent.goals.logistic import WEIGHT_DECAY, depends, logistic_regression
from ellm_agent.llm.base import Answer
from tests.helpers.scene_model import Model, situations, suggester_of


def answered_by(rule, captions):
    """Answers of a model that names goals by a rule."""
    answered = AnsweredCaptions(frozenset)
    for caption in captions:
        answered.add(caption, rule(caption))
    return answered


def all_captions(clauses):
    return ["".join(some) for n in range(len(clauses) + 1) for some in itertools.combinations(clauses, n)]


def test_a_caption_borrows_the_goals_of_its_clauses():
    """Also in a caption that is otherwise like those without the goal."""

    def rule(caption):
        goals = {"drink": {"w"}, "mine": {"i", "p"}}
        return tuple(goal for goal, needed in goals.items() if needed <= set(caption))

    captions = all_captions("abcdeipw")
    random.Random(0).shuffle(captions)
    answered = answered_by(rule, captions[:200])
    assert answered.can_lend
    for caption in captions[200:]:
        assert set(answered.borrow(caption)) == set(rule(caption)), caption
    assert set(answered.borrow("wip unheard of")) == {"drink", "mine"}


def test_goals_that_are_often_but_not_always_named_are_borrowed():
    draw = random.Random(0)

    def rule(caption):  # one goal in two wordings, and a mistake
        goals = (draw.choice(["eat", "dine"]),) if "c" in caption else ()
        return goals + (("fly",) if draw.random() < 0.1 else ())

    answered = answered_by(rule, all_captions("abcdefgh"))
    assert set(answered.borrow("cx")) == {"eat", "dine"}
    assert answered.borrow("x") == ()


def test_rare_goals_are_borrowed_if_their_naming_depends_on_the_captions():
    """Of thousands of answers four name "make", wherever there is an x, and four name "fly", anywhere."""
    common = all_captions("abcdefghijk")  # 2,048
    flying = set(random.Random(0).sample(common, 4))
    made = [f"x{letter}" for letter in "abcd"]
    answered = answered_by(lambda caption: ("fly",) if caption in flying else (), common)
    assert not answered.can_lend
    for caption in made + [f"y{letters}" for letters in common[:1100]]:  # so many that it is renewed
        answered.add(caption, ("make",) if "x" in caption else ())
    assert answered.can_lend
    assert answered.borrow("xe") == ("make",)
    assert answered.borrow("ye") == ()


def test_of_few_answers_much_is_borrowed():
    answered = AnsweredCaptions(frozenset)
    assert not answered.can_lend
    answered.add("silent", ())
    assert not answered.can_lend
    answered.add("ab", ("eat", "sleep"))
    assert answered.can_lend
    assert answered.borrow("abc") == ("eat", "sleep")


def test_logistic_regressions_minimise_their_loss():
    rng = np.random.default_rng(0)
    inputs = np.column_stack([np.ones(300), rng.random((300, 5)) < 0.4]).astype(float)
    labels = (rng.random(300) < inputs[:, 1] * (0.3 + 0.6 * inputs[:, 2])).astype(float)

    def loss(weights):
        log_odds = inputs @ weights
        return (np.logaddexp(0, log_odds) - labels * log_odds).sum() + WEIGHT_DECAY / 2 * weights @ weights

    found = logistic_regression(inputs, labels)
    best = scipy.optimize.minimize(loss, np.zeros(6), tol=1e-10)
    assert found == pytest.approx(best.x, abs=1e-2)


def test_whether_labels_depend_on_a_column_by_hand():
    inputs, labels = np.ones((100, 2)), np.zeros(100)
    labels[:3] = 1
    inputs[4:, 1] = 0
    assert depends(inputs, labels)  # three of four: .04 ** 3 = 6.4e-5
    inputs[4, 1] = 1
    assert not depends(inputs, labels)  # of five: .05 ** 3 = 1.25e-4
    assert not depends(inputs, np.ones(100))


@pytest.mark.parametrize("every", [0, 1])
def test_an_answer_without_goals_stands(every):
    """Asking ahead, too: not overruled by similar captions."""
    model = Model(errors={"a b.": Answer('{"goals": []}')})
    suggester = suggester_of(model, every=every)
    goals = suggester.suggest(situations("a b.", "a b c.", "a b d."))
    assert goals == [(), ("do a b c",), ("do a b d",)]
    assert suggester.recall(situations("a b.", "a b.")) == [(), ()]
    assert suggester.recall(situations("c. e")) == [("do a b c",)]  # no answer: borrowed


def test_closed_answers_that_are_all_no_stand():
    class No(Model):
        def answer(self, prompts):
            return [Answer("Yes" if "see x" in prompt.user else "No") for prompt in prompts]

    suggester = suggester_of(No(), "closed", candidates=("a", "b"), every=1)
    assert suggester.suggest(situations("You see x.", "You see y.")) == [("a", "b"), ()]


def test_the_student_is_renewed_when_answers_are_half_as_many_again():
    answered = answered_by(lambda caption: (f"do {caption}",), ["a", "b"])
    assert answered.borrow("c") == answered.borrow("d")
    answered.add("c", ("do c",))  # 3 >= 1.5 * 2
    assert "do c" in answered.borrow("cx")
    answered.add("d", ("do d",))  # 4 < 1.5 * 3
    assert "do d" not in answered.borrow("dx")
    answered.add("e", ("do e",))
    assert "do d" in answered.borrow("dx")


@pytest.mark.parametrize("cached", [3, 10_000])
def test_what_is_borrowed_does_not_depend_on_the_cache_or_a_resume(monkeypatch, cached):
    def play(resumes):
        draw, answered, borrowed = random.Random(0), AnsweredCaptions(frozenset), []
        for i in range(200):
            caption = "".join(draw.choices("abcdefgh", k=4))
            if caption not in answered.goals and i % 3 == 0:
                answered.add(caption, (f"do {caption}",) if i % 2 else ())
            elif answered.can_lend:
                borrowed += [answered.borrow(caption), answered.borrow("abcd")]
            if i in resumes:
                state = json.loads(json.dumps(answered.state_dict()))
                answered = AnsweredCaptions(frozenset)
                answered.load_state_dict(state)
        return borrowed

    straight = play(())
    monkeypatch.setattr(answered_captions, "CACHED", cached)
    assert play((20, 21, 77, 150)) == straight
