"""Suggesters for a world with many goals, where advice says what makes sense: Housekeep."""

import itertools
import json
import random
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel
from ellm_agent.llm.bundled import FOLDER, BundledModel
from ellm_agent.llm.scripted import MISJUDGED, ScriptedModel
from ellm_agent.lm_training import corpus, fit_ppo, measure, report, sft
from ellm_agent.lm_training.corpus import Corpus
from ellm_agent.lm_training.data import Data, Sources
from ellm_agent.lm_training.judge import AdvisedUsefulness
from ellm_agent.lm_training.new_model import make_tokenizer
from envs import registry
from envs.interface import World
from experiments import train_suggester
from prompts import closed_form, open_ended, statement

HOUSEKEEP = registry.get("housekeep")
JUDGEMENTS = HOUSEKEEP.language().judgements
HELD_APPLE = "You have seen kitchen fridge, kitchen oven. You hold apple."


def captions(count, first=sft.TRAINING_WORLDS):
    return [situation.caption for situation, _ in HOUSEKEEP.situations(first, count, seed=2)]


def row(i, caption, goals, after):
    return {
        "frames": i + 1,
        "world": "housekeep",
        "prompt": open_ended.VERSION,
        "caption_form": "whole",
        "world_seed": i,
        "frame": 0,
        "caption": caption,
        "goals": goals,
        "before": [],
        "after": after,
        "ended": True,
    }


# --- advice and corpus ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 2**30], ids=["training objects", "held-out objects"])
def test_advice_is_what_the_oracle_says(first):
    for situation, privileged in HOUSEKEEP.situations(first, 100, seed=1):
        advised = HOUSEKEEP.advice().sensible_goals(situation.caption)
        assert set(advised) == set(privileged.possible)
        assert set(HOUSEKEEP.advice().poorly_timed(situation.caption)) >= set(privileged.bad)


def test_mistakes_in_the_corpus_are_goals_that_are_possible_there():
    written, advice = Corpus(HOUSEKEEP, seed=0), HOUSEKEEP.advice()
    wrong = []
    asked = captions(600)
    for caption in asked:
        sensible = advice.sensible_goals(caption)
        others = [goal for goal in written.goals(caption) if goal not in sensible]
        assert set(others) <= {*advice.candidates(caption), *advice.outside, *advice.meaningless}
        wrong.append(any(goal in advice.candidates(caption) for goal in others))
    assert np.mean(wrong) == pytest.approx(corpus.MISTAKES["poorly_timed"], abs=0.04)


def test_the_corpus_has_situations_of_all_kinds_as_often_as_they_are():
    """What is rare is not shown more often, where nearly every goal is rare: else there would be nothing to explore."""
    asked = [question for question, _ in sft.make_examples(sft.Recipe(scenes=400, world="housekeep"))[::2]]
    sensible = [HOUSEKEEP.advice().sensible_goals(open_ended.caption_of(q + "\n")) for q in asked]
    explored = np.mean([goals[0].startswith("explore") for goals in sensible if goals])
    assert 0.08 < explored < 0.2


def test_closed_questions_of_the_corpus_are_about_statements():
    written, is_true = Corpus(HOUSEKEEP, seed=0), HOUSEKEEP.advice().is_true
    asked = [written.closed(caption) for caption in captions(600)]
    texts = {JUDGEMENTS.question(one): one for one in HOUSEKEEP.language(protocol="homes").judgements.all}
    truth, answers = [], []
    for question, answer in asked:
        text = question.removeprefix("\n").removesuffix(f" {statement.ANSWER}")
        assert text in texts
        truth.append(is_true(text))
        answers.append(answer == corpus.YES)
    assert np.mean(np.equal(truth, answers)) == pytest.approx(1 - corpus.MISJUDGED, abs=0.02)
    assert 0.35 < np.mean(truth) < 0.65


def test_the_script_knows_the_advice():
    model, rng = ScriptedModel(HOUSEKEEP.advice()), np.random.default_rng(0)
    statements = [JUDGEMENTS.all[i] for i in rng.integers(len(JUDGEMENTS.all), size=400)]
    replies = model.answer([statement.prompt(one, JUDGEMENTS) for one in statements])
    yes = [closed_form.probability_of_yes(reply.text, reply.logprobs) > 0.5 for reply in replies]
    truth = [HOUSEKEEP.advice().is_true(JUDGEMENTS.question(one)) for one in statements]
    assert np.mean(np.equal(yes, truth)) == pytest.approx(1 - MISJUDGED, abs=0.04)
    (answer,) = model.answer([open_ended.prompt(HELD_APPLE, HOUSEKEEP.language())])
    assert "place apple in kitchen fridge" in open_ended.parse(answer.text)


def test_things_can_be_elsewhere():
    """The same rooms, things and hand; each thing in any receptacle seen, and the advice follows."""
    caption = "You have seen kitchen sink, kitchen fridge. apple is in kitchen fridge. You have not been in corridor. You hold nothing."
    advice, rng = HOUSEKEEP.advice(), random.Random(0)
    sink = caption.replace("is in kitchen fridge", "is in kitchen sink")
    assert {advice.rearranged(caption, rng, 0.0) for _ in range(20)} == {caption, sink}
    assert advice.sensible_goals(caption) == ["explore corridor"]
    assert advice.sensible_goals(sink) == ["pick up apple from kitchen sink"]
    assert (
        advice.rearranged("You have seen nothing. You hold apple.", rng, 0.0)
        == "You have seen nothing. You hold apple."
    )


def test_things_can_be_put_right():
    """Two things with one right place of two: put right with probability .5, else at random, they lie right in .75."""
    advice, rng = HOUSEKEEP.advice(), random.Random(0)
    caption = "You have seen kitchen sink, kitchen fridge. milk is in kitchen sink. butter is in kitchen sink. You hold nothing."
    left = Counter(len(advice.sensible_goals(advice.rearranged(caption, rng, 0.5))) for _ in range(4_000))
    assert left[0] / 4_000 == pytest.approx(0.75**2, abs=0.03)
    assert left[2] / 4_000 == pytest.approx(0.25**2, abs=0.03)
    assert not advice.sensible_goals(advice.rearranged(caption, rng, 1.0))


def test_some_homes_of_the_corpus_are_nearly_tidy():
    """Things lie right in half of the cases more, in four fifths of the situations: so fewer are misplaced."""

    def misplaced(tidied):
        written = Corpus(HOUSEKEEP, seed=0, tidied=tidied)
        found = [written.situation(caption) for caption in captions(600) if "You hold nothing" in caption]
        goals = itertools.chain(*map(HOUSEKEEP.advice().sensible_goals, found))
        return sum(goal.startswith("pick up") for goal in goals)

    assert misplaced(1.0) < 0.75 * misplaced(0.0)
    with pytest.raises(UserError, match=r"^tidied is 1\.5; it must be from 0 to 1$"):
        sft.Recipe(tidied=1.5)


def test_the_corpus_rearranges_most_situations():
    asked = captions(300)
    written = Corpus(HOUSEKEEP, seed=0)
    changed = [written.situation(caption) != caption for caption in asked]
    with_things = [" is " in caption for caption in asked]
    assert np.mean(np.array(changed)[with_things]) == pytest.approx(corpus.REARRANGED, abs=0.06)


def test_things_are_the_same_tokens_in_captions_and_goals_and_stand_before_their_places():
    examples = sft.make_examples(sft.Recipe(scenes=300, world="housekeep"))
    texts = list(itertools.chain(*examples))
    tokenizer = make_tokenizer(texts, 2_048, HOUSEKEEP.advice())

    def tokens(text):
        return [tokenizer.decode([i]) for i in tokenizer(text)["input_ids"]]

    seen = tokens("You have seen kitchen sink, bedroom bed. apple is on bedroom bed. You hold nothing.")
    assert seen[seen.index(" apple") + 1] == " is on bedroom bed"
    assert tokens("\n- pick up apple from bedroom bed") == ["\n- pick up", " apple", " from bedroom bed"]
    assert tokens("\n- place apple in kitchen sink") == ["\n- place", " apple", " in kitchen sink"]


# --- the judge ------------------------------------------------------------------------------------------------


def test_advised_usefulness_by_hand():
    sensible = {"a": ["x", "y"], "b": []}
    judge = AdvisedUsefulness(sensible.get, lambda event, goal: event == goal.lower(), cost=0.5)
    assert judge("a", ["x", "y"]) == 2
    assert judge("a", ["x", "X", "z"]) == 0.5  # two wordings of one goal are worth one
    assert judge("a", ["z", "z", "w"]) == -1.0  # each goal counts once
    assert judge("b", ["x"]) == -0.5
    assert judge("b", []) == 0


# --- the commands ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "sft"
    recipe = sft.Recipe(
        scenes=250,
        vocabulary=1_500,
        width=32,
        layers=1,
        heads=2,
        passes=8,
        learning_rate=1e-2,
        world="housekeep",
    )
    sft.train(recipe, folder, lambda _: None)
    return folder


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Somebody who suggests everything, in 60 homes; nothing of it happens."""
    path = tmp_path_factory.mktemp("run") / "suggestions.jsonl"
    rows = [
        row(i, caption, HOUSEKEEP.advice().candidates(caption)[:6], {})
        for i, caption in enumerate(captions(60, first=0))
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_a_model_answers_both_forms(model):
    trained = BundledModel(model)
    trained.load()
    asked = [open_ended.prompt(caption, HOUSEKEEP.language()) for caption in captions(3)]
    asked += [statement.prompt(one, JUDGEMENTS) for one in JUDGEMENTS.all[:3]]
    answers = trained.answer(asked)
    assert all(answer.text.startswith("- ") for answer in answers[:3])
    for answer in answers[3:]:
        assert {" Yes", " No"} <= set(answer.logprobs)
        assert 0 < closed_form.probability_of_yes(answer.text, answer.logprobs) < 1
    # How questions are batched changes nothing.
    assert trained.answer(asked[3:4])[0].logprobs == pytest.approx(answers[3].logprobs, abs=1e-4)


def test_it_is_measured(model, tmp_path, capsys):
    out = tmp_path / "figures.json"
    train_suggester.Measure(model, "housekeep", scenes=60, threads=1, out=out).run()
    figures = json.loads(out.read_text())
    assert 0 <= figures["recall"] <= 1
    assert figures["corpus_good"] > 0.85
    assert figures["corpus_poorly_timed"] + figures["corpus_bad"] > 0.01
    assert figures["corpus_nonsensical"] < 0.1  # goals of this world are known as such
    assert not any(name.startswith("recall_") for name in figures)


def test_it_learns_from_advice(model, log, tmp_path, monkeypatch, capsys):
    """Reward model, PPO and ILQL, from a log whose suggestions are mostly foolish."""
    for name in ("MEASURED", "UNSEEN"):
        monkeypatch.setattr(fit_ppo, name, 10)
    recipe = fit_ppo.Recipe
    small = {"answers": 8, "corpus": 10, "scenes": 10, "relearn": 2}
    monkeypatch.setattr(fit_ppo, "Recipe", lambda *a, **o: recipe(*a, **o | small))
    options = {"model": model, "world": "housekeep", "cost": 1.0, "judge": "advice"}
    reward = tmp_path / "reward"
    train_suggester.RewardModel(reward, (log,), scenes=40, k=4, steps=20, **options).run()
    figures = json.loads((reward / "figures.json").read_text())
    assert figures["pair_accuracy_without_noise"] > 0.5
    assert figures["pair_ceiling"] == pytest.approx(0.95)  # a tenth is random, and half of that wrong
    ceiling = figures["four_way_ceiling_without_noise"]
    assert figures["four_way_ceiling"] == pytest.approx(0.9 * ceiling + 0.1 / 4)
    train_suggester.Ppo((log,), reward, tmp_path / "ppo", iterations=2, rounds=2, **options).run()
    for share, same in ((0.0, model), (1.0, tmp_path / "ppo")):
        out = tmp_path / f"share-{share}"
        train_suggester.Interpolate((log,), tmp_path / "ppo", out, share, **options).run()
        weights, expected = (load_file(folder / "model.safetensors") for folder in (out, same))
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        moved = json.loads((out / "figures.json").read_text())
        assert (moved["kl"] == 0) == (moved["corpus_loss_change"] == 0) == (share == 0)
    with pytest.raises(UserError, match="whose network is another one than that of"):
        train_suggester.Interpolate((log,), FOLDER, tmp_path / "no", **options).run()
    with pytest.raises(UserError, match=r"share is 1\.5; it must be from 0 to 1"):
        train_suggester.Interpolate((log,), model, tmp_path / "no", 1.5, **options).run()
    assert not (tmp_path / "no").exists()
    train_suggester.Ilql((log,), tmp_path / "ilql", steps=2, **options).run()
    assert "run_housekeep.py --goal-mode open --llm-folder" in capsys.readouterr().out
    logs = json.loads((tmp_path / "ilql" / "figures.json").read_text())["true_usefulness_of_the_logs"]
    assert logs < 0  # everything is suggested, and most of it is wrong


def test_a_judge_of_statements_is_measured_by_hand():
    """A model that calls everything in or on a kitchen's receptacle right, and all else wrong."""

    class Kitchen(LanguageModel):
        name = "kitchen"

        def answer(self, prompts):
            return [
                Answer("- explore kitchen" if "keep" not in p.user else self.judge(p.user)) for p in prompts
            ]

        def judge(self, text):
            return "Yes" if "the kitchen" in text else "No"

    figures = measure.measure(Kitchen(), HOUSEKEEP, 40)
    captions = [situation.caption for situation, _ in HOUSEKEEP.situations(sft.HELD_OUT_WORLDS, 40, seed=1)]
    statements = dict.fromkeys(one for caption in captions for one in JUDGEMENTS.of(caption))
    truth = [HOUSEKEEP.advice().is_true(JUDGEMENTS.question(one)) for one in statements]
    yes = [one.where.split(" ", 1)[1].startswith("kitchen") for one in statements]
    right = [y for y, true in zip(yes, truth, strict=True) if true]
    wrong = [y for y, true in zip(yes, truth, strict=True) if not true]
    higher = np.mean([(y > n) + 0.5 * (y == n) for y in right for n in wrong])
    assert figures["closed_auc"] == pytest.approx(higher)
    sensible = [HOUSEKEEP.advice().sensible_goals(caption) for caption in captions]
    named = sum("explore kitchen" in goals for goals in sensible)
    assert figures["recall"] == pytest.approx(named / sum(map(len, sensible)))


def test_reading_is_measured_by_hand():
    """A model that reads where things lie and names one sensible goal of an answer, and one more that has no sense."""

    class Reader(LanguageModel):
        name = "reader"

        def __init__(self):
            self.sensible = []

        def answer(self, prompts):
            return [Answer("Yes" if "keep" in p.user else self.suggest(p.user)) for p in prompts]

        def suggest(self, text):
            self.sensible.append(HOUSEKEEP.advice().sensible_goals(open_ended.caption_of(text)))
            return "".join(f"- {goal}\n" for goal in [*self.sensible[-1][:1], "cook dinner"])

    reader = Reader()
    figures = measure.measure(reader, HOUSEKEEP, 50)
    last = reader.sensible[-100:]  # 50 where things lie at random, 50 where most are put right
    for name, sensible in (("rearranged", last[:50]), ("nearly_tidy", last[50:])):
        named = sum(map(bool, sensible))
        assert figures[f"{name}_good"] == pytest.approx(named / (named + 50))
        assert figures[f"{name}_recall"] == pytest.approx(named / sum(map(len, sensible)))
    wrong = [
        sum(goal.startswith("pick up") for goals in own for goal in goals) for own in (last[:50], last[50:])
    ]
    assert wrong[0] > 2 * wrong[1] > 0


def test_judges_that_cannot_judge(model, log, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = {"model": model, "world": "housekeep"}
    with pytest.raises(UserError, match=r"rarity-power is 0\.5, but judge is advice"):
        train_suggester.RewardModel(out, (log,), judge="advice", rarity_power=0.5, **options).run()
    for command in (
        train_suggester.RewardModel(out, (log,), world="housekeep"),
        train_suggester.RewardModel(out, choices=(log,), world="housekeep"),
        train_suggester.Measure(world="housekeep"),
    ):
        with pytest.raises(UserError, match="no model is bundled for the world housekeep; give --model"):
            command.run()
    monkeypatch.setattr(type(HOUSEKEEP), "advice", World.advice)
    with pytest.raises(UserError, match="judge is advice, but the world housekeep has none; choose logs"):
        train_suggester.RewardModel(out, (log,), judge="advice", **options).run()
    assert not out.exists()


def test_what_happens_can_be_the_judge_too(model, tmp_path):
    """In each home the first object that lies somewhere is picked up, sensible or not."""
    rows = []
    for i, caption in enumerate(captions(60, first=0)):
        goals = HOUSEKEEP.advice().candidates(caption)[:1]
        rows.append(row(i, caption, goals, dict.fromkeys(goals, 1)))
    (tmp_path / "suggestions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    known = Data(Sources((tmp_path,), model, "housekeep"))
    first = [known.judge(one["caption"], one["goals"]) for one in rows if one["goals"]]
    last = [
        known.judge(one["caption"], HOUSEKEEP.advice().candidates(one["caption"])[-1:])
        for one in rows
        if len(HOUSEKEEP.advice().candidates(one["caption"])) > 1
    ]
    assert np.mean(first) > np.mean(last) + 0.3
    # Among the answers that are compared some say nothing, so that silence has a label, too.
    compared = known.comparisons(known.train, k=4, seed=0, noise=0.0)
    silent = [not known.suggester.goals(answer) for one in compared for answer in one.answers]
    assert 0.02 < np.mean(silent) < 0.4


def test_a_gain_is_a_share_of_something():
    worse, better = {"usefulness": -1.0, "goals": 2.0}, {"usefulness": 1.5, "goals": 2.0}
    assert "gain" not in report.improvement(worse, better)
    assert "gain" not in report.improvement(worse | {"usefulness": 0.0}, better)
    assert report.improvement(better, better | {"usefulness": 1.8})["gain"] == pytest.approx(0.2)
