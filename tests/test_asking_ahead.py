"""Asking ahead: while a language model has not answered, training goes on."""

import json
import threading
import time

import pytest

from ellm_agent.errors import UserError
from ellm_agent.goals import LanguageModelSuggester, language
from ellm_agent.goals.language import BATCH, GOALLESS
from ellm_agent.goals.nearest import NearestScene
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.llm.budget import Metered, Price, price_of, tokens
from ellm_agent.llm.estimate import growth
from ellm_agent.records import Situation
from prompts import open_ended


def situations(*captions):
    return [Situation(caption, ()) for caption in captions]


class Model(LanguageModel):
    """Answers with a goal named after the scene, unless told otherwise; keeps what it was asked."""

    description, source, name = "a model", "http://somewhere/v1", "m"

    def __init__(self, immediate=True, held=None, errors=()):
        self.immediate, self.held, self.asked = immediate, held, []
        self.errors = dict(errors)  # scene -> what is told instead

    def answer(self, prompts):
        if self.held:
            self.held.wait(5)
        scenes = [open_ended.caption_of(prompt.user) for prompt in prompts]
        self.asked += scenes
        return [self.errors.get(scene) or Answer(f"- do {scene}") for scene in scenes]


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


def test_which_scene_is_closest_is_looked_up_once_until_there_are_more():
    looked_up = []

    def facts(scene):
        looked_up.append(scene)
        return scene

    nearest = NearestScene(facts)
    assert nearest.find("ab") == []
    nearest.add("ax")
    looked_up.clear()
    assert [nearest.find("ab"), nearest.find("ab")] == [["ax"], ["ax"]]
    assert looked_up == ["ab"]
    nearest.add("abc")
    assert nearest.find("ab") == ["abc", "ax"]
    assert len(nearest) == 2


NO_GOALS = {
    "no goals": Answer("Let me think about it:"),
    "an empty answer": LanguageModelError("no words", "empty"),
    "a refusal": LanguageModelError("would rather not", "refused"),
}


@pytest.mark.parametrize("what", NO_GOALS)
def test_a_scene_without_goals_lends_none(what):
    model = Model(errors={"a b c.": NO_GOALS[what]})
    suggester = LanguageModelSuggester(model, "open", facts=str.split, every=1)
    suggester.suggest(situations("a b c.", "c d."))
    model.errors["a b."] = LanguageModelError("gone", "timeout")
    for one in (suggester, resumed(suggester, model)):
        assert one.suggest(situations("a b.", "a b c.")) == [("do c d",)] * 2
    assert model.asked.count("a b c.") == 1
    assert suggester.metrics()["llm/scenes"] == (2 if what == "no goals" else 1)
    assert suggester.metrics()["llm/distinct"] == 3


def resumed(suggester, model, **options):
    other = LanguageModelSuggester(model, "open", facts=str.split, every=1, **options)
    other.restore(json.loads(json.dumps(suggester.state())))
    assert other.metrics() == suggester.metrics()
    return other


def test_as_long_as_no_scene_has_goals_nothing_is_known():
    model = Model(errors={"a.": NO_GOALS["no goals"], "b.": NO_GOALS["a refusal"]})
    suggester = LanguageModelSuggester(model, "open", every=1)
    assert suggester.suggest(situations("a.", "b.")) == [(), None]
    assert suggester.recall(situations("a.", "b.", "c.")) == [(), None, None]


@pytest.mark.parametrize("resume", [False, True])
def test_a_model_that_never_suggests_anything_is_told_of_once(capsys, resume):
    answers = [*NO_GOALS.values()]
    model = Model(errors={f"{i}.": answers[i % 3] for i in range(3 * GOALLESS)})
    suggester = LanguageModelSuggester(model, "open", every=1)
    suggester.suggest(situations(*[f"{i}." for i in range(GOALLESS - 1)]))
    assert "warning" not in capsys.readouterr().err
    if resume:
        suggester = resumed(suggester, model)
    for i in range(GOALLESS, GOALLESS + 9 if resume else 3 * GOALLESS):
        suggester.suggest(situations(f"{i}."))
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert f"the first {GOALLESS} answers of a model suggest no goal; experiments/inspect_prompts.py" in told


def test_one_goal_shows_that_a_model_can_follow(capsys):
    model = Model(errors={f"{i}.": NO_GOALS["no goals"] for i in range(1, 3 * GOALLESS)})
    suggester = LanguageModelSuggester(model, "open")
    suggester.suggest(situations(*[f"{i}." for i in range(3 * GOALLESS)]))
    assert suggester.metrics()["llm/without_goals"] == 3 * GOALLESS - 1
    assert capsys.readouterr().err == ""


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


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("kind", ["server_error", "empty", "refused"])
def test_told_to_stop_it_stops(every, kind, capsys):
    error = LanguageModelError("gone", kind)
    model = Model(errors={"bad.": error})
    suggester = LanguageModelSuggester(model, "open", every=every, stop_on_failure=True)
    with pytest.raises(LanguageModelError, match="gone"):
        suggester.suggest(situations("good.", "bad."))
    suggester.close()
    assert capsys.readouterr().err == ""  # the error says it all


@pytest.mark.parametrize("every", [0, 1])
def test_a_run_that_never_got_an_answer_says_so_at_its_end(every, capsys):
    model = Model(errors={f"{i}.": LanguageModelError("no", "timeout") for i in range(9)})
    suggester = LanguageModelSuggester(model, "open", every=every)
    for i in range(9):
        suggester.suggest(situations(f"{i}."))
    capsys.readouterr()
    suggester.close()
    suggester.close()
    told = capsys.readouterr().err
    assert told.startswith("warning: a model gave no usable answer, so the run had no goals; ")
    assert told.count("\n") == 1


def test_what_ended_a_run_is_told_once(capsys):
    kinds = {"a.": "rate_limited", "b.": "rejected"}
    model = Model(errors={scene: LanguageModelError("no", kind) for scene, kind in kinds.items()})
    suggester = LanguageModelSuggester(model, "open")
    for scene in "a.", "a.":  # fails, pauses
        suggester.suggest(situations(scene))
    with pytest.raises(LanguageModelError):
        suggester.suggest(situations("b."))
    capsys.readouterr()
    suggester.close()
    assert capsys.readouterr().err == ""


def test_other_runs_end_in_silence(capsys):
    unused = LanguageModelSuggester(Model(), "open")
    unused.recall(situations("a."))
    unused.close()
    used = LanguageModelSuggester(Model(), "open")
    used.suggest(situations("a."))
    used.close()
    assert capsys.readouterr().err == ""


def test_a_server_cannot_paint_the_terminal(capsys):
    told = LanguageModelError("\x1b]0;title\x07busy\nbox \u202e", "rate_limited")
    model = Model(errors={"a.": told})
    model.description = "m\x1b[31m"
    suggester = LanguageModelSuggester(model, "open")
    suggester.suggest(situations("a."))
    suggester.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(r"warning: \x1b]0;title\x07busy box \u202e; new scenes")
    assert lines[1].startswith(r"warning: m\x1b[31m gave")
    assert suggester.description == r"open-form goals from m\x1b[31m"


def test_by_default_it_goes_on_and_counts_each_kind(capsys):
    kinds = {"a.": "timeout", "b.": "timeout", "c.": "malformed", "d.": "empty", "e.": "refused"}
    model = Model(errors={scene: LanguageModelError("no", kind) for scene, kind in kinds.items()})
    suggester = LanguageModelSuggester(model, "open", every=1)
    told = suggester.suggest(situations("good.", *kinds))
    # Those that failed have the goals of the closest scene.
    assert told == [("do good",)] * 6
    suggester.suggest(situations(*kinds))
    assert [model.asked.count(scene) for scene in kinds] == [
        2,
        2,
        2,
        1,
        1,
    ]  # nothing to say is an answer, too
    metrics = suggester.metrics()
    assert metrics["llm/failures"] == 8
    assert metrics["llm/failed_timeout"] == 4
    assert [metrics[f"llm/failed_{kind}"] for kind in ("malformed", "empty", "refused")] == [2, 1, 1]
    assert metrics["llm/scenes"] == 1


@pytest.mark.parametrize("kind", ["rejected", "unreachable"])
def test_a_first_request_that_cannot_succeed_is_no_bad_luck(kind):
    model = Model(errors={"a.": LanguageModelError("wrong address", kind)})
    with pytest.raises(LanguageModelError, match="wrong address"):
        LanguageModelSuggester(model, "open", every=1).suggest(situations("a."))


def test_failures_that_were_under_way_together_are_one(capsys):
    scenes = [f"{i}." for i in range(8)]
    model = Model(immediate=False, errors=dict.fromkeys(scenes, LanguageModelError("busy", "server_error")))
    suggester = LanguageModelSuggester(model, "open", every=1, in_flight=4)
    suggester.suggest(situations(*scenes))
    deadline = time.monotonic() + 5
    while not all(future.done() for future in suggester._under_way) and time.monotonic() < deadline:
        time.sleep(0.01)
    suggester.suggest(situations("0."))
    assert suggester.metrics()["llm/failures"] == 8
    assert suggester._pause == 1  # not 2 ** 7
    suggester.close()


def test_a_replay_ends_at_one_question_of_many_that_was_never_asked():
    model = Model(errors={"b.": LanguageModelError("never asked: b.", "never_asked")})
    with pytest.raises(LanguageModelError, match="never asked: b"):
        LanguageModelSuggester(model, "open").suggest(situations("a.", "b.", "c."))


def test_a_busy_server_from_the_start_is_a_warning(capsys):
    model = Model(errors={"a.": LanguageModelError("busy", "rate_limited")})
    suggester = LanguageModelSuggester(model, "open")
    assert suggester.suggest(situations("a.")) == [None]
    assert "warning: busy" in capsys.readouterr().err


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

    # 100 tokens read, set aside as 150, and 10 written: $ 0.0001 + 0.00002 each.
    model = Metered(Costly(), Price(1.0, 2.0), budget_usd=0.00100)
    answers = [answer for _ in range(20) for answer in model.answer([prompt(400, 10)])]
    paid = [answer for answer in answers if isinstance(answer, Answer)]
    assert len(paid) == 7  # an eighth could cost 0.00084 + 0.00017
    assert {answer.kind for answer in answers[7:]} == {"over_budget"}
    assert model.metrics()["llm/usd"] == pytest.approx(7 * 0.00012)
    together = Metered(Costly(), Price(1.0, 2.0), budget_usd=0.00100)
    told = together.answer([prompt(400, 10)] * 20)  # all under way at once: what each may cost is set aside
    assert sum(isinstance(answer, Answer) for answer in told) == 5


def test_failures_that_cost_are_paid_from_the_budget():
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
    told = [model.answer([prompt(400, 10)])[0] for _ in range(3)]
    assert [isinstance(answer, Answer) for answer in told] == [
        True,
        True,
        False,
    ]  # 102, 204, and at most 160 more
    assert model.metrics()["llm/tokens_read"] == 200
    assert model.metrics()["llm/tokens_written"] == 4
    assert "llm/usd" not in model.metrics()
    other = Metered(Silent(), None, budget_tokens=300)
    other.restore(json.loads(json.dumps(model.state())))
    assert other.metrics() == model.metrics()


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
    suggester = LanguageModelSuggester(model, "open", stop_on_failure=True)
    assert suggester.suggest(situations("a.")) == [("sleep",)]
    for _ in range(50):
        assert suggester.suggest(situations("a.", "b.")) == [("sleep",), None]
    assert len(model.asked) == 2
    assert capsys.readouterr().err.count("budget is spent") == 1


@pytest.mark.parametrize("every", [0, 5])
def test_what_is_kept_at_hand_is_bounded(monkeypatch, every):
    monkeypatch.setattr(language, "REMEMBERED", 20)
    suggester = LanguageModelSuggester(Model(), "open", every=every)
    for i in range(200):
        (goals,) = suggester.suggest(situations(f"s{i % 90}."))
        assert goals is None or goals[0] == f"do s{i % 90}" or every
    assert max(len(suggester._scenes), len(suggester._gathered)) <= 20
    assert len(suggester._met) <= 40
    assert suggester.metrics()["llm/distinct"] >= 90
    if every:
        state = json.loads(json.dumps(suggester.state()))
        resumed = LanguageModelSuggester(Model(), "open", every=every)
        resumed.restore(state)
        more = [situations(f"s{i % 90}.") for i in range(200, 300)]
        assert [suggester.suggest(one) for one in more] == [resumed.suggest(one) for one in more]
