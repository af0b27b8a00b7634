"""Asking ahead: while a language model has not answered, training goes on."""

import functools
import json
import random
import threading
import time
from fractions import Fraction

import pytest

from ellm_agent.goals import LanguageModelSuggester
from ellm_agent.goals import known_scenes as scenes
from ellm_agent.goals import language_model as language
from ellm_agent.goals.known_scenes import KnownScenes
from ellm_agent.goals.language_model import BATCH
from ellm_agent.goals.nearest import CLOSEST, NearestScene
from ellm_agent.llm.base import LanguageModelError
from tests.helpers.scene_model import NO_GOALS, Model, situations


def test_a_model_in_the_process_is_asked_about_the_scenes_met_most():
    model = Model()
    suggester = LanguageModelSuggester(model, "open", every=10)
    rare = [f"rare {i}." for i in range(BATCH)]
    assert suggester.suggest(situations(*rare))[0][0] == "do rare 0"  # it starts with a batch's credit
    assert len(model.asked) == BATCH
    more = [f"more {i}." for i in range(BATCH)]
    often = situations("often.", "often.", *more)
    suggester.suggest(often)  # no credit: 0.1 scenes a frame
    while "do often" not in suggester.suggest(situations("often."))[0]:
        assert "often." not in model.asked
    assert model.asked[BATCH] == "often."  # before those met once
    assert len(model.asked) == 2 * BATCH
    frames = suggester.metrics()["llm/met"]
    assert frames == pytest.approx(10 * BATCH, abs=len(often))  # a scene for ten frames
    assert suggester.metrics()["llm/unanswered"] == frames - BATCH - 1


def test_the_same_frames_ask_the_same_questions():
    def play():
        model = Model()
        suggester = LanguageModelSuggester(model, "open", every=3)
        told = [suggester.suggest(situations(f"s{i % 7}.", f"t{i % 500}.")) for i in range(600)]
        return model.asked, told

    assert play() == play()


def test_a_slow_endpoint_does_not_hold_up_training():
    held = threading.Event()
    model = Model(immediate=False, held=held)
    suggester = LanguageModelSuggester(model, "open", every=1, in_flight=2)
    started = time.perf_counter()
    for _ in range(100):
        assert suggester.suggest(situations("a.", "b.")) == [None, None]
    assert time.perf_counter() - started < 1
    assert suggester.metrics()["llm/unanswered"] == 200
    held.set()
    deadline = time.monotonic() + 5
    while len(model.asked) < 2 and time.monotonic() < deadline:
        suggester.suggest(situations("a.", "b."))
        time.sleep(0.01)
    time.sleep(0.1)
    assert suggester.suggest(situations("a.", "b.")) == [("do a", "do b"), ("do b", "do a")]
    assert sorted(model.asked) == ["a.", "b."]  # each once, although met again and again
    suggester.close()


def test_evaluation_asks_nobody():
    model = Model()
    suggester = LanguageModelSuggester(model, "open", every=10)
    before = json.dumps(suggester.state())
    assert suggester.recall(situations("a.")) == [None]
    assert model.asked == []
    assert json.dumps(suggester.state()) == before


def test_what_was_under_way_is_asked_again_after_a_resume():
    model = Model(immediate=False, held=threading.Event())
    suggester = LanguageModelSuggester(model, "open", every=1, in_flight=1)
    suggester.suggest(situations("a.", "a.", "b."))
    state = json.loads(json.dumps(suggester.state()))
    model.held.set()
    other = Model()
    resumed = LanguageModelSuggester(other, "open", every=1)
    resumed.restore(state)
    resumed.suggest(situations(*[f"{i}." for i in range(BATCH)]))
    assert other.asked[:2] == ["a.", "b."]
    suggester.close()


def test_a_scene_has_the_goals_of_the_three_closest_that_were_answered():
    model = Model()
    facts = {
        "a b.": "ab",
        "a b c.": "abc",
        "c d.": "cd",
        "x.": "x",
        "a b x.": "abx",
        "c.": "c",
        "b c d.": "bcd",
    }
    suggester = LanguageModelSuggester(model, "open", facts=facts.get, every=1)
    suggester._credit = 0.0
    assert suggester.suggest(situations("x.")) == [None]  # nobody has said anything yet
    suggester._credit = float(BATCH)
    suggester.suggest(situations("a b.", "a b c.", "c d."))
    model.errors = dict.fromkeys(facts, LanguageModelError("gone", "timeout"))
    told = suggester.suggest(situations("a b x.", "c.", "b c d.", "a b."))
    assert told == [
        ("do a b", "do a b c", "do x"),  # 2 of 3 facts shared, 2 of 4, 1 of 3; none with "c d"
        ("do c d", "do a b c", "do x"),  # 1 of 2, 1 of 3, none: the oldest of such
        ("do c d", "do a b c", "do a b"),  # 2 of 3, 2 of 4, 1 of 4
        ("do a b", "do a b c", "do x"),  # its own, 2 of 3, none
    ]
    assert suggester.metrics()["llm/unanswered"] == 4


def test_which_scenes_are_closest_is_looked_up_again_with_half_as_many_more():
    looked_up = []

    def facts(scene):
        looked_up.append(scene)
        return scene

    known = KnownScenes(str, facts)
    known.keep("ax", ("do ax",))
    known.keep("xyz", ("do xyz",))
    scene = known.of(situations("ab"))
    looked_up.clear()
    assert [known.of_the_closest(scene), known.of_the_closest(scene)] == [[("do ax", "do xyz")]] * 2
    assert looked_up == ["ab"]
    known.keep("silent", ())  # has no goals
    assert known.of_the_closest(scene) == [("do ax", "do xyz")]
    known.keep("abc", ("do abc",))
    assert known.of_the_closest(scene, remember=False) == [("do abc", "do ax", "do xyz")]
    assert known.of_the_closest(scene) == [("do abc", "do ax", "do xyz")]
    assert looked_up == ["ab", "abc", "ab", "ab"]


@pytest.mark.parametrize("distinct", [6, 40, 200])
def test_closest_scenes_equal_brute_force_ties_included(distinct):
    """Of few facts, with many ties; and of more than fit in a word, which come up one after the other."""
    draw = random.Random(distinct)

    def some(most):
        return " ".join(f"fact-{draw.randrange(most)}" for _ in range(draw.randrange(12)))

    def share(*scenes):
        one, other = (set(scene.split()) for scene in scenes)
        return Fraction(len(one & other), max(len(one | other), 1))

    nearest, known = NearestScene(str.split), []
    for i in range(150):
        known.append(some(1 + distinct * i // 150))
        nearest.add(known[-1])
        for scene in (some(distinct), some(2 * distinct), known[draw.randrange(len(known))]):
            # Sorting keeps the order of equal ones, also in reverse: the older first.
            closest = sorted(known, key=functools.partial(share, scene), reverse=True)
            assert nearest.find(scene) == closest[:CLOSEST]


@pytest.mark.parametrize("every", [0, 1000])
def test_evaluation_changes_nothing_and_asks_nobody_waiting_or_not(every):
    model = Model(errors={"a e.": LanguageModelError("gone", "timeout")})
    suggester = LanguageModelSuggester(model, "open", every=every)
    assert suggester.recall(situations("a c.")) == [None]
    suggester.suggest(situations("a b.", "a e."))
    before, asked = json.dumps(suggester.state()), list(model.asked)
    told = suggester.recall(situations("a c.", "a b.", "a e."))
    assert told == [("do a b",)] * 3  # of the closest, its own, of the closest
    assert model.asked == asked
    assert json.dumps(suggester.state()) == before


def test_a_run_that_waits_borrows_nothing_in_training():
    model = Model(errors={"a b.": LanguageModelError("gone", "timeout"), "a c.": NO_GOALS["an empty answer"]})
    suggester = LanguageModelSuggester(model, "open")
    assert suggester.suggest(situations("a.", "a b.", "a c.")) == [("do a",), None, ()]
    model.errors.clear()
    assert suggester.suggest(situations("a b.", "a c.", "a d.")) == [("do a b",), (), ("do a d",)]
    assert suggester.recall(situations("a c.")) == [()]  # as in training


def wander(every, seed, resumes):
    """What is suggested on a walk over scenes, some of which fail, and what is known in the end."""
    kinds = {3: "empty", 5: "timeout", 9: "refused", 11: "timeout"}
    errors = {f"s{i} f{i % 7} g{i % 3}.": LanguageModelError("x", kind) for i, kind in kinds.items()}

    def make():
        return LanguageModelSuggester(
            Model(errors=errors), "open", scene=lambda caption: caption.split("|")[0], every=every
        )

    rng, suggester, told = random.Random(seed), make(), []
    for step in range(160):
        met = [rng.randrange(1 + step // 2 if step % 3 else 60) for _ in range(3)]
        captions = [f"s{i} f{i % 7} g{i % 3}.|{rng.randrange(2)}" for i in met]
        ask = suggester.recall if rng.random() < 0.2 else suggester.suggest
        told.append(ask(situations(*captions)))
        if step in resumes:
            state = json.loads(json.dumps(suggester.state()))
            suggester = make()
            suggester.restore(state)
    return json.dumps([told, suggester.metrics(), suggester.state()], sort_keys=True)


@pytest.mark.parametrize("every", [0, 1, 7])
@pytest.mark.parametrize("seed", range(4))
def test_a_resumed_suggester_goes_on_as_one_that_was_not(monkeypatch, every, seed):
    monkeypatch.setattr(language, "COUNTED", 20)
    monkeypatch.setattr(scenes, "REMEMBERED", 20)
    resumes = random.Random(seed + 1).sample(range(160), 6)
    assert wander(every, seed, resumes) == wander(every, seed, ())


@pytest.mark.parametrize("every", [0, 5])
def test_what_is_kept_at_hand_is_bounded(monkeypatch, every):
    monkeypatch.setattr(language, "COUNTED", 20)
    monkeypatch.setattr(scenes, "REMEMBERED", 20)
    suggester = LanguageModelSuggester(Model(), "open", every=every)
    for i in range(200):
        (goals,) = suggester.suggest(situations(f"s{i % 90}."))
        assert goals is None or goals[0] == f"do s{i % 90}" or every
    known = suggester._known
    assert max(len(known._captions), len(known._texts), len(known._looked_up), len(known._tuples)) <= 20
    assert len(suggester._met) <= 40
    assert suggester.metrics()["llm/distinct"] >= 90
    if every:
        state = json.loads(json.dumps(suggester.state()))
        resumed = LanguageModelSuggester(Model(), "open", every=every)
        resumed.restore(state)
        more = [situations(f"s{i % 90}.") for i in range(200, 300)]
        assert [suggester.suggest(one) for one in more] == [resumed.suggest(one) for one in more]
