"""Judges: by rules with errors, and a language model asked in both orders."""

import itertools
import json
from types import SimpleNamespace

import pytest

from ellm_agent.config import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.experiment import language_model
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.llm.budget import Metered
from ellm_agent.preferences.judges import ClipModelJudge, SyntheticJudge, frames_with, true_reward
from ellm_agent.preferences.labels import JsonLines
from ellm_agent.preferences.suggestions import Scene, SuggestionChooser, scenes
from envs import registry
from envs.interface import Situation
from prompts import preference


def choices(judge, queries):
    return [label.choice for label in judge.judge(queries)]


def test_the_true_reward_decides(query):
    judge = SyntheticJudge("truth", true_reward, errors=0.0, seed=0)
    assert choices(judge, [query(2, 1), query(0, 1), query(1, 1)]) == ["left", "right", "tie"]


def test_a_share_of_the_answers_are_guesses(query):
    """With 40 % guesses, 20 % of the answers are wrong; a query that is asked again has the same answer."""
    judge = SyntheticJudge("truth", true_reward, errors=0.4, seed=0)
    queries = [query(1, 0, seed) for seed in range(1_000)]
    answers = choices(judge, queries)
    assert answers.count("right") == pytest.approx(200, abs=40)
    assert choices(judge, queries[::-1]) == answers[::-1]


def test_words_are_counted_in_captions(clip, reader):
    """The first state was there before the clip's first action."""
    assert frames_with("count 1", reader)(clip([1, 10, 11])) == 2.0
    assert frames_with("count 2", reader)(clip([1, 10, 11])) == 0.0


class Scripted(LanguageModel):
    """Answers by a rule on the question."""

    name = description = "scripted"

    def __init__(self, rule):
        self.rule, self.asked = rule, []

    def answer(self, prompts):
        self.asked += prompts
        return [self.rule(prompt.user) for prompt in prompts]


def ask(rule, reader, worlds, queries, aim=""):
    model = Scripted(rule)
    return choices(ClipModelJudge(model, reader, worlds.language, aim), queries), model


def better(user):
    """The clip in which water was drunk."""
    first, second = (("drink water" in part) for part in user.split("Clip B"))
    return Answer("tie" if first == second else "A" if first else "B")


def test_a_model_is_asked_in_both_orders(clip, query, reader, worlds):
    drinks = clip([3, 4, 5], ["drink water"])
    queries = [
        type(query(0, 0))(drinks, clip([0, 1, 2])),
        type(query(0, 0))(clip([0, 1, 2]), drinks),
        query(0, 0),
    ]
    answers, model = ask(better, reader, worlds, queries, aim="Who drinks?")
    assert answers == ["left", "right", "tie"]
    assert len(model.asked) == 6
    assert "Achieved for the first time: frame 2: drink water" in model.asked[0].user
    assert "frame 0: count 3" in model.asked[0].user
    assert "Who drinks?" in model.asked[0].system


def test_a_model_that_prefers_a_place_cannot_say(query, reader, worlds):
    assert ask(lambda user: Answer("A"), reader, worlds, [query(0, 1)])[0] == ["unsure"]


def test_a_pair_whose_question_failed_has_no_label(clip, query, reader, worlds, capsys):
    """It stays to be asked about; a server that is down is no opinion."""

    def rule(user):
        failed = user.startswith("Clip A\nAchieved for the first time: frame 2: drink water")
        return LanguageModelError("down", "timeout") if failed else better(user)

    drinks = type(query(0, 0))(clip([3, 4, 5], ["drink water"]), clip([0, 1, 2]))
    assert ask(rule, reader, worlds, [drinks, query(0, 0)])[0] == ["tie"]
    assert capsys.readouterr().err.count("warning: down") == 1


def test_an_answer_that_is_neither_is_cannot_say(query, reader, worlds):
    """Also where it is the only one of a turn."""
    for answer in (
        Answer("both"),
        LanguageModelError("no words", "empty"),
        LanguageModelError("no", "refused"),
    ):
        assert ask(lambda user, answer=answer: answer, reader, worlds, [query(0, 1)])[0] == ["unsure"]


def test_a_judge_that_only_answers_neither_way_is_named(query, reader, worlds):
    """After 20 questions, over all turns; one that could answer once may fail later."""
    model = Scripted(lambda user: Answer("\x1b[31mI like\nboth <b>"))
    judge = ClipModelJudge(model, reader, worlds.language)
    assert choices(judge, [query(0, 1)] * 9) == ["unsure"] * 9
    with pytest.raises(UserError) as error:
        judge.judge([query(0, 1)])
    assert str(error.value) == (
        "the judge scripted answered none of 20 questions with A, B, tie or unsure; "
        r"it said, for example, '\x1b[31mI like both <b>'"
    )
    model.rule = better
    judge = ClipModelJudge(model, reader, worlds.language)
    assert choices(judge, [query(0, 0)]) == ["tie"]
    model.rule = lambda user: Answer("both")
    assert choices(judge, [query(0, 1)] * 20) == ["unsure"] * 20


def test_a_spent_budget_ends_the_questions_and_is_kept_over_a_resume(query, reader, worlds):
    def answered(user):
        return Answer("tie", prompt_tokens=400, answer_tokens=1)

    def judge():
        metered = Metered(Scripted(answered), budget_tokens=2_000)
        return ClipModelJudge(metered, reader, worlds.language)

    one = judge()
    said = choices(one, [query(0, 0)] * 8)
    assert 0 < said.count("tie") < 8
    assert choices(one, [query(0, 0)]) == ["unsure"]
    other = judge()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert choices(other, [query(0, 0)] * 2) == ["unsure"] * 2
    assert other.metrics() == one.metrics()


@pytest.mark.parametrize(
    ("kind", "stops", "ends"),
    [
        ("timeout", False, False),
        ("timeout", True, True),
        ("unreachable", False, True),
        ("rejected", False, True),
    ],
)
def test_failures_end_training_if_they_are_to_or_if_nothing_was_ever_answered(
    kind, stops, ends, query, reader, worlds
):
    model = Scripted(lambda user: LanguageModelError("down", kind))
    judge = ClipModelJudge(model, reader, worlds.language, stop_on_failure=stops)
    if ends:
        with pytest.raises(LanguageModelError, match="down"):
            judge.judge([query(0, 1)])
    else:
        assert judge.judge([query(0, 1)]) == []
    model.rule = better
    assert choices(judge, [query(0, 0)]) == ["tie"]
    model.rule = lambda user: LanguageModelError("down", kind)
    if stops:
        with pytest.raises(LanguageModelError, match="down"):
            judge.judge([query(0, 1)])
    else:  # it has answered before
        assert judge.judge([query(0, 1)]) == []


@pytest.mark.parametrize(
    ("kind", "goals"), [("bundled", "none"), ("auto", "none"), ("script", "open"), ("recorded", "open")]
)
def test_a_model_that_only_suggests_goals_is_no_judge(kind, goals, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    changes = {"suggester.kind": goals, "suggester.llm.kind": kind, "reward.preference.labels": 20}
    config = PRESETS["default"].changed(**changes, **{"reward.preference.judge": "model"})
    named = "bundled" if kind == "auto" else kind
    with pytest.raises(UserError, match=f"judge is model, but what answers is {named}"):
        language_model(config, registry.get("crafter"))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A", "A"), ("b.", "B"), ("**Tie**", "tie"), ("Clip B", "B"), ("unsure", "unsure"), ("", None), ("maybe", None),
        ("A player that starves is worse, so B", "B"), ("<think>A or B? A!</think>B", "B"), ("a good clip", None),
        ("B" * 10_000, None), ("A is better than B", "A"), ("Clip A is better than clip B.", "A"), ("B wins over A", "B"),
        ("A, because B starves", "A"), ("tie (both A and B)", "tie"), ("**A** - B does nothing", "A"), ("I prefer A", "A"),
        ("A is worse than B", None), ("A or B", None), ("Compared with A, the answer is B.", "B"), ("It is a tie", "tie"),
        ("A and B do the same: tie", None), ("Between A and B, I choose clip A", "A"), ("A does nothing; B eats", None),
        ("A player that does nothing.", None), ("A: it sleeps. B: it eats.", None), ("A tie", "tie"), ("A was better", "A"), ("Both live. A clip of sleep: B", "B"),
    ],
)  # fmt: skip
def test_answers_are_read(text, read):
    assert preference.parse(text) == read


@pytest.fixture
def chooser(tmp_path):
    opened = SuggestionChooser(JsonLines(tmp_path / "choices.jsonl"), 9)
    for key in range(3):
        opened.offer(Scene(key, "You see tree.", ("a", "b", "c", "d")))
    return opened


def test_undo_takes_back_the_last_answer_also_if_it_was_cannot_say(chooser):
    chooser.choose(0, 3)
    chooser.choose(1, None)
    chooser.undo()
    assert (chooser.labels, chooser.state()["scene"]["key"]) == (1, 1)
    chooser.undo()
    assert (chooser.labels, chooser.state()["scene"]["key"]) == (0, 0)
    chooser.undo()
    assert chooser.waiting == 3


@pytest.mark.parametrize("choice", [[], {}, "0", None, True, 1.0, 4, -1])
def test_a_choice_that_is_none_is_refused(chooser, choice):
    pytest.importorskip("starlette")
    assert chooser.posts()["choice"]({"key": 0, "choice": choice}).status_code == 400
    assert chooser.labels == 0


@pytest.mark.parametrize("scene", ["x", None, True])
def test_a_damaged_row_of_choices_is_named(tmp_path, scene):
    file = JsonLines(tmp_path / "choices.jsonl")
    file.append({"scene": scene})
    with pytest.raises(UserError, match=rf"line 1: scene is {scene!r}, which is no number"):
        SuggestionChooser(file, 1)


def test_four_different_answers_are_asked_for(worlds):
    """A model whose answer is a function of the prompt is asked at other temperatures; one that says one thing is named."""
    world = SimpleNamespace(
        situation_language=lambda protocol: worlds.language,
        situations=lambda first, count, seed, protocol: (
            (Situation(f"Frame {n}."), None) for n in range(count)
        ),
    )
    model = Scripted(None)
    model.answer = lambda prompts: [Answer(f"- count {prompt.temperature:.2f}") for prompt in prompts]
    first, second = itertools.islice(scenes(world, model, seed=0, skip=3), 2)
    assert (first.key, first.caption, second.caption) == (3, "Frame 3.", "Frame 4.")
    assert first.answers == ("- count 1.00", "- count 1.01", "- count 1.02", "- count 1.03")
    model.answer = lambda prompts: [Answer("- count")] * len(prompts)
    with pytest.raises(UserError, match="fewer than 4 different answers"):
        next(scenes(world, model, seed=0))


def test_the_configuration_names_the_model_that_judges(monkeypatch):
    """So a run that is resumed in another shell asks the same."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    taught = {"suggester.kind": "none", "suggester.llm.model": "m", "reward.preference.labels": 10}
    config = PRESETS["debug"].changed(**taught, **{"reward.preference.judge": "model"})
    asked = language_model(config, registry.get("crafter"))
    assert (asked.kind, asked.base_url, asked.model) == ("endpoint", "http://127.0.0.1:1/v1", "m")
    synthetic = PRESETS["debug"].changed(**taught)
    assert language_model(synthetic, registry.get("crafter")) == synthetic.suggester.llm
