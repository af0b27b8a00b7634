"""Input from strangers: anything may be refused, in one line; nothing may raise anything else.

Ten thousand cases, together with the properties of the single parsers in test_prompts.py and test_captions.py.
"""

import contextlib
import io
import json
from dataclasses import asdict

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from ellm_agent.llm.wire import read_reply
from ellm_agent.lm_training.suggestions import read_logs
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.text.phrases import PhraseTable
from envs import registry
from envs.crafter import captions
from prompts import closed_form, open_ended
from tests.runs.test_checkpoints import encode, load, make_agent, save

TEXT = st.text(st.characters(exclude_categories=()), max_size=80)
SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-(10**400), 10**400) | st.floats() | TEXT
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)
NAMES = list(config_files.flatten(Config()))


def refused_in_one_line(function, *arguments):
    """Whatever else it raises fails the test; a ``UserError`` is one line by construction."""
    with contextlib.suppress(UserError):
        function(*arguments)


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=200) | TEXT.map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_as_a_configuration(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    refused_in_one_line(config_files.load, path)


@settings(max_examples=1500, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), SCALARS | st.lists(SCALARS, max_size=2), max_size=3), JSON)
def test_any_values_in_a_configuration(tmp_path_factory, values, stray):
    data = {}
    for name, value in values.items():
        *sections, field = name.split(".")
        part = data
        for section in sections:
            part = part.setdefault(section, {})
        part[field] = value
    if isinstance(stray, dict):
        data |= stray
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    try:
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
    except (UnicodeEncodeError, yaml.YAMLError):
        return
    refused_in_one_line(config_files.load, path)


@pytest.mark.parametrize(
    "text", ["[" * 5000, "{a: " * 3000, "&a [*a]", "? {a: 1}\n: 2", "agent: &a {hidden: *a}"]
)
def test_twisted_yaml(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    refused_in_one_line(config_files.load, tmp_path / "c.yaml")


@settings(max_examples=2000, deadline=None)
@given(TEXT | JSON.map(json.dumps), st.dictionaries(TEXT, st.floats()))
def test_any_answer_of_a_language_model(text, logprobs):
    goals = open_ended.parse(text)
    assert all(goal and goal == goal.strip() for goal in goals)
    open_ended.refuses(text)
    assert 0 <= closed_form.probability_of_yes(text, logprobs) <= 1


@settings(max_examples=1000, deadline=None)
@given(
    st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(["chat", "completion"]),
)
def test_any_response_of_a_server(body, api):
    # As documented; the client counts these as malformed.
    with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        read_reply(body, api)


@settings(max_examples=1500, deadline=None)
@given(TEXT)
def test_any_text_as_a_caption(text):
    captions.clauses_of(text)
    captions.drop_target(text)
    assert isinstance(captions.clauses_of(captions.drop_target(text)), frozenset)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_a_recorded_episode_and_as_a_log(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / "episode.json").write_bytes(content)
    refused_in_one_line(Recording.load, folder / "episode.json")
    (folder / "metrics.jsonl").write_bytes(content)
    refused_in_one_line(Run(folder, PRESETS["debug"]).read, "metrics")
    refused_in_one_line(Run(folder, PRESETS["debug"]).truncate_logs, {"metrics": 1})


def test_any_value_in_a_recorded_episode(tmp_path):
    """A recording, with any value in place of one of its own."""
    recording = Recording(3, {"protocol": "crafter"}, actions=[0, 1], unlocked=("wake_up",))
    step = {"goals": ["sleep"], "open": [], "satisfied": [], "events": [], "reward": 0.0, "cosine": None}
    recording.steps = [step, step]
    good, path = asdict(recording), tmp_path / "episode.json"

    @settings(max_examples=500, deadline=None)
    @given(st.sampled_from(sorted(good)), JSON)
    def check(name, value):
        path.write_text(json.dumps(good | {name: value}))
        refused_in_one_line(Recording.load, path)

    check()


def test_any_value_in_a_row_of_suggestions(tmp_path):
    good = {
        "frames": 1, "world": "crafter", "prompt": open_ended.VERSION, "suggester": "open", "caption_form": "brief",
        "world_seed": 1, "frame": 0, "caption": "You see grass.", "goals": ["sleep"], "tokens": None, "before": [],
        "after": {"sleep": 3}, "frames_followed": 64, "ended": False, "achieved": ["sleep"], "usefulness": 1.0,
    }  # fmt: skip
    path, crafter = tmp_path / "suggestions.jsonl", registry.get("crafter")
    path.write_text(json.dumps(good))
    assert len(read_logs([path], crafter)) == 1

    @settings(max_examples=500, deadline=None)
    @given(st.sampled_from(sorted(good)), JSON | st.just(float("inf")))
    def check(name, value):
        path.write_text(json.dumps(good | {name: value}))
        refused_in_one_line(read_logs, [path], crafter)

    check()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint's file, and an agent that it fits."""
    folder = tmp_path_factory.mktemp("checkpoints")
    agent = make_agent(PhraseTable(encode))
    agent.learn(60)
    save(folder, agent, seconds=1.0)
    path, _ = checkpoints.latest(folder)
    return path, agent


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=200), st.floats(0, 1), st.booleans())
def test_any_damage_to_a_checkpoint(whole, tmp_path_factory, content, place, cut):
    """Bytes overwritten or cut off somewhere. Zip's padding is checked by nothing and may differ."""
    good, agent = whole
    old = good.read_bytes()
    at = int(place * len(old))
    new = old[:at] + content + (b"" if cut else old[at + len(content) :])
    path = tmp_path_factory.getbasetemp() / "damaged" / good.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(new)

    def all_of_it():
        state = checkpoints.read(path)
        checkpoints.load_phrases(state, path)
        load(path, agent)

    refused_in_one_line(all_of_it)


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["agent", "worlds", "phrases", "bonus", "counters", "format"]), JSON),
    st.dictionaries(st.sampled_from(["parameters", "replay", "frames", "generators", "pending"]), JSON),
)
def test_any_state_in_a_checkpoint(whole, tmp_path_factory, parts, agents):
    """Well-formed files, with anything in them."""
    good, agent = whole
    state = checkpoints.read(good)
    path = tmp_path_factory.getbasetemp() / "strange.pt"
    state["agent"] = state["agent"] | agents
    content = io.BytesIO()
    try:
        torch.save(state | parts, content)
    except (ValueError, OverflowError, UnicodeEncodeError):  # what cannot be pickled
        return
    path.write_bytes(content.getvalue())

    def all_of_it():
        state = checkpoints.read(path)
        checkpoints.load_phrases(state, path)
        checkpoints.load(state, path, agent, agent.env)

    refused_in_one_line(all_of_it)
