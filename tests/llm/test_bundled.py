"""The model in the box: what it answers, how it is made, and that it is the same over HTTP."""

import dataclasses
import itertools
import json
import shutil
import threading

import httpx2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ellm_agent.config.presets import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.experiment import run_experiment
from ellm_agent.goals.quality import BINS
from ellm_agent.llm.advice import sensible_goals
from ellm_agent.llm.base import Prompt
from ellm_agent.llm.bundled import FOLDER, EmbeddedModel
from ellm_agent.llm.client import OpenAIModel
from ellm_agent.llm.server import make_server
from ellm_agent.lm_training import measure, sft
from envs.crafter.captions import brief
from envs.crafter.scenes import scenes
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


def test_any_mix_of_questions_is_answered_as_each_alone(model):
    goals = [f"{verb} {noun}" for verb in ("eat", "place", "make") for noun in ("cow", "table", "plank " * 9)]
    asked = [
        *(
            closed_form.prompt(scene, goal) for scene in SCENES for goal in goals * 5
        ),  # more than fit in a row
        *(open_ended.prompt(scene, (), temperature=t) for t in (0.0, 0.1, 1.0) for scene in SCENES),
        *(
            Prompt("", text, 5, t, True, "")
            for text in ("", "x", "\n", "cow\n\n" * 99, "tree. " * 400)
            for t in (0, 1)
        ),
        *(dataclasses.replace(open_ended.prompt(SCENES[0], ()), max_tokens=most) for most in (1, 2, 3, 300)),
    ]
    asked = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))]
    each = {prompt: model.answer([prompt])[0] for prompt in asked}
    same(model.answer(asked), [each[prompt] for prompt in asked])


def test_no_questions_no_answers(model):
    assert model.answer([]) == []


def test_it_is_the_gpt2_that_transformers_reads(model):
    """Log-probabilities and likeliest answers of transformers' own module, which reads whole texts one by one."""
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    network = GPT2LMHeadModel.from_pretrained(FOLDER, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(FOLDER)
    asked = questions(0.0)
    for prompt, answer in zip(asked, model.answer(asked), strict=True):
        ids = read = tokenizer(prompt.user.strip().split("\n\n")[-1])["input_ids"]
        while len(ids) - len(read) < prompt.max_tokens:
            with torch.inference_mode():
                logits = network(torch.tensor([ids])).logits[0, -1]
            if len(ids) == len(read):
                first = torch.log_softmax(logits, dim=0)
            if (token := int(logits.argmax())) == tokenizer.eos_token_id:
                break
            ids = [*ids, token]
        assert answer.text == tokenizer.decode(ids[len(read) :]).strip()
        assert (answer.prompt_tokens, answer.answer_tokens) == (len(read), len(ids) - len(read))
        for token, logprob in answer.logprobs.items():
            assert logprob == pytest.approx(first[tokenizer(token)["input_ids"][0]].item(), abs=1e-4)


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


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "model")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-1000])


def garbage(path):
    path.write_bytes(b"\xff{]" * 50)


def changed(**settings):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", truncated),
        ("model.safetensors", garbage),
        ("tokenizer.json", truncated),
        ("tokenizer.json", garbage),
        ("tokenizer.json", lambda path: path.unlink()),
        ("config.json", truncated),
        ("config.json", garbage),
        ("config.json", changed(activation_function="gelu_new")),
        ("config.json", changed(n_layer=4)),
        ("config.json", changed(n_embd=100)),
        ("generation_config.json", lambda path: path.write_text("[]")),
    ],
)
def test_a_damaged_model_is_told_in_one_line(copied, file, damage):
    damage(copied / file)
    model = EmbeddedModel(copied)
    for fail in (model.load, lambda: model.answer(questions(0.0)), model.load):
        with pytest.raises(UserError, match="holds no model that can be read") as told:
            fail()
        assert str(copied) in str(told.value)
        assert str(told.value).isprintable()


def test_tokens_without_weights_are_a_damage(copied):
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["more"] = len(tokenizer["model"]["vocab"])
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match="holds no model that can be read"):
        EmbeddedModel(copied).load()


def test_a_sound_model_loads(copied):
    model = EmbeddedModel(copied)
    model.load()
    shutil.rmtree(copied)
    assert model.answer(questions(0.0)[:1])[0].text  # of what was loaded


def test_answers_end_where_the_models_files_say(copied, model):
    """As transformers has it: a list of ends, each of which but the end of the text is a part of the answer."""
    said = model.answer(questions(0.0))
    changed(eos_token_id=[0, 290, 392])(copied / "generation_config.json")  # " Yes" and " No"
    same(EmbeddedModel(copied).answer(questions(0.0)), said)  # after which it wrote nothing anyway
    changed(eos_token_id=list(range(1111)))(copied / "generation_config.json")
    assert {answer.answer_tokens for answer in EmbeddedModel(copied).answer(questions(0.0))} == {1}


def test_its_seconds_are_carried_on(model):
    model.answer(questions(0.0))
    state = json.loads(json.dumps(model.state()))
    assert state["seconds"] > 0
    other = EmbeddedModel()
    other.restore({**state, "of another model": 3})
    assert other.metrics() == {"llm/seconds": state["seconds"]} == model.metrics()
    other.answer(questions(0.0))
    assert other.metrics()["llm/seconds"] > state["seconds"]
    other.restore({})
    assert other.state() == {"seconds": 0.0}


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
    from ellm_agent.lm_training.corpus import OUTSIDE

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


def test_nearly_all_that_it_suggests_is_known_beforehand(model):
    """So that a run encodes it in one batch, which is kept on disk."""
    known = set(model.goals)
    assert {"chop tree", "drink water", "sleep"} <= known
    told = [brief(situation.caption) for situation in scenes(itertools.count(2**30), 100, seed=0)]
    answers = model.answer([open_ended.prompt(scene, ("chop",), temperature=1.0) for scene in told])
    told = [goal for answer in answers for goal in open_ended.parse(answer.text)]
    assert sum(goal in known for goal in told) > 0.95 * len(told)
