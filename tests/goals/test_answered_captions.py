"""Own answers stand; captions without an answer borrow from the three most similar ones that have goals."""

import functools
import json
import random
from fractions import Fraction

import pytest

from ellm_agent.goals import answered_captions
from ellm_agent.goals.answered_captions import GROWTH, SIMILAR, AnsweredCaptions
from ellm_agent.llm.base import Answer, LanguageModelError
from tests.helpers.scene_model import Model, situations, suggester_of


def test_goals_are_borrowed_from_the_three_most_similar_captions():
    answered = AnsweredCaptions(frozenset)
    assert not answered.can_lend
    for caption in ("x", "ab", "abc", "cd", "yz"):
        answered.add(caption, (f"do {caption}",))
    answered.add("abx", ())  # an answer without goals lends nothing
    assert [answered.borrow(caption) for caption in ("abx", "c", "bcd", "ab")] == [
        ("do ab", "do abc", "do x"),  # 2 of 3 clauses shared, 2 of 4, 1 of 3; none with "cd"
        ("do cd", "do abc", "do x"),  # 1 of 2, 1 of 3, none: the oldest of such
        ("do cd", "do abc", "do ab"),  # 2 of 3, 2 of 4, 1 of 4
        ("do ab", "do abc", "do x"),  # all, 2 of 3, none
    ]


def test_shared_goals_are_suggested_once():
    answered = AnsweredCaptions(frozenset)
    answered.add("ab", ("eat", "sleep"))
    answered.add("a", ("sleep", "drink"))
    assert answered.borrow("abc") == ("eat", "sleep", "drink")


@pytest.mark.parametrize("every", [0, 1])
def test_an_answer_without_goals_stands(every):
    """Asking ahead, too: not overruled by similar captions."""
    model = Model(errors={"a b.": Answer('{"goals": []}')})
    suggester = suggester_of(model, every=every)
    goals = suggester.suggest(situations("a b.", "a b c.", "a b d."))
    assert goals == [(), ("do a b c",), ("do a b d",)]
    assert suggester.recall(situations("a b.", "a b.")) == [(), ()]
    model.errors = {"a e.": LanguageModelError("gone", "timeout")}
    assert suggester.recall(situations("a e.")) == [("do a b c", "do a b d")]  # no answer: borrowed


def test_closed_answers_that_are_all_no_stand():
    class No(Model):
        def answer(self, prompts):
            return [Answer("Yes" if "see x" in prompt.user else "No") for prompt in prompts]

    suggester = suggester_of(No(), "closed", candidates=("a", "b"), every=1)
    assert suggester.suggest(situations("You see x.", "You see y.")) == [("a", "b"), ()]


@pytest.mark.parametrize("clauses", [6, 40, 200])
def test_similar_captions_equal_brute_force_with_ties(clauses):
    draw = random.Random(clauses)

    def some(most):
        return " ".join(f"clause-{draw.randrange(most)}" for _ in range(draw.randrange(12)))

    def similarity(*captions):
        one, other = (set(caption.split()) for caption in captions)
        return Fraction(len(one & other), max(len(one | other), 1))

    answered, lenders = AnsweredCaptions(str.split), []
    for i in range(150):
        caption = f"{some(1 + clauses * i // 150)} own-{i}"
        answered.add(caption, (caption,))
        if i + 1 >= GROWTH * len(lenders):
            lenders = list(answered.goals)
        for asked in (some(clauses), some(2 * clauses), draw.choice(lenders)):
            # Sorting keeps the order of equal ones, also in reverse: the older first.
            closest = sorted(lenders, key=functools.partial(similarity, asked), reverse=True)
            assert answered.borrow(asked) == tuple(closest[:SIMILAR])


def test_lenders_are_renewed_when_they_are_half_as_many_again():
    answered = AnsweredCaptions(frozenset)
    for caption in ("ab", "ac"):
        answered.add(caption, (f"do {caption}",))
    before = answered.borrow("abc")
    answered.add("silent", ())
    assert answered.borrow("abc") == before == ("do ab", "do ac")
    answered.add("abc!", ("do abc!",))
    assert answered.borrow("abc") == ("do abc!", "do ab", "do ac")
    answered.add("abcd", ("do abcd",))  # 4 < 1.5 * 3
    assert "do abcd" not in answered.borrow("abcd")
    answered.add("abce", ("do abce",))
    assert answered.borrow("abcd")[0] == "do abcd"


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
