"""Failed answers, and answers without goals: what is suggested, counted and reported."""

import threading
import time

import pytest

from ellm_agent.goals.language_model import FORMAT_CHECK
from ellm_agent.llm.base import LanguageModelError
from tests.helpers.scene_model import NO_GOALS, Model, resumed, situations, suggester_of


@pytest.mark.parametrize("what", NO_GOALS)
def test_a_caption_without_goals_lends_none(what):
    model = Model(errors={"a b c.": NO_GOALS[what]})
    suggester = suggester_of(model, every=1)
    suggester.suggest(situations("a b c.", "c d."))
    model.errors["a b."] = LanguageModelError("gone", "timeout")
    own = () if what == "no goals" else ("do c d",)  # an answer stands; without one, goals are borrowed
    for one in (suggester, resumed(suggester, model)):
        assert one.suggest(situations("a b.", "a b c.")) == [("do c d",), own]
    assert model.asked.count("a b c.") == 1
    assert suggester.metrics()["llm/scenes"] == (2 if what == "no goals" else 1)
    assert suggester.metrics()["llm/distinct"] == 3


def test_as_long_as_no_scene_has_goals_nothing_is_known():
    model = Model(errors={"a.": NO_GOALS["no goals"], "b.": NO_GOALS["a refusal"]})
    suggester = suggester_of(model, "open", every=1)
    assert suggester.suggest(situations("a.", "b.")) == [(), None]
    assert suggester.recall(situations("a.", "b.", "c.")) == [(), None, None]


@pytest.mark.parametrize("resume", [False, True])
def test_a_model_that_never_suggests_anything_is_told_of_once(capsys, resume):
    answers = [*NO_GOALS.values()]
    model = Model(errors={f"{i}.": answers[i % 3] for i in range(3 * FORMAT_CHECK)})
    suggester = suggester_of(model, "open", every=1)
    suggester.suggest(situations(*[f"{i}." for i in range(FORMAT_CHECK - 1)]))
    assert "warning" not in capsys.readouterr().err
    if resume:
        suggester = resumed(suggester, model)
    for i in range(FORMAT_CHECK, FORMAT_CHECK + 9 if resume else 3 * FORMAT_CHECK):
        suggester.suggest(situations(f"{i}."))
    told = capsys.readouterr().err
    assert told.count("warning") == 1
    assert (
        f"the first {FORMAT_CHECK} answers of a model suggest no goal; experiments/inspect_prompts.py" in told
    )


def test_one_goal_shows_that_a_model_can_follow(capsys):
    model = Model(errors={f"{i}.": NO_GOALS["no goals"] for i in range(1, 3 * FORMAT_CHECK)})
    suggester = suggester_of(model, "open")
    suggester.suggest(situations(*[f"{i}." for i in range(3 * FORMAT_CHECK)]))
    assert suggester.metrics()["llm/without_goals"] == 3 * FORMAT_CHECK - 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("kind", ["server_error", "empty", "refused"])
def test_told_to_stop_it_stops(every, kind, capsys):
    error = LanguageModelError("gone", kind)
    model = Model(errors={"bad.": error})
    suggester = suggester_of(model, "open", every=every, stop_on_failure=True)
    with pytest.raises(LanguageModelError, match="gone"):
        suggester.suggest(situations("good.", "bad."))
    suggester.close()
    assert capsys.readouterr().err == ""  # the error says it all


@pytest.mark.parametrize("every", [0, 1])
def test_a_run_that_never_got_an_answer_says_so_at_its_end(every, capsys):
    model = Model(errors={f"{i}.": LanguageModelError("no", "timeout") for i in range(9)})
    suggester = suggester_of(model, "open", every=every)
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
    suggester = suggester_of(model, "open")
    for scene in "a.", "a.":  # fails, pauses
        suggester.suggest(situations(scene))
    with pytest.raises(LanguageModelError):
        suggester.suggest(situations("b."))
    capsys.readouterr()
    suggester.close()
    assert capsys.readouterr().err == ""


def test_other_runs_end_in_silence(capsys):
    unused = suggester_of(Model(), "open")
    unused.recall(situations("a."))
    unused.close()
    used = suggester_of(Model(), "open")
    used.suggest(situations("a."))
    used.close()
    assert capsys.readouterr().err == ""


def test_a_server_cannot_paint_the_terminal(capsys):
    told = LanguageModelError("\x1b]0;title\x07busy\nbox \u202e", "rate_limited")
    model = Model(errors={"a.": told})
    model.description = "m\x1b[31m"
    suggester = suggester_of(model, "open")
    suggester.suggest(situations("a."))
    suggester.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(r"warning: \x1b]0;title\x07busy box \u202e; new captions")
    assert lines[1].startswith(r"warning: m\x1b[31m gave")
    assert suggester.description == r"open-form goals from m\x1b[31m"


def test_by_default_it_goes_on_and_counts_each_kind(capsys):
    kinds = {"a.": "timeout", "b.": "timeout", "c.": "malformed", "d.": "empty", "e.": "refused"}
    model = Model(errors={scene: LanguageModelError("no", kind) for scene, kind in kinds.items()})
    suggester = suggester_of(model, "open", every=1)
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
        suggester_of(model, "open", every=1).suggest(situations("a."))


def test_failures_that_were_in_flight_together_are_one(capsys):
    captions = [f"{i}." for i in range(8)]
    held = threading.Event()
    errors = dict.fromkeys(captions, LanguageModelError("busy", "server_error"))
    model = Model(in_process=False, held=held, errors=errors)
    suggester = suggester_of(model, every=1, in_flight=4)
    suggester.suggest(situations(*captions))
    held.set()
    deadline = time.monotonic() + 5
    while suggester.metrics()["llm/failures"] < 8 and time.monotonic() < deadline:
        time.sleep(0.1)
        suggester.suggest(situations("0."))
    model.errors.clear()
    time.sleep(0.05)
    for _ in range(8):  # a pause of 1 or 2 calls, not of 2 ** 7
        suggester.suggest(situations("0."))
        time.sleep(0.02)
    assert suggester.suggest(situations("0."))[0] is not None
    assert capsys.readouterr().err.count("warning") == 1
    suggester.close()


def test_a_replay_ends_at_one_question_of_many_that_was_never_asked():
    model = Model(errors={"b.": LanguageModelError("never asked: b.", "never_asked")})
    with pytest.raises(LanguageModelError, match="never asked: b"):
        suggester_of(model, "open").suggest(situations("a.", "b.", "c."))


def test_a_busy_server_from_the_start_is_a_warning(capsys):
    model = Model(errors={"a.": LanguageModelError("busy", "rate_limited")})
    suggester = suggester_of(model, "open")
    assert suggester.suggest(situations("a.")) == [None]
    assert "warning: busy" in capsys.readouterr().err
