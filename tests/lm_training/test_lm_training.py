"""Making a suggester: corpus, training, measurements, and folders that are never overwritten."""

import dataclasses
import hashlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from ellm_agent.errors import UserError
from ellm_agent.goals.quality import BINS
from ellm_agent.llm.base import Answer, LanguageModel
from ellm_agent.llm.bundled import FOLDER, BundledModel
from ellm_agent.lm_training import measure, resumable, sft
from ellm_agent.lm_training.corpus import Corpus, balanced
from ellm_agent.lm_training.new_model import make_tokenizer
from envs import registry
from envs.interface import Privileged, Situation, World
from experiments import train_suggester
from prompts import closed_form, open_ended

CRAFTER = registry.get("crafter")


def test_it_is_as_good_as_its_card_says():
    """A tenth of the situations of ``train_suggester.py measure``."""
    figures = measure.measure(BundledModel(), CRAFTER, 200, recalled=20)
    assert figures["readable"] >= 0.99
    for kind in BINS:
        assert figures[f"model_{kind}"] == pytest.approx(figures[f"corpus_{kind}"], abs=0.05)
    assert figures["closed_auc"] >= 0.95
    recalls = {goal: figures[f"recall_{goal.replace(' ', '_')}"] for goal in CRAFTER.language().goals}
    rare = [recalls.pop(goal) for goal in ("make iron pickaxe", "make iron sword", "mine diamond")]
    assert np.mean(rare) >= 0.6, rare
    assert min(recalls.values()) >= 0.9, recalls


def test_recall_by_hand():
    """A model that would chop trees, in other words, wherever there is a cow, and eat cows elsewhere."""

    class Answers(LanguageModel):
        name = "cows"

        def answer(self, prompts):
            captions = [open_ended.caption_of(prompt.user) for prompt in prompts]
            return [Answer("- cut down the tree" if "cow" in c else "- eat cow") for c in captions]

    captions = ["You see cow, tree.", "You see tree.", "You see cow, tree.", "You see diamond."]
    possible = [("chop tree", "eat cow"), ("chop tree",), ("chop tree", "eat cow"), ("mine diamond",)]

    class Few(World):
        name, protocols = "few", CRAFTER.protocols
        language, advice = CRAFTER.language, CRAFTER.advice

        def situations(self, first_world, count, seed, protocol=None):
            pairs = zip(captions, possible, strict=True)
            return itertools.islice(((Situation(c), Privileged(p)) for c, p in pairs), count)

    found = measure.recall(Answers(), Few(), count=1, seed=0)
    assert found == {
        "chop tree": 1.0,
        "eat cow": 0.0,
        "mine diamond": 0.0,
    }  # the second and third are not needed


def test_situations_follow_the_rules_of_their_protocol():
    """A table costs one wood by the paper's rules, and more by the standard ones."""
    possible = {}
    for protocol in ("crafter", "ellm"):
        pairs = CRAFTER.situations(123, 400, seed=4, protocol=protocol)
        one_wood = [facts.possible for situation, facts in pairs if "wood: 1" in situation.caption]
        possible[protocol] = ["place crafting table" in goals for goals in one_wood]
    assert not any(possible["crafter"])
    assert any(possible["ellm"])


def test_situations_are_seeded_and_the_worlds_own():
    pairs = list(CRAFTER.situations(123, 120, seed=4))
    assert pairs == list(CRAFTER.situations(123, 120, seed=4))
    assert pairs != list(CRAFTER.situations(123, 120, seed=5))
    assert len({situation.caption for situation, _ in pairs}) > 100
    for situation, privileged in pairs:
        if "You see" in situation.caption and "tree" in situation.caption.split(".")[0]:
            assert "chop tree" in privileged.possible
    assert any("make iron pickaxe" in p.possible for _, p in CRAFTER.situations(9, 1500, seed=6))


def test_the_corpus_makes_mistakes_in_the_stated_proportions():
    corpus, advice = Corpus(CRAFTER, seed=3), CRAFTER.advice()
    captions = list(sft.captions(CRAFTER, 1_000, sft.TRAINING_WORLDS, seed=3))
    answers = [corpus.goals(caption) for caption in captions]
    sensible = [set(advice.sensible_goals(caption)) for caption in captions]
    outside = np.mean([any(goal in advice.outside for goal in goals) for goals in answers])
    assert outside == pytest.approx(0.05, abs=0.02)
    verbatim = [
        len(known & set(goals)) / len(known) for known, goals in zip(sensible, answers, strict=True) if known
    ]
    # Some six in ten goals have other wordings.
    assert np.mean(verbatim) == pytest.approx(0.98 * (1 - 0.1 * 0.6), abs=0.03)
    asked = [corpus.closed(caption) for caption in captions]
    right = [
        (closed_form.caption_and_goal_of(question)[1] in known) == (answer == " Yes")
        for (question, answer), known in zip(asked, sensible, strict=True)
    ]
    assert np.mean(right) == pytest.approx(0.98, abs=0.015)


def test_rare_goals_are_as_many_as_frequent_ones():
    """Of 1,000 situations with a tree, in 100 of them coal, and in 10 of these a diamond, 30 are chosen."""
    goals = [("tree",) + ("coal",) * (i < 100) + ("diamond",) * (i < 10) for i in range(1_000)]
    chosen = balanced(goals, 30, np.random.default_rng(0))
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 30
    # Weights 10 * 1/10, 90 * 1/100, 900 * 1/1000: a third each at first; the ten are nearly used up.
    assert sum(i < 10 for i in chosen) >= 7
    assert 6 <= sum(10 <= i < 100 for i in chosen) <= 16
    assert sum(i >= 100 for i in chosen) >= 6
    assert balanced([(), ()], 2, np.random.default_rng(0)) == [0, 1]


def test_the_corpus_shows_rare_goals_often():
    """Of the goals that are sensible in the chosen captions, the rarest is three times as frequent as without a choice."""
    sensible = CRAFTER.advice().sensible_goals
    recipe = sft.Recipe(scenes=200)
    questions = [question for question, _ in sft.make_examples(recipe)[::2]]
    share = np.mean(["make iron sword" in sensible(open_ended.caption_of(q + "\n")) for q in questions])
    assert share >= 0.03  # 0.011 in all scenes


def test_every_other_caption_has_no_target():
    captions = list(sft.captions(CRAFTER, 40, sft.TRAINING_WORLDS, seed=0))
    assert not any("You are targeting" in caption for caption in captions[1::2])
    assert any("You are targeting" in caption for caption in captions[0::2])


def test_a_world_without_advice_has_no_corpus():
    world = World()
    world.name = "plain"
    with pytest.raises(UserError, match="world plain has no advice"):
        Corpus(world, seed=0)


def test_training_is_seeded_and_learns(tmp_path):
    recipe = sft.Recipe(scenes=200, vocabulary=700, width=32, layers=1, heads=2, passes=6)
    lines = []
    sft.train(recipe, tmp_path / "one", lines.append)
    sft.train(recipe, tmp_path / "two", lambda _: None)
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()
    loss = float(lines[-1].split("loss ")[1].split()[0])
    assert loss < 5.6  # log of the vocabulary: 6.5
    (answer,) = BundledModel(tmp_path / "one").answer(
        [closed_form.prompt("You see grass, tree.", "chop tree", CRAFTER.language())]
    )
    assert {" Yes", " No"} & set(answer.logprobs)


@pytest.mark.parametrize("world", ["crafter", "housekeep"])
def test_a_killed_training_continues_exactly(tmp_path, world, monkeypatch):
    recipe = sft.Recipe(
        scenes=64, vocabulary=1_000, width=16, layers=1, heads=2, passes=4, batch=8, world=world
    )
    sft.train(recipe, tmp_path / "whole", lambda _: None)
    monkeypatch.setattr(resumable, "EVERY", 0.0)  # each step is saved

    def killed(line: str) -> None:
        if "step 24 of 64" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sft.train(recipe, tmp_path / "killed", killed)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    with pytest.raises(UserError, match="holds a training with seed 0, but seed is 1"):
        sft.train(dataclasses.replace(recipe, seed=1), tmp_path / "killed", lambda _: None)
    lines = []
    sft.train(recipe, tmp_path / "killed", lines.append)
    assert "training: continues after step 23" in lines
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_training_goes_on_from_a_model(tmp_path):
    """With its tokenizer, and at once with a smaller loss than from random weights."""
    losses = []
    for start in (None, FOLDER):
        lines = []
        recipe = sft.Recipe(scenes=60, passes=1, learning_rate=1e-5, start=start)
        sft.train(recipe, tmp_path / str(start is None), lines.append)
        losses.append(float(lines[-1].split("loss ")[1].split()[0]))
    assert losses[0] > 5
    assert losses[1] < 1.5
    assert (tmp_path / "False" / "tokenizer.json").read_bytes() == (FOLDER / "tokenizer.json").read_bytes()
    with pytest.raises(UserError, match="holds no model"):
        sft.train(sft.Recipe(scenes=1, start=tmp_path), tmp_path / "new", lambda _: None)
    assert not (tmp_path / "new").exists()


def test_the_learning_rate_rises_and_falls():
    """A fiftieth of the training to rise; then half a cosine to a tenth."""
    shares = [sft._rate(progress) for progress in (0.0, 0.01, 0.02, 0.5, 1.0)]
    assert shares == pytest.approx([0.0, 0.5, 1.0, 0.55, 0.1], abs=2e-3)


def test_the_tokenizer_writes_anything():
    tokenizer = make_tokenizer(["You see grass, tree.\n- chop tree"] * 3, 300)
    for text in ("You see grass, tree.", "ünïcödé 🌲\t\x00", "\n- chop tree\n- sleep"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


# --- the script -----------------------------------------------------------------------------------------------


def test_training_never_overwrites_a_model(tmp_path):
    before = hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).digest()
    (tmp_path / "model.safetensors").touch()
    for folder in (FOLDER, tmp_path):
        with pytest.raises(UserError, match=f"out is {folder}, which holds a model"):
            train_suggester.Sft(folder, scenes=1, passes=1, threads=1).run()
    assert hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).digest() == before


def test_training_replaces_nobody_elses_files(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match="which holds something else; name a new folder"):
        train_suggester.Sft(tmp_path, scenes=1, passes=1, threads=1).run()
    with pytest.raises(UserError, match="which holds something else; name a new folder"):
        resumable.open_folder(tmp_path, sft.Recipe(), "ppo")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_a_model_that_reads_too_few_tokens_for_a_world_is_named(tmp_path):
    """The bundled model reads 256; captions of new homes are longer in its tokens."""
    recipe = sft.Recipe(scenes=40, start=FOLDER, world="housekeep")
    with pytest.raises(UserError, match="reads 256 tokens at most; the longest of the world housekeep has"):
        sft.train(recipe, tmp_path / "new", lambda _: None)


def test_a_trained_model_is_in_a_new_folder_and_can_be_selected(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = {"vocabulary": 300, "width": 16, "layers": 1, "heads": 2}
    recipe = sft.Recipe
    monkeypatch.setattr(sft, "Recipe", lambda **options: recipe(**small, **options))
    train_suggester.Sft(scenes=20, passes=1, seed=4, threads=1).run()
    folder = Path("runs/lm/crafter-sft-seed4")
    assert f"--llm-folder {folder}" in capsys.readouterr().out
    model = BundledModel(folder)
    model.load()
    assert str(folder) in model.description
    train_suggester.Measure(
        folder, scenes=20, recalled=1, threads=1, out=tmp_path / "new" / "figures.json"
    ).run()
    assert "closed auc" in capsys.readouterr().out
    assert (tmp_path / "new" / "figures.json").exists()


def test_the_corpus_can_be_shown(capsys):
    train_suggester.Corpus(examples=2).run()
    assert capsys.readouterr().out.count("What should the player do?") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scenes": 0}, "scenes is 0; it must be at least 1"),
        ({"learning_rate": 0.0}, "learning-rate is 0; it must be above 0"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"threads": 0}, "threads is 0; it must be at least 1"),
        ({"world": "crfter"}, "did you mean 'crafter'"),
    ],
)
def test_options_out_of_bounds_are_named(tmp_path, options, message):
    usual = {"out": tmp_path / "x", "scenes": 1, "passes": 1, "threads": 1}
    with pytest.raises(UserError, match=message):
        train_suggester.Sft(**usual | options).run()
    assert not (tmp_path / "x" / "model.safetensors").exists()
