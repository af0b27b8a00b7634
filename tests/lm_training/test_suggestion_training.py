"""From suggestion logs to suggesters: reading logs, the judge, and the commands end to end on a log written here."""

import json
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
import torch

from ellm_agent import cli
from ellm_agent.errors import UserError
from ellm_agent.llm import value_heads
from ellm_agent.llm.bundled import FOLDER, BundledModel
from ellm_agent.lm_training import fit_ppo, report, resumable
from ellm_agent.lm_training.choices import read_choices
from ellm_agent.lm_training.data import Data, Sources
from ellm_agent.lm_training.judge import ExpectedUsefulness, compare
from ellm_agent.lm_training.ppo import PPO
from ellm_agent.lm_training.suggester import Suggester
from ellm_agent.lm_training.suggestions import Suggestion, chains, rarity, read_logs, split
from envs import registry
from experiments import train_suggester
from prompts import open_ended

CRAFTER = registry.get("crafter")
CAPTIONS = (
    "You see grass, tree. You are targeting tree.",
    "You see cow, water.",
    "You see coal.",
)  # the last is held out


def row(i, **changes):
    """Trees are chopped where they are seen; nothing else happens."""
    caption = CAPTIONS[i % 3]
    return {
        "frames": i + 1,
        "world": "crafter",
        "prompt": open_ended.VERSION,
        "caption_form": "brief",
        "world_seed": i // 6,
        "frame": 64 * (i % 6),
        "caption": caption,
        "goals": ["chop tree", "sleep"] if i % 2 else ["chop tree"],
        "before": [],
        "after": {"chop tree": 1} if "tree" in caption else {},
        "ended": i % 6 == 5,
    } | changes


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "suggestions.jsonl"
    path.write_text("".join(json.dumps(row(i)) + "\n" for i in range(240)))
    return path


def satisfies(event, goal):
    return event == goal


# --- logs ---------------------------------------------------------------------------------------------------


def test_logs_are_read_as_the_model_reads_captions(log):
    rows = read_logs([log.parent], CRAFTER)
    assert rows == read_logs([log], CRAFTER)
    assert len(rows) == 240
    assert rows[0].caption == "You see grass, tree."
    assert rows[0].usefulness(["chop tree", "sleep"], satisfies) == pytest.approx(0.9)
    assert len(read_logs([log], CRAFTER, skip_frames=200)) == 40


def test_rarity_by_hand():
    def happened(seed, *events):
        return Suggestion(seed, 0, "You see sand.", (), events[:1], dict.fromkeys(events[1:], 1), False)

    # In 400 episodes all sleep, a quarter drink, one eats; rows of one episode count once.
    rows = [happened(seed, "sleep", *["drink water"] * (seed % 4 == 0)) for seed in range(400)]
    rows += [happened(0, "sleep", "eat cow"), happened(0, "sleep", "eat cow")]
    events = ("sleep", "drink water", "eat cow", "mine iron")
    # 400 ** .5 is cut; iron was never mined.
    assert rarity(rows, events, 0.5) == {"sleep": 1.0, "drink water": 2.0, "eat cow": 10.0, "mine iron": 10.0}
    assert rarity(rows, events, 0.0) == dict.fromkeys(events, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": "open-1"}, f"is a log of prompt 'open-1'; this needs '{open_ended.VERSION}'"),
        ({"world": "housekeep"}, "is a log of world 'housekeep'; this needs 'crafter'"),
        ({"after": 3}, "row 2 is no suggestion"),
        ({"caption_form": "odd"}, "row 2 is no suggestion"),
    ],
)
def test_logs_that_cannot_be_used_are_named(tmp_path, changes, message):
    path = tmp_path / "suggestions.jsonl"
    path.write_text(json.dumps(row(1)) + "\n" + json.dumps(row(2, **changes)) + "\n")
    with pytest.raises(UserError, match=message):
        read_logs([path], CRAFTER)


def test_no_log_at_all(tmp_path):
    with pytest.raises(UserError, match="holds no suggestions; a run with --log-suggestions"):
        read_logs([tmp_path], CRAFTER)


def test_worlds_are_either_for_training_or_held_out(log):
    train, held_out = split(read_logs([log], CRAFTER))
    assert not {r.world_seed for r in train} & {r.world_seed for r in held_out}
    assert 0.05 < len(held_out) / 240 < 0.4


def test_chains_do_not_overlap():
    rows = [Suggestion(1, frame, "", (), (), {}, False) for frame in (0, 16, 64, 80, 128, 256)]
    rows.append(Suggestion(2, 0, "", (), (), {}, True))
    assert [[r.frame for r in chain] for chain in chains(rows)] == [[0, 64, 128], [256], [16, 80], [0]]


def test_chains_of_two_logs_with_the_same_worlds_stay_apart(tmp_path):
    for name, caption in (("a", CAPTIONS[0]), ("b", CAPTIONS[1])):
        lines = [json.dumps(row(i, world_seed=5, frame=64 * i, caption=caption)) for i in range(2)]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    found = chains(read_logs([tmp_path / "a", tmp_path / "b"], CRAFTER))
    assert [[r.frame for r in chain] for chain in found] == [[0, 64], [0, 64]]
    assert all(len({r.caption for r in chain}) == 1 for chain in found)


def test_where_advice_judges_each_caption_counts_the_same(tmp_path):
    """Time is spent mostly where an agent is stuck: here in the first of 21 captions."""
    often = CAPTIONS[0]
    places = [f"You see grass. You have in your inventory sapling: {n}." for n in range(20)]
    lines = [json.dumps(row(i, caption=often if i < 380 else places[i - 380])) for i in range(400)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    data = Data(Sources((tmp_path / "log",), judge="advice"))
    train, held_out = ([r.caption for r in rows] for rows in (data.train, data.held_out))
    assert len(set(held_out)) == len(held_out) > 0
    assert not set(train) & set(held_out)
    drawn = Counter(r.caption for r in data.draw(4_000, np.random.default_rng(0)))
    assert set(drawn) == set(train)
    for count in drawn.values():
        assert count / 4_000 == pytest.approx(1 / len(drawn), rel=0.4)
    all_of_them = data.draw(10**6, np.random.default_rng(0), replace=False)
    assert Counter(r.caption for r in all_of_them) == Counter(train)


def test_one_caption_is_too_little_for_the_advice_to_judge(tmp_path):
    lines = [json.dumps(row(i, caption=CAPTIONS[0])) for i in range(40)]
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"^40 suggestions with 1 captions are too few: log more frames$"):
        Data(Sources((tmp_path / "log",), judge="advice"))


def test_rows_are_drawn_as_often_as_they_were_logged_where_the_log_judges(log):
    data = Data(Sources((log,)))
    drawn = Counter(r.caption for r in data.draw(3_000, np.random.default_rng(0)))
    rows = Counter(r.caption for r in data.train)
    for caption, count in rows.items():
        assert drawn[caption] / 3_000 == pytest.approx(count / len(data.train), rel=0.2)


# --- the judge ----------------------------------------------------------------------------------------------


def test_the_judge_knows_what_tends_to_happen():
    rows = [
        Suggestion(i, 0, f"You see {'tree' if i % 2 else 'sand'}.", (), (), {"a": 1} if i % 2 else {}, False)
        for i in range(400)
    ]
    judge = ExpectedUsefulness(rows, ("a", "b"), CRAFTER.language().clauses_of, satisfies)
    assert judge("You see tree.", ["a"]) == pytest.approx(1.0, abs=0.02)
    assert judge("You see sand.", ["a"]) == pytest.approx(-0.1, abs=0.02)
    assert judge("You see tree.", ["a", "b", "nonsense"]) == pytest.approx(0.8, abs=0.03)


def test_noisy_labels():
    rng = np.random.default_rng(0)
    clean = compare([1], [[2], [3], [4]], [2.0, 1.0, 1.0], rng, noise=0.0)
    assert clean.preferred.tolist() == [[False, True, True], [False] * 3, [False] * 3]  # equal ones tie
    assert clean.best == 0
    noisy = [compare([1], [[2]] * 2, [1.0, 0.0], rng, noise=0.1) for _ in range(2_000)]
    right = [bool(c.preferred[0, 1]) for c in noisy]
    assert np.mean(right) == pytest.approx(0.95, abs=0.015)
    assert all(bool(c.preferred[0, 1]) != bool(c.preferred[1, 0]) for c in noisy)


# --- people's choices ---------------------------------------------------------------------------------------


def choice(i, **changes):
    """The second answer is the best one."""
    answers = ["- sleep", "- chop tree", "- drink water\n- sleep", "- eat cow"]
    prompt = f"You see {i} trees.\n{open_ended.QUESTION}"
    return json.dumps({"prompt": prompt, "answers": answers, "choice": 1, "scene": i} | changes) + "\n"


@pytest.fixture(scope="module")
def suggester():
    return Suggester()


def test_choices_are_read_and_a_fifth_is_held_out(tmp_path, suggester):
    path = tmp_path / "choices.jsonl"
    path.write_text("".join(choice(i) for i in range(100)))
    train, held_out = read_choices([path], suggester)
    assert len(train) + len(held_out) == 100
    assert 10 <= len(held_out) <= 30
    assert train[0].best == 1
    assert [suggester.goals(answer) for answer in train[0].answers] == [
        ("sleep",),
        ("chop tree",),
        ("drink water", "sleep"),
        ("eat cow",),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        choice(1, choice=4),
        choice(1, choice=True),
        choice(1, answers=["- sleep"] * 3),
        choice(1, answers=["- sleep"] * 3 + [None]),
        choice(1, prompt="You see sand.\nWhy?"),
        choice(1, prompt=3),
    ],
)
def test_a_damaged_choice_is_named_by_its_line(tmp_path, suggester, line):
    path = tmp_path / "choices.jsonl"
    path.write_text(choice(0) + line)
    with pytest.raises(UserError, match=r"choices.jsonl: line 2 is no choice"):
        read_choices([path], suggester)


def test_too_few_choices(tmp_path, suggester):
    (tmp_path / "empty").touch()
    with pytest.raises(UserError, match="0 choices are too few"):
        read_choices([tmp_path / "empty"], suggester)
    with pytest.raises(UserError, match=r"cannot read .*none"):
        read_choices([tmp_path / "none"], suggester)


# --- the commands -------------------------------------------------------------------------------------------


def command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["train_suggester.py", *map(str, words)])
    kinds = train_suggester.Sft | train_suggester.RewardModel | train_suggester.Ppo | train_suggester.Ilql
    cli.script(lambda chosen: chosen.run(), kinds, "")


@pytest.fixture(scope="module")
def reward_model(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "reward"
    train_suggester.RewardModel(folder, (log,), scenes=60, k=4, steps=8).run()
    return folder


def test_a_reward_model_from_logs(reward_model):
    figures = json.loads((reward_model / "figures.json").read_text())
    assert figures["pair_accuracy_without_noise"] > 0.5
    assert figures["held_out_captions"] > 10
    names = {"recipe.json", "training.pt", "training.jsonl", "reward_model.pt", "README.md", "curves.png"}
    assert names <= {path.name for path in reward_model.iterdir()}


def test_ppo_from_logs(log, reward_model, tmp_path, monkeypatch, capsys):
    """Killed in the last of three iterations, after fresh labels, it ends with the same weights as without."""
    for name in ("MEASURED", "UNSEEN"):
        monkeypatch.setattr(fit_ppo, name, 20)
    monkeypatch.setattr(resumable, "EVERY", 0.0)
    small = {"answers": 16, "corpus": 20, "scenes": 20, "relearn": 2}
    recipe = fit_ppo.Recipe
    monkeypatch.setattr(fit_ppo, "Recipe", lambda *a, **o: recipe(*a, **o | small))
    words = ("ppo", "--logs", log, "--reward-model", reward_model, "--iterations", 3, "--rounds", 3)
    before = (FOLDER / "model.safetensors").read_bytes()
    learn, calls = PPO.learn, iter(range(2))

    def interrupted(*arguments):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return learn(*arguments)

    monkeypatch.setattr(PPO, "learn", interrupted)
    with pytest.raises(SystemExit, match="130"):
        command(monkeypatch, *words, "--out", tmp_path / "killed")
    monkeypatch.setattr(PPO, "learn", learn)
    for name in ("killed", "straight"):
        command(monkeypatch, *words, "--out", tmp_path / name)
    said = capsys.readouterr().out
    assert "continues after step 2" in said
    assert "true usefulness" in said
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("killed", "straight")]
    assert weights[0] == weights[1] != before
    assert (FOLDER / "model.safetensors").read_bytes() == before
    model = BundledModel(tmp_path / "killed")
    model.load()
    assert model.name != BundledModel().name
    with pytest.raises(SystemExit):
        command(monkeypatch, *words, "--out", tmp_path / "killed")
    assert "which holds a model; name a new folder" in capsys.readouterr().err


def test_ilql_from_logs(log, tmp_path, monkeypatch):
    command(monkeypatch, "ilql", "--logs", log, "--out", tmp_path / "ilql", "--steps", 3)
    model = BundledModel(tmp_path / "ilql")
    (answer,) = model.answer([open_ended.prompt(CAPTIONS[0], CRAFTER.language(), temperature=1.0)])
    assert answer.text
    without = tmp_path / "without"
    (tmp_path / "ilql").rename(without)
    (without / value_heads.WEIGHTS).unlink()
    assert BundledModel(without).name != model.name  # the heads are part of what answers


def test_heads_change_what_a_folder_answers(tmp_path):
    """Heads that love the end of the answer: with a large beta it is all that is written."""
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    shape = json.loads((FOLDER / "config.json").read_text())
    heads = value_heads.ValueHeads(shape["n_embd"], shape["vocab_size"])
    with torch.no_grad():
        for head in (heads.target_q1, heads.target_q2):
            head[-1].weight.zero_()
            head[-1].bias.zero_()
            head[-1].bias[0] = 10.0
    heads.save(folder, beta=5.0)
    asked = [open_ended.prompt(CAPTIONS[0], CRAFTER.language(), temperature=1.0)]
    assert BundledModel(folder).answer(asked)[0].text == ""
    assert BundledModel().answer(asked)[0].text
    (folder / value_heads.SETTINGS).write_text("{}")
    with pytest.raises(UserError, match="holds no model that can be read"):
        BundledModel(folder).load()


@pytest.mark.parametrize(
    ("name", "asked", "learned"),
    [("rarity_power", 0.5, 0.0), ("cost", 0.5, 0.1), ("judge", "advice", "logs")],
)
def test_ppo_needs_a_reward_model_of_the_same_usefulness(reward_model, log, tmp_path, name, asked, learned):
    ppo = train_suggester.Ppo((log,), reward_model, tmp_path / "ppo", **{name: asked})
    option = name.replace("_", "-")
    with pytest.raises(
        UserError, match=rf"^{option} is {asked}, but .* learned with {learned}; give --{option} {learned}$"
    ):
        ppo.run()


def test_a_training_is_continued_with_its_own_recipe_only(reward_model, log):
    with pytest.raises(UserError, match="holds a training with steps 8, but steps is 9"):
        train_suggester.RewardModel(reward_model, (log,), scenes=60, k=4, steps=9).run()
    with pytest.raises(UserError, match="k is 3; it must be from 4 to 9"):
        train_suggester.RewardModel(reward_model, (log,), k=3).run()
    with pytest.raises(UserError, match="holds no reward model"):
        train_suggester.Ppo((log,), log.parent, reward_model.parent / "x").run()
    with pytest.raises(UserError, match="there are no labels; name --logs, --choices, or both"):
        train_suggester.RewardModel(reward_model.parent / "x").run()
    with pytest.raises(UserError, match="horizon is 0; it must be above 0"):
        train_suggester.Ppo((log,), reward_model, reward_model.parent / "x", horizon=0).run()
    assert not (reward_model.parent / "x").exists()


def test_a_reward_model_from_choices_alone(tmp_path):
    path = tmp_path / "choices.jsonl"
    path.write_text("".join(choice(i) for i in range(40)))
    train_suggester.RewardModel(tmp_path / "reward", choices=(path,), steps=12).run()
    figures = json.loads((tmp_path / "reward" / "figures.json").read_text())
    assert set(figures) == {"four_way_accuracy_of_choices", "held_out_choices"}
    assert figures["four_way_accuracy_of_choices"] > 0.9  # it is always the same answer


def test_training_goes_on_from_a_folder_that_ilql_wrote(tmp_path, capsys):
    """Without its value heads, which are for decoding."""
    folder = tmp_path / "ilql"
    shutil.copytree(FOLDER, folder)
    shape = json.loads((FOLDER / "config.json").read_text())
    value_heads.ValueHeads(shape["n_embd"], shape["vocab_size"]).save(folder, beta=8.0)
    Suggester(folder).save(tmp_path / "new")
    assert f"training starts from {folder} without its value heads" in capsys.readouterr().err
    assert BundledModel(tmp_path / "new").name == BundledModel().name
    BundledModel(tmp_path / "new").load()


def test_figures_of_seeds_are_gathered(tmp_path):
    for seed, value in ((0, 1.0), (1, 3.0)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "recipe.json").write_text(json.dumps({"method": "ppo", "mix": 1.0, "seed": seed}))
        (folder / "figures.json").write_text(json.dumps({"kl": value}))
    (row,) = report.summarise([tmp_path / "0", tmp_path / "1"])
    assert row["seeds"] == [0, 1]
    # The standard error of 1 and 3 is 1; Student's t with one degree of freedom: 12.706.
    assert row["figures"]["kl"] == pytest.approx((2.0, 2 - 12.706, 2 + 12.706), abs=1e-3)
    with pytest.raises(UserError, match="holds no finished training"):
        report.summarise([tmp_path])
