"""Prompts and their parsers, and the script that shows them."""

import dataclasses
import json
import math
import subprocess
import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ellm_agent.errors import UserError
from envs import registry
from prompts import closed_form, open_ended
from tests.helpers.llm_server import says, serve
from tests.helpers.questions import LANGUAGE

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


@pytest.mark.parametrize(
    ("answer", "goals"),
    [
        ('{"goals": ["Chop tree", "drink water."]}', ("chop tree", "drink water")),
        ('["chop tree", "- sleep"]', ("chop tree", "sleep")),
        ('Sure!\n```json\n{\n  "goals": [\n    "chop tree"\n  ]\n}\n```\nGood luck!', ("chop tree",)),
        ('```\n["chop tree"]\n```', ("chop tree",)),
        ('{"thoughts": ["a tree!"], "Goals" : ["chop tree"]}', ("chop tree",)),
        ('{"goals": []}', ()),
        ('{"goals": ["chop tree", 7, null, ["sleep"], {"a": 1}, "", "sleep"]}', ("chop tree", "sleep")),
        ('{"goals": ["chop tree", "drink wa', ("chop tree",)),
        ('{"goals": ["chop tree", "sleep",]}', ("chop tree", "sleep")),
        ('{"goals": "chop tree"}', ()),
        (r'["chop\u001b[31m tree", "\ud83c sleep", "eat\ncow"]', ("chop [31m tree", "sleep", "eat cow")),
        (json.dumps({"goals": ["x" * 101]}), ()),
        (json.dumps([f"goal {i}" for i in range(30)]), tuple(f"goal {i}" for i in range(20))),
        ('["' + "[" * 100_000, ()),
        ("[" * 100_000, ()),
        ('{"goals": ' + '[["a"], ' * 100_000, ("a",)),
        ("[" + "9" * 5_000 + "]", ()),
    ],
)  # fmt: skip
def test_answers_in_json(answer, goals):
    assert open_ended.parse(answer) == goals


@pytest.mark.parametrize(
    ("answer", "goals", "dropped"),
    [
        ("Sure!\n- chop tree", ("chop tree",), [("Sure!", "no bullet, unlike other lines")]),
        ("- sleep\n- Sleep.\n- **", ("sleep",), [("- Sleep.", "said before"), ("- **", "no words")]),
        (f"- {'x' * 101}", (), [(f"- {'x' * 101}", "longer than 100 characters")]),
        ("I'm sorry, but I can't.", (), [("I'm sorry, but I can't.", "a refusal")]),
        ("- I cannot help.\n- sleep", ("sleep",), [("- I cannot help.", "a refusal")]),
        ("Here is my list:\nsleep", ("sleep",), [("Here is my list:", "talk")]),
        ("<think>\n- eat cow\n</think>\n- sleep", ("sleep",), [("<think>\n- eat cow\n", "thoughts")]),
        ("<think>\n- eat cow", (), [("<think>\n- eat cow", "thoughts, without an end")]),
        ('Yes: ["sleep", 7]', ("sleep",), [("Yes: ", "outside of the list of goals"), ("<int>", "not a text")]),
        ('["sleep", "ea', ("sleep",), [('[, "ea', "not quite JSON")]),
        ('{"goal": "sleep"}', (), [('{"goal": "sleep"}', "JSON without a list of goals")]),
    ],
)  # fmt: skip
def test_dropped_lines_have_a_reason(answer, goals, dropped):
    assert open_ended.explain(answer) == (goals, dropped)


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, I cannot assist.\n\nIf you have another question, feel free to ask!", True),
        ("As an AI, I have no opinion.", True),
        ("As a large language model, I do not play.", True),
        ("**I am unable to answer.**", True),
        ("Unfortunately, I can't see the map.\n- chop tree", False),
        ("I cannot see a cow, so no.", False),
        ("Sorry, no.", False),
        ("- chop tree", False),
        ("Yes", False),
        ("", False),
    ],
)
def test_refusals_are_known(answer, refuses):
    assert open_ended.refuses(answer) is refuses


ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
# Scraps that a parser might trip over, in any order.
SCRAPS = st.lists(
    st.sampled_from(
        ["- ", "1. ", "[", "]", "{", "}", '"', "\\", ",", ":", '"goals"', "```json", "```", "\n", "chop tree"]
        + ["<think>", "</think>", "I'm sorry", "no", "\ud800", "\x1b", "\u2028", " ", "null", "1e999"]
    )
).map("".join)


@settings(deadline=None)
@given(ANY_TEXT | SCRAPS)
@example("\ud800")
@example('{"goals": ["\\ud800"]}')
def test_open_parser_never_raises_and_gives_clean_goals(text):
    goals, dropped = open_ended.explain(text)
    assert goals == open_ended.parse(text)
    assert len(goals) <= open_ended.MAX_GOALS
    assert len(set(goals)) == len(goals)
    for goal in goals:
        assert goal
        assert goal.isprintable()
        assert len(goal) <= open_ended.MAX_GOAL_CHARACTERS
    assert all(reason for _, reason in dropped)
    assert open_ended.refuses(text) in (True, False)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | ANY_TEXT,
        lambda of: st.lists(of) | st.dictionaries(ANY_TEXT, of),
    )
)
def test_any_json_is_read(value):
    for answer in (value, {"goals": value}, [value]):
        open_ended.explain(json.dumps(answer))
        open_ended.explain(json.dumps(answer, indent=1, ensure_ascii=False))


@pytest.mark.parametrize(
    "scrap",
    ["\n", " ", "a\n", "- ", "[", '["', '["a",', '{"goals":[', '"', "\\", "```", "```json\n[", "</think>", "I'm sorry "]
    + [".", "1.", ", so ", "Ġ", "\ud800", "_yes", '"goals" : '],
)  # fmt: skip
def test_a_million_characters_take_no_time(scrap):
    text = scrap * (10**6 // len(scrap))
    started = time.perf_counter()
    open_ended.explain(text)
    open_ended.refuses(text)
    closed_form.probability_of_yes(text, {text: -1.0})
    assert time.perf_counter() - started < 1


@settings(deadline=None)
@given(
    st.lists(
        st.from_regex(r"go [a-z]{1,8}( [a-z]{1,8}){0,2}", fullmatch=True),
        min_size=1,
        max_size=15,
        unique=True,
    )
)
def test_bullets_are_read_back(goals):
    assert open_ended.parse("\n".join(f"- {goal}" for goal in goals)) == tuple(goals)
    assert open_ended.parse(json.dumps({"goals": goals})) == tuple(goals)


def test_probability_of_yes_is_renormalised():
    logprobs = {"Yes": math.log(0.3), " yes": math.log(0.1), "No": math.log(0.2), "Maybe": math.log(0.4)}
    assert closed_form.probability_of_yes("No", logprobs) == pytest.approx(0.4 / 0.6)


@pytest.mark.parametrize(
    ("text", "p"), [("Yes.", 1), ("no", 0), ("Well, yes", 1), ("I think not", 0), ("", 0), ("No, yes", 0)]
)
def test_probability_of_yes_from_text(text, p):
    assert closed_form.probability_of_yes(text, {}) == p


@pytest.mark.parametrize(
    "token",
    ["YES.", " yes", "Ġyes", "▁Yes", "ĊYes", '"Yes"', "**Yes**", "yes\n", "Yes!", "\u00a0yes", "_Yes"],
)
def test_odd_spellings_of_a_token(token):
    no = token.replace("yes", "no").replace("Yes", "No").replace("YES", "NO")
    logprobs = {token: math.log(0.2), no: math.log(0.1)}
    assert closed_form.probability_of_yes("", logprobs) == pytest.approx(2 / 3)


@pytest.mark.parametrize("token", ["yesterday", "eyes", "noé", "yes/no", "not", "", "y", "ye\u017f"])
def test_other_tokens_count_for_nothing(token):
    assert closed_form.probability_of_yes("Yes", {token: 0.0, "No": -9.0}) == pytest.approx(0.0)
    assert closed_form.probability_of_yes("Yes", {token: 0.0}) == 1


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 5.0, 0.5])
def test_odd_log_probabilities_count_for_nothing(odd):
    assert closed_form.probability_of_yes("No", {"Yes": odd, "No": -1.0}) == 0
    assert closed_form.probability_of_yes("Yes", {"Yes": odd}) == 1


def test_rounded_log_probabilities_are_taken_for_certain():
    assert closed_form.probability_of_yes("", {"Yes": 1e-6, "No": -math.log(2)}) == pytest.approx(2 / 3)


@settings(deadline=None)
@given(ANY_TEXT | SCRAPS, st.dictionaries(ANY_TEXT | st.sampled_from(["Yes", " no"]), st.floats()))
def test_closed_parser_never_raises(text, logprobs):
    assert 0 <= closed_form.probability_of_yes(text, logprobs) <= 1


BRIEFING = """\
You advise a player in a survival game on a two-dimensional map. The player gathers resources, makes \
tools, places things, eats, drinks, sleeps and defends itself. Tools are made near a crafting table, \
and iron tools near a crafting table and a furnace. Stone and coal need a wood pickaxe, iron needs a \
stone pickaxe, diamond needs an iron pickaxe. A crafting table takes two wood, a furnace four stone. \
Wood tools take one wood, stone tools one wood and one stone, iron tools one wood, one coal and one \
iron. A plant can be eaten when it is ripe.
"""
OPEN_SYSTEM = f"""\
{BRIEFING}You are told what the player sees. Answer with what the player could sensibly do now: one short goal \
on each line, each starting with "- ", a verb and a noun, nothing else. Use only these verbs: \
mine, eat, attack, chop, drink, place, make, sleep, wake up."""
OPEN_USER = """\
You see grass, tree. You are targeting tree. You feel hungry.
What should the player do?
- chop tree
- chop grass

You see crafting table, grass, stone, zombie. You are targeting stone. You have in your inventory \
sapling, wood: 1, wood pickaxe. You feel sleepy.
What should the player do?
- mine stone
- attack zombie
- make wood sword
- place plant
- sleep

You see grass, tree, zombie. You have in your inventory wood: 2 or more. You are asleep.
What should the player do?
- wake up

You see grass.
What should the player do?
"""
CLOSED_SYSTEM = f"""\
{BRIEFING}You are told what the player sees, and one goal. Answer Yes if the goal makes sense and the player can \
achieve it now, and No otherwise. Answer with one word."""


def test_crafters_prompts_have_the_text_of_their_version():
    """A change of a single character needs a new version: recorded answers belong to this text."""
    language = registry.get("crafter").language()
    asked = open_ended.prompt("You see grass.", language)
    assert (asked.version, asked.system, asked.user) == ("open-3", OPEN_SYSTEM, OPEN_USER)
    asked = closed_form.prompt("You see grass.", "chop grass", language)
    assert (asked.version, asked.system) == ("closed-3", CLOSED_SYSTEM)
    assert asked.user == 'You see grass.\nShould the player "chop grass" now? Yes or No?'


def test_prompts_of_another_world_have_its_briefing_examples_and_verbs():
    asked = open_ended.prompt(CAPTION, LANGUAGE)
    assert asked.system.startswith("You advise a player.\nYou are told what the player sees.")
    assert asked.system.endswith("Use only these verbs: chop, drink.")
    question = "What should the player do?\n"
    assert asked.user == f"You see water.\n{question}- drink water\n\n{CAPTION}\n{question}"
    assert open_ended.caption_of(asked.user) == CAPTION
    assert asked.user.rstrip().split("\n\n")[-1] == f"{CAPTION}\n{open_ended.QUESTION}"
    assert (asked.schema, asked.temperature) == ("", open_ended.TEMPERATURE)
    asked = closed_form.prompt(CAPTION, "chop tree", LANGUAGE)
    assert asked.system.startswith("You advise a player.\nYou are told what the player sees, and one goal.")
    assert closed_form.caption_and_goal_of(asked.user) == (CAPTION, "chop tree")
    assert asked.logprobs


def test_prompts_of_a_world_without_briefing_and_examples():
    bare = dataclasses.replace(LANGUAGE, briefing="", examples=())
    assert open_ended.prompt(CAPTION, bare).user == f"{CAPTION}\nWhat should the player do?\n"
    assert open_ended.prompt(CAPTION, bare).system.startswith("You are told what the player sees.")
    assert closed_form.prompt(CAPTION, "sleep", bare).system.startswith("You are told what the player sees,")


def test_prompts_import_nothing_of_the_rest():
    code = "import sys, prompts.open_ended, prompts.closed_form; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"ellm_agent", "envs", "torch"} & {*done.stdout.split()}


def test_json_is_asked_for_by_schema_and_in_words():
    plain = open_ended.prompt(CAPTION, LANGUAGE, temperature=0.7)
    asked = open_ended.prompt(CAPTION, LANGUAGE, schema=True)
    assert plain.temperature == 0.7
    assert asked.user == plain.user
    assert (
        asked.system
        == plain.system + ' Write the goals as JSON, not as lines: {"goals": ["chop tree", ...]}.'
    )
    schema = json.loads(asked.schema)
    assert schema["required"] == ["goals"] == list(schema["properties"])
    assert schema["additionalProperties"] is False  # required by OpenAI's strict mode


# --- the script that shows prompts ----------------------------------------------------------------------


def inspect(*arguments):
    """Runs the script in this process."""
    from ellm_agent.cli import parse_options
    from experiments import inspect_prompts

    inspect_prompts.main(parse_options(inspect_prompts.Options, arguments, ""))


def test_prompts_can_be_inspected(capsys):
    answer = "Sure!\n- chop tree\n- attack \x1b[31mzombie\x07\n- chop tree\r"
    with serve(says(answer)) as server:
        where = ("--llm-base-url", server.url, "--llm-model", "m", "--llm-cache", "off")
        inspect("--caption", CAPTION, *where, "--llm-caption", "whole")
    shown = capsys.readouterr().out
    (request,) = server.requests
    for message in request["messages"]:
        assert f"--- {message['role']}\n{message['content'].rstrip()}\n" in shown
    assert CAPTION in shown
    assert "10 tokens read, 5 written" in shown
    assert "- attack \\x1b[31mzombie\\x07" in shown
    assert "--- goals\nchop tree\nattack [31mzombie\n" in shown
    assert "'Sure!': no bullet" in shown
    assert "'- chop tree': said before" in shown
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_closed_prompts_can_be_inspected(capsys):
    with serve() as server:
        where = ("--llm-base-url", server.url, "--llm-model", "m", "--llm-cache", "off")
        where += ("--llm-api", "completion")
        inspect("--caption", CAPTION, "--goal-mode", "closed", "--goal", "chop tree", *where)
    shown = capsys.readouterr().out
    assert f"--- prompt\n{server.requests[0]['prompt']}\n" in shown
    assert "'Yes': -0.105" in shown
    assert "0.900: suggested" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--goal-mode", "oracle"], "choose open or closed"),
        (["--goal-mode", "closed"], "--goal goes with"),
        (["--goal", "sleep"], "--goal goes with"),
        (["--captoin", "x"], "unknown option --captoin; did you mean --caption"),
        (["--llm-modle", "x"], "unknown option --llm-modle; did you mean --llm-model"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        inspect(*arguments)
