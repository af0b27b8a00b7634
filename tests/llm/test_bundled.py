"""The bundled model: what it answers, that an answer depends on its prompt alone, and damaged folders."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ellm_agent.errors import UserError
from ellm_agent.llm import value_heads
from ellm_agent.llm.base import Prompt
from ellm_agent.llm.bundled import FOLDER, BundledModel
from ellm_agent.llm.client import OpenAIModel
from envs import registry
from prompts import closed_form, open_ended
from tests.helpers.llm_server import answers_of, serve

CRAFTER = registry.get("crafter")
LANGUAGE = CRAFTER.language()
CAPTIONS = [
    "You see grass, tree.",
    "You see cow, grass, water. You feel hungry.",
    "You see coal, path, stone. You have in your inventory wood pickaxe.",
]


@pytest.fixture(scope="module")
def model():
    return BundledModel()


def questions(temperature):
    asked = [open_ended.prompt(caption, LANGUAGE, temperature=temperature) for caption in CAPTIONS]
    return asked + [
        closed_form.prompt(caption, goal, LANGUAGE)
        for caption in CAPTIONS
        for goal in ("chop tree", "eat cow")
    ]


def same(one, other):
    assert [answer.text for answer in one] == [answer.text for answer in other]
    for a, b in zip(one, other, strict=True):
        assert list(a.logprobs) == list(b.logprobs)
        assert list(a.logprobs.values()) == pytest.approx(list(b.logprobs.values()), abs=1e-4)


def test_it_suggests_what_can_be_seen(model):
    goals = [open_ended.parse(answer.text) for answer in model.answer(questions(0.0)[:3])]
    assert "chop tree" in goals[0]
    assert {"eat cow", "drink water"} <= set(goals[1])
    assert {"mine coal", "mine stone"} <= set(goals[2])
    assert not {"chop tree", "eat cow"} & set(goals[2])


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
    same(together, BundledModel().answer(asked[::-1])[::-1])


def test_any_mix_of_questions_is_answered_as_each_alone(model):
    goals = [f"{verb} {noun}" for verb in ("eat", "place", "make") for noun in ("cow", "table", "plank " * 9)]
    asked = [
        *(
            closed_form.prompt(caption, goal, LANGUAGE) for caption in CAPTIONS for goal in goals * 5
        ),  # more than fit in a row
        *(
            open_ended.prompt(caption, LANGUAGE, temperature=t)
            for t in (0.0, 0.1, 1.0)
            for caption in CAPTIONS
        ),
        *(
            Prompt("", text, 5, t, True, "")
            for text in ("", "x", "\n", "cow\n\n" * 99, "tree. " * 400)
            for t in (0, 1)
        ),
        *(
            dataclasses.replace(open_ended.prompt(CAPTIONS[0], LANGUAGE), max_tokens=most)
            for most in (1, 2, 3, 300)
        ),
    ]
    asked = [asked[i] for i in np.random.default_rng(0).permutation(len(asked))]
    each = {prompt: model.answer([prompt])[0] for prompt in asked}
    same(model.answer(asked), [each[prompt] for prompt in asked])


def test_no_questions_no_answers(model):
    assert model.answer([]) == []


def test_batches_and_caches_change_no_answer(model):
    """Log-probabilities and likeliest answers of whole texts, read one by one without padding or a cache."""
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
        open_ended.prompt(LANGUAGE.drop_target(s.caption), LANGUAGE, temperature=1.0)
        for s, _ in CRAFTER.situations(7, 30, 0)
    ]
    likeliest = [dataclasses.replace(prompt, temperature=0.0) for prompt in asked]
    pairs = zip(model.answer(asked), model.answer(likeliest), strict=True)
    assert sum(one.text != other.text for one, other in pairs) > 15


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=2_000), st.integers(1, 300), st.booleans())
def test_it_answers_anything(text, most, logprobs):
    answer = BundledModel.answer(_shared(), [Prompt("", text, most, 1.0, logprobs, "")])[0]
    open_ended.parse(answer.text)
    assert answer.answer_tokens <= most
    assert bool(answer.logprobs) == logprobs


def _shared(kept=[]):  # noqa: B006 - one model for all examples
    if not kept:
        kept.append(BundledModel())
    return kept[0]


def test_a_name_tells_how_weights_are_decoded(tmp_path):
    """Two suggesters that differ in beta alone must not share answers."""
    names = set()
    for beta in (8, 32, None):
        folder = tmp_path / str(beta)
        shutil.copytree(FOLDER, folder)
        if beta:
            (folder / value_heads.SETTINGS).write_text(json.dumps({"beta": beta}))
        names.add(BundledModel(folder).name)
    assert len(names) == 3
    assert BundledModel().name in names


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no model"):
        BundledModel(tmp_path)


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
        ("config.json", changed(model_type="no such model")),
        ("config.json", changed(n_layer=4)),
        ("config.json", changed(n_embd=100)),
        ("generation_config.json", lambda path: path.write_text("[]")),
    ],
)
def test_a_damaged_model_is_reported_in_one_line(copied, file, damage):
    damage(copied / file)
    model = BundledModel(copied)
    for fail in (model.load, lambda: model.answer(questions(0.0)), model.load):
        with pytest.raises(UserError, match="holds no model that can be read") as caught:
            fail()
        assert str(copied) in str(caught.value)
        assert str(caught.value).isprintable()


def test_tokens_without_weights_are_a_damage(copied):
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["more"] = len(tokenizer["model"]["vocab"])
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match="holds no model that can be read"):
        BundledModel(copied).load()


def test_a_sound_model_loads(copied):
    model = BundledModel(copied)
    model.load()
    shutil.rmtree(copied)
    assert model.answer(questions(0.0)[:1])[0].text  # of what was loaded


def test_answers_end_where_the_models_files_say(copied, model):
    """At one of a list of tokens, each of which but the end of the text is part of the answer."""
    said = model.answer(questions(0.0))
    changed(eos_token_id=0)(copied / "generation_config.json")  # no longer after " Yes" and " No"
    same(BundledModel(copied).answer(questions(0.0)), said)  # after which it writes nothing anyway
    vocabulary = json.loads((copied / "config.json").read_text())["vocab_size"]
    changed(eos_token_id=list(range(vocabulary)))(copied / "generation_config.json")
    assert {answer.answer_tokens for answer in BundledModel(copied).answer(questions(0.0))} == {1}


def test_its_seconds_are_carried_on(model):
    model.answer(questions(0.0))
    state = json.loads(json.dumps(model.state_dict()))
    assert state["seconds"] > 0
    other = BundledModel()
    other.load_state_dict(state)
    assert other.metrics() == {"llm/seconds": state["seconds"]} == model.metrics()
    other.answer(questions(0.0))
    assert other.metrics()["llm/seconds"] > state["seconds"]


def test_nearly_all_that_it_suggests_is_known_beforehand(model):
    """So that a run encodes it in one batch, which is kept on disk."""
    known = set(model.likely_goals)
    assert {"chop tree", "drink water", "sleep"} <= known
    captions = [LANGUAGE.drop_target(s.caption) for s, _ in CRAFTER.situations(2**30, 100, seed=0)]
    answers = model.answer([open_ended.prompt(caption, LANGUAGE, temperature=1.0) for caption in captions])
    goals = [goal for answer in answers for goal in open_ended.parse(answer.text)]
    assert sum(goal in known for goal in goals) > 0.95 * len(goals)


# --- over HTTP ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["chat", "completion"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_it_answers_the_same_over_http(model, api, temperature):
    with serve(answers_of(model)) as server:
        remote = OpenAIModel("bundled", server.url, api=api)
        same(remote.answer(questions(temperature)), model.answer(questions(temperature)))
        assert remote.metrics()["llm/tokens_read"] > 0
        remote.close()
