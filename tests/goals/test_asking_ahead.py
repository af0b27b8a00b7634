"""Asking ahead: while a language model has not answered, training continues."""

import json
import random
import threading
import time

import pytest

from ellm_agent.goals import answered_captions, asking
from ellm_agent.goals.asking import BATCH, CaptionQueue
from ellm_agent.llm.base import LanguageModelError
from tests.helpers.scene_model import NO_GOALS, Model, saved, situations, suggester_of


def test_a_model_in_the_process_is_asked_about_the_most_frequent_captions():
    model = Model()
    suggester = suggester_of(model, every=10)
    rare = [f"rare {i}." for i in range(BATCH)]
    assert suggester.suggest(situations(*rare))[0][0] == "do rare 0"  # it starts with a batch's credit
    assert len(model.asked) == BATCH
    more = [f"more {i}." for i in range(BATCH)]
    often = situations("often.", "often.", *more)
    suggester.suggest(often)  # no credit: 0.1 captions a frame
    while "do often" not in suggester.suggest(situations("often."))[0]:
        assert "often." not in model.asked
    assert model.asked[BATCH] == "often."  # before rarer ones
    assert len(model.asked) == 2 * BATCH
    frames = suggester.metrics()["llm/met"]
    assert frames == pytest.approx(10 * BATCH, abs=len(often))  # a caption for ten frames
    assert suggester.metrics()["llm/unanswered"] == frames - BATCH - 1


def test_every_other_question_is_about_the_newest_caption():
    queue = CaptionQueue(every=1)
    queue.note(["a", "b", "b", "c", "c", "c", "d", "e"], frames=0)
    assert queue.choose(4) == ["c", "b", "e", "d"]
    for caption in "cbed":
        queue.remove(caption)
    queue.note(["f", "f"], frames=0)
    one_by_one = []
    for _ in range(2):
        one_by_one += queue.choose(1, excluding=one_by_one)
    assert one_by_one == ["f", "a"]  # the most frequent, and what is left
    other = CaptionQueue(every=1)
    other.load_state_dict(json.loads(json.dumps(queue.state_dict())))
    assert queue.choose(1) == other.choose(1)


def test_the_same_frames_ask_the_same_questions():
    def play():
        model = Model()
        suggester = suggester_of(model, every=3)
        goals = [suggester.suggest(situations(f"s{i % 7}.", f"t{i % 80}.")) for i in range(160)]
        return model.asked, goals

    assert play() == play()


def test_a_slow_endpoint_does_not_hold_up_training():
    held = threading.Event()
    model = Model(in_process=False, held=held)
    suggester = suggester_of(model, every=1, in_flight=2)
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
    assert suggester.suggest(situations("a.", "b.")) == [("do a",), ("do b",)]
    assert sorted(model.asked) == ["a.", "b."]  # each once, although they occur again and again
    suggester.close()


def test_evaluation_asks_nobody():
    model = Model()
    suggester = suggester_of(model, every=10)
    before = json.dumps(saved(suggester))
    assert suggester.recall(situations("a.")) == [None]
    assert model.asked == []
    assert json.dumps(saved(suggester)) == before


def test_what_was_in_flight_is_asked_again_after_a_resume():
    model = Model(in_process=False, held=threading.Event())
    suggester = suggester_of(model, every=1, in_flight=1)
    suggester.suggest(situations("a.", "a.", "b."))
    state = saved(suggester)
    model.held.set()
    other = Model()
    resumed = suggester_of(other, every=1)
    resumed.load_state_dict(state)
    resumed.suggest(situations(*[f"{i}." for i in range(BATCH)]))
    assert other.asked[:2] == ["a.", "b."]
    suggester.close()


@pytest.mark.parametrize("every", [0, 1000])
def test_evaluation_changes_nothing_and_asks_nobody_waiting_or_not(every):
    model = Model(errors={"a e.": LanguageModelError("gone", "timeout")})
    suggester = suggester_of(model, every=every)
    assert suggester.recall(situations("a c.")) == [None]
    suggester.suggest(situations("a b.", "a e."))
    before, asked = json.dumps(saved(suggester)), list(model.asked)
    goals = suggester.recall(situations("a c.", "a b.", "a e."))
    assert goals == [("do a b",)] * 3  # borrowed, its own, borrowed
    assert model.asked == asked
    assert json.dumps(saved(suggester)) == before


def test_a_run_that_waits_borrows_nothing_in_training():
    model = Model(errors={"a b.": LanguageModelError("gone", "timeout"), "a c.": NO_GOALS["an empty answer"]})
    suggester = suggester_of(model)
    assert suggester.suggest(situations("a.", "a b.", "a c.")) == [("do a",), None, ()]
    model.errors.clear()
    assert suggester.suggest(situations("a b.", "a c.", "a d.")) == [("do a b",), (), ("do a d",)]
    assert suggester.recall(situations("a c.")) == [()]  # as in training


def wander(every, seed, resumes):
    """What is suggested on a walk over captions, some of which fail, and the state in the end."""
    kinds = {3: "empty", 5: "timeout", 9: "refused", 11: "timeout"}
    errors = {f"s{i} f{i % 7} g{i % 3}.": LanguageModelError("x", kind) for i, kind in kinds.items()}

    def make():
        return suggester_of(Model(errors=errors), caption=lambda caption: caption.split("|")[0], every=every)

    rng, suggester, goals = random.Random(seed), make(), []
    for step in range(160):
        seen = [rng.randrange(1 + step // 2 if step % 3 else 60) for _ in range(3)]
        captions = [f"s{i} f{i % 7} g{i % 3}.|{rng.randrange(2)}" for i in seen]
        ask = suggester.recall if rng.random() < 0.2 else suggester.suggest
        goals.append(ask(situations(*captions)))
        if step in resumes:
            state = saved(suggester)
            suggester = make()
            suggester.load_state_dict(state)
    return json.dumps([goals, suggester.metrics(), saved(suggester)], sort_keys=True)


@pytest.mark.parametrize("every", [0, 1, 7])
@pytest.mark.parametrize("seed", range(4))
def test_a_resumed_suggester_goes_on_as_one_that_was_not(monkeypatch, every, seed):
    monkeypatch.setattr(asking, "COUNTED", 20)
    monkeypatch.setattr(answered_captions, "CACHED", 20)
    resumes = random.Random(seed + 1).sample(range(160), 6)
    assert wander(every, seed, resumes) == wander(every, seed, ())


def test_rare_captions_are_forgotten_but_counted(monkeypatch):
    monkeypatch.setattr(asking, "COUNTED", 20)
    suggester = suggester_of(Model(), every=10**6)
    for i in range(BATCH + 100):
        suggester.suggest(situations(f"s{i}.", "often."))
    assert len(saved(suggester)["queue"]["frames"]) <= 40
    assert suggester.metrics()["llm/distinct"] == BATCH + 101
