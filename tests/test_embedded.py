"""The model in the box: what it answers, how it is made, and that it is the same over HTTP."""

import dataclasses
import itertools
import json
import threading

import httpx2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ellm_agent.config import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.goals.quality import BINS
from ellm_agent.llm.advice import sensible_goals
from ellm_agent.llm.base import Prompt
from ellm_agent.llm.embedded import EmbeddedModel
from ellm_agent.llm.openai_client import OpenAIModel
from ellm_agent.llm.server import make_server
from ellm_agent.main import run_experiment
from ellm_agent.suggester import measure, sft
from envs.captions import brief
from envs.scenes import scenes
from prompts import closed_form, open_ended

SCENES = [
    "You see grass, tree.",
    "You see cow, grass, water. You feel hungry.",
    "You see coal, path, stone. You have in your inventory wood pickaxe.",
]


@pytest.fixture(scope="module")
def model():
    return EmbeddedModel()


@pytest.fixture
def served(model):
    server = make_server(model, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def questions(temperature):
    asked = [open_ended.prompt(scene, ("chop", "eat"), temperature=temperature) for scene in SCENES]
    return asked + [closed_form.prompt(scene, goal) for scene in SCENES for goal in ("chop tree", "eat cow")]


def same(one, other):
    assert [answer.text for answer in one] == [answer.text for answer in other]
    for a, b in zip(one, other, strict=True):
        assert list(a.logprobs) == list(b.logprobs)
        assert list(a.logprobs.values()) == pytest.approx(list(b.logprobs.values()), abs=1e-4)


def test_it_suggests_what_can_be_seen(model):
    told = [open_ended.parse(answer.text) for answer in model.answer(questions(0.0)[:3])]
    assert "chop tree" in told[0]
    assert {"eat cow", "drink water"} <= set(told[1])
    assert {"mine coal", "mine stone"} <= set(told[2])
    assert not {"chop tree", "eat cow"} & set(told[2])


def test_it_says_yes_and_no(model):
    p = [closed_form.probability_of_yes(a.text, a.logprobs) for a in model.answer(questions(0.0)[3:])]
    (tree, cow), (tree_2, cow_2), (tree_3, cow_3) = p[:2], p[2:4], p[4:]
    assert tree > 0.5 > cow
    assert cow_2 > 0.5 > tree_2
    assert max(tree_3, cow_3) < 0.5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_depends_on_its_question_alone(model, temperature):
    asked = questions(temperature)
    together = model.answer(asked)
    same(together, [model.answer([prompt])[0] for prompt in asked])
    same(together, EmbeddedModel().answer(asked[::-1])[::-1])


def test_sampled_answers_differ_from_the_likeliest(model):
    asked = [
        open_ended.prompt(brief(s.caption), (), temperature=1.0) for s in scenes(itertools.count(7), 30, 0)
    ]
    likeliest = [dataclasses.replace(prompt, temperature=0.0) for prompt in asked]
    pairs = zip(model.answer(asked), model.answer(likeliest), strict=True)
    assert sum(one.text != other.text for one, other in pairs) > 15


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=2_000), st.integers(1, 300), st.booleans())
def test_it_answers_anything(text, most, logprobs):
    answer = EmbeddedModel.answer(_shared(), [Prompt("", text, most, 1.0, logprobs, "")])[0]
    open_ended.parse(answer.text)
    assert answer.answer_tokens <= most
    assert bool(answer.logprobs) == logprobs


def _shared(kept=[]):  # noqa: B006 - one model for all examples
    if not kept:
        kept.append(EmbeddedModel())
    return kept[0]


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        EmbeddedModel(tmp_path)


def test_it_is_as_good_as_its_card_says(model):
    """A fifth of the scenes of ``train_suggester.py measure``."""
    figures = measure.measure(model, 400)
    assert figures["readable"] >= 0.99
    for kind in BINS:
        assert figures[f"model_{kind}"] == pytest.approx(figures[f"corpus_{kind}"], abs=0.05)
    assert figures["closed_auc"] >= 0.95


def test_roc_auc_by_hand():
    # Positives .9, .5, .3 against negatives .5, .1: 2 + 1.5 + 1 of 6 pairs.
    scores, labels = np.array([0.9, 0.5, 0.5, 0.3, 0.1]), np.array([True, True, False, True, False])
    assert measure.roc_auc(scores, labels) == pytest.approx(4.5 / 6)


# --- over HTTP ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "completion"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_answers_the_same_over_http(model, served, api, temperature):
    remote = OpenAIModel("embedded", served, api=api)
    same(remote.answer(questions(temperature)), model.answer(questions(temperature)))
    assert remote.metrics()["llm/tokens_read"] > 0
    remote.close()


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("chat/completions", b"{", 400, "not JSON"),
        ("chat/completions", b"[]", 400, "JSON object"),
        ("chat/completions", b'{"messages": 3}', 400, "list of objects"),
        ("chat/completions", b'{"messages": []}', 400, "must be a text"),
        ("completions", b'{"prompt": ["a"]}', 400, "must be a text"),
        ("completions", b'{"prompt": "a", "max_tokens": -1}', 400, "max_tokens"),
        ("completions", b'{"prompt": "a", "temperature": "hot"}', 400, "temperature"),
        ("embeddings", b"{}", 404, "nothing at"),
    ],
)
def test_requests_that_make_no_sense_are_told_so(served, path, body, status, told):
    reply = httpx2.post(f"{served}/{path}", content=body)
    assert reply.status_code == status
    assert told in reply.json()["error"]["message"]


def test_its_server_names_the_model(model, served):
    assert httpx2.get(f"{served}/models").json()["data"][0]["id"] == model.name


def run_rows(folder, frames, **goals):
    config = dataclasses.replace(
        PRESETS["debug"],
        frames=frames,
        log_every=100,
        out=folder,
        tensorboard=False,
        replays=0,
        goals=dataclasses.replace(
            PRESETS["debug"].goals, llm_wait=True, llm_temperature=0.0, llm_cache="off", **goals
        ),
    )
    run = run_experiment(config)
    apart = ("seconds", "frames_per_second", "memory_mb")
    metrics = [
        {k: v for k, v in row.items() if k not in apart and not k.startswith("llm/")}
        for row in run.read("metrics")
    ]
    return run.read("episodes"), metrics, json.loads((folder / "summary.json").read_text())["suggestions"]


@pytest.mark.parametrize(("mode", "frames"), [("open", 400), ("closed", 100)])
def test_a_run_is_the_same_in_process_and_over_http(served, tmp_path, mode, frames):
    here = run_rows(tmp_path / "here", frames, goal_mode=mode, llm="embedded")
    there = run_rows(tmp_path / "there", frames, goal_mode=mode, llm_base_url=served, llm_model="embedded")
    assert here == there
    assert here[2]  # goals were suggested


# --- how it is made -----------------------------------------------------------------------------------------


def test_scenes_are_the_games_own():
    told = list(scenes(itertools.count(123), 120, seed=4))
    assert told == list(scenes(itertools.count(123), 120, seed=4))
    assert told != list(scenes(itertools.count(123), 120, seed=5))
    assert len({situation.caption for situation in told}) > 100
    for situation in told:
        if "You see" in situation.caption and "tree" in situation.caption.split(".")[0]:
            assert "chop tree" in situation.possible
    assert any(
        "make iron pickaxe" in situation.possible for situation in scenes(itertools.count(9), 1500, seed=6)
    )


def test_the_corpus_makes_mistakes_in_the_stated_proportions():
    corpus = sft.make_corpus(seed=3)
    captions = list(sft.captions(1_500, sft.TRAINING_WORLDS, seed=3))
    answers = [corpus.goals(caption) for caption in captions]
    sensible = [set(sensible_goals(caption)) for caption in captions]
    outside = np.mean([any(goal in sft_outside() for goal in told) for told in answers])
    assert outside == pytest.approx(0.15, abs=0.03)
    plain = [
        len(known & set(told)) / len(known) for known, told in zip(sensible, answers, strict=True) if known
    ]
    assert np.mean(plain) == pytest.approx(
        0.95 * (1 - 0.1 * 0.6), abs=0.03
    )  # some six in ten have other words
    asked = [corpus.closed(caption) for caption in captions]
    right = [
        (closed_form.caption_and_goal_of(question)[1] in known) == (answer == " Yes")
        for (question, answer), known in zip(asked, sensible, strict=True)
        if closed_form.caption_and_goal_of(question)[1] != "sleep"
    ]
    assert np.mean(right) == pytest.approx(0.97, abs=0.02)


def sft_outside():
    from ellm_agent.suggester.corpus import OUTSIDE

    return OUTSIDE


def test_training_is_seeded_and_learns(tmp_path):
    recipe = sft.Recipe(scenes=200, vocabulary=700, width=32, layers=1, heads=2, passes=6)
    told = []
    sft.train(recipe, tmp_path / "one", told.append)
    sft.train(recipe, tmp_path / "two", lambda _: None)
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()
    loss = float(told[-1].split("loss ")[1].split()[0])
    assert loss < 5.6  # log of the vocabulary: 6.5
    (answer,) = EmbeddedModel(tmp_path / "one").answer([closed_form.prompt(SCENES[0], "chop tree")])
    assert {" Yes", " No"} & set(answer.logprobs)


def test_the_tokenizer_writes_anything():
    tokenizer = sft.make_tokenizer(["You see grass, tree.\n- chop tree"] * 3, 300)
    for text in ("You see grass, tree.", "ünïcödé 🌲\t\x00", "\n- chop tree\n- sleep"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
