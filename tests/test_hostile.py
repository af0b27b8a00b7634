"""What strangers may put before the program: anything may be refused, in one line; nothing may raise anything else.

Ten thousand cases, together with the properties of the single parsers in test_prompts.py and test_captions.py.
"""

import contextlib
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from ellm_agent.llm.wire import read_reply
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.text.phrases import PhraseTable
from envs.crafter import captions
from prompts import closed_form, open_ended
from tests.runs.test_checkpoints import PARTS, encode, load, make_agent, save

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
        section, _, rest = name.partition(".")
        if rest:
            data.setdefault(section, {})[rest] = value
        else:
            data[section] = value
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
    captions.facts(text)
    captions.brief(text)
    assert isinstance(captions.facts(captions.brief(text)), frozenset)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_a_recorded_episode_and_as_a_log(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    (folder / "episode.json").write_bytes(content)
    refused_in_one_line(Recording.load, folder / "episode.json")
    (folder / "metrics.jsonl").write_bytes(content)
    refused_in_one_line(Run(folder, PRESETS["debug"]).read, "metrics")
    refused_in_one_line(Run(folder, PRESETS["debug"]).forget_after, {"metrics": 1})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint, and an agent that it fits."""
    folder = tmp_path_factory.mktemp("checkpoints")
    phrases = PhraseTable(encode)
    agent = make_agent(phrases)
    agent.learn(60)
    save(folder, agent, phrases, seconds=1.0)
    return folder, agent


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(PARTS), st.binary(max_size=200), st.integers(0, 4000), st.booleans(), st.booleans())
def test_any_damage_to_a_checkpoint(whole, tmp_path_factory, part, content, place, cut, believed):
    """Bytes overwritten or cut off somewhere; also where the manifest was made to agree."""
    folder, agent = whole
    damaged = tmp_path_factory.getbasetemp() / "damaged"
    if not damaged.exists():
        shutil.copytree(folder, damaged)
    (good,), (path,) = folder.iterdir(), damaged.iterdir()
    for name in PARTS:  # as the case before left them
        if (path / name).stat().st_size != (good / name).stat().st_size or name in last:
            shutil.copy(good / name, path / name)
    last[:] = [part, "manifest.json"]
    old = (path / part).read_bytes()
    place = min(place, len(old))
    new = old[:place] + content + (b"" if cut else old[place + len(content) :])
    (path / part).write_bytes(new)
    if believed and part != "manifest.json":
        rewrite_manifest(path)
    if new != old and not believed:
        with pytest.raises(UserError):
            checkpoints.latest(damaged)
        return

    def all_of_it():
        found = checkpoints.latest(damaged)
        checkpoints.load_phrases(found)
        load(found, agent)

    refused_in_one_line(all_of_it)


@settings(max_examples=500, deadline=None)
@given(JSON, st.dictionaries(st.sampled_from(["agent", "worlds", "generators", "seconds"]), JSON))
def test_any_state_in_a_checkpoint(whole, tmp_path_factory, phrases, state):
    """Well-formed files, with anything in them."""
    folder, agent = whole
    strange = tmp_path_factory.getbasetemp() / "strange"
    shutil.rmtree(strange, ignore_errors=True)
    shutil.copytree(folder, strange)
    (path,) = strange.iterdir()
    known = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(known | state))
    (path / "phrases.json").write_text(json.dumps(phrases))
    save_file({"vectors": np.zeros((2, 3), np.float32)}, path / "phrases.safetensors")
    torch.save({"policy": {"q_net": torch.zeros(2)}}, path / "parameters.pt")
    rewrite_manifest(path)
    refused_in_one_line(checkpoints.load_phrases, path)
    refused_in_one_line(load, path, agent)


last = []  # parts of the checkpoint that the case before has damaged


def rewrite_manifest(path):
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"] = {name: checkpoints._sha256(path / name) for name in manifest["files"]}
    (path / "manifest.json").write_text(json.dumps(manifest))
