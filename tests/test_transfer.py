"""What a run takes over from a pretrained agent, and what an agent does that is told a goal: the parts, and the command lines."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch

from ellm_agent import checkpoints, cli, config_files, told, transfer
from ellm_agent.config import PRESETS, Config
from ellm_agent.errors import UserError
from ellm_agent.exploration import GoalExploration
from ellm_agent.goals import TaskGoals
from ellm_agent.runs import Run
from ellm_agent.training import make_agent, make_exploration, make_guide, make_player, train
from experiments import evaluate, finetune, guided_exploration
from tests.processes import script
from tests.run_kills import differences, outcome
from tests.test_run import rows

SMALL = [
    "--preset", "debug", "--frames", "640", "--n-envs", "4", "--episode-length", "40", "--eval-every", "10000",
    "--eval-episodes", "2", "--log-every", "320", "--checkpoint-every", "320", "--replays", "0", "--no-tensorboard",
    "--dqn.learning-starts", "100", "--dqn.train-every", "16", "--ppo.rollout", "40", "--ppo.batch-size", "80", "--hidden", "16", "--threads", "1",
]  # fmt: skip
KINDS = {  # what is pretrained
    "dqn": ["--goal-mode", "oracle", "--goal-conditioned", "--target", "double"],
    "ppo": ["--goal-mode", "novelty", "--algo", "ppo"],
}
# What the debug run has, where the paper's settings for what follows are larger.
SHORT = ["--frames", "640", "--dqn.epsilon-frames", "600"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Finished run folders, by algorithm, made when they are first asked for."""
    made = {}

    def make(algo="dqn"):
        if algo not in made:
            made[algo] = tmp_path_factory.mktemp("pretrained") / algo
            done = script("run_crafter.py", *SMALL, *KINDS[algo], "--out", made[algo])
            assert done.returncode == 0, done.stderr
        return made[algo]

    return make


def learning(run, out, how="finetune", task="chop tree", layers="all", **changes) -> Config:
    """The configuration of a short run that learns a task after pretraining."""
    config = transfer.settings(run, Run.open(run).config, task, how)
    small = dataclasses.replace(config.dqn, epsilon_frames=600, **changes.pop("dqn", {}))
    source = dataclasses.replace(config.transfer, layers=layers, **changes.pop("transfer", {}))
    return dataclasses.replace(config, frames=640, out=out, dqn=small, transfer=source, **changes)


def learn(config) -> None:
    """Such a run, but for what is drawn and written at its end."""
    run, origin = Run.create(config), transfer.check(config)
    if origin:
        transfer.adopt(origin, run)
    train(run, TaskGoals())


def parameters(folder):
    """Networks and optimisers in a run's last checkpoint."""
    path = checkpoints.latest(folder / "checkpoints") / checkpoints.PARAMETERS
    return torch.load(path, weights_only=True)


def equal(one, other, only=""):
    """Names of the tensors that are equal, bit for bit, and of those that are not."""
    names = [name for name in one if only in name]
    same = [name for name in names if torch.equal(one[name], other[name])]
    return same, [name for name in names if name not in same]


def world_of(config, checkpoint, n_envs=4) -> GoalExploration:
    """Real worlds that show a task, with the phrases of a checkpoint."""
    return make_exploration(config, TaskGoals(), checkpoints.load_phrases(checkpoint), n_envs)


def scenes(worlds, frames=25):
    """Observations on a random walk, ``(worlds * frames, slots)``."""
    worlds.seed(0)
    worlds.reset()
    rng = np.random.default_rng(0)
    return np.concatenate([worlds.step(rng.integers(17, size=worlds.num_envs))[0] for _ in range(frames)])


# --- settings -------------------------------------------------------------------------------------------------------


def test_fine_tuning_has_the_papers_settings(tmp_path):
    config = transfer.settings(tmp_path, PRESETS["paper"], "mine stone", "finetune")
    assert config.frames == 1_000_000
    assert config.dqn.learning_rate == 2e-5
    assert PRESETS["paper"].dqn.learning_rate == 6.25e-5
    assert (config.dqn.epsilon_initial, config.dqn.epsilon_final) == (0.5, 0.01)
    assert config.ppo.learning_rate == 2e-5
    assert (config.transfer.pretrained, config.transfer.transfer) == (tmp_path, "finetune")
    assert (config.environment.task, config.environment.pays) == ("mine stone", "last")
    assert (config.goals.goal_mode, config.goals.extrinsic_weight, config.goals.success) == (
        "task",
        1,
        "effect",
    )
    assert config.out is None
    # A soft policy's entropy must not outweigh the task.
    soft = transfer.settings(tmp_path, PRESETS["default"], "mine stone", "finetune")
    assert (soft.agent.target, soft.goals.extrinsic_weight) == ("munchausen", 10)
    # Whatever decides what it reads and does stays as it was.
    before, now = config_files.flatten(PRESETS["paper"]), config_files.flatten(config)
    assert all(now[name] == before[name] for name in transfer.BUILT_ALIKE)


def test_guiding_has_the_papers_settings(tmp_path):
    paper = PRESETS["paper"]
    for algo in ("dqn", "ppo"):
        theirs = dataclasses.replace(paper, agent=dataclasses.replace(paper.agent, algo=algo))
        config = transfer.settings(tmp_path, theirs, "mine stone", "guide")
        assert config.frames == 2_000_000
        assert config.agent.algo == "dqn"
        assert config.transfer.guide_share == 0.5
        assert config.dqn.learning_rate == paper.dqn.learning_rate
        dqn = config.dqn
        assert (dqn.epsilon_initial, dqn.epsilon_final, dqn.epsilon_frames) == (1.0, 0.01, 1_000_000)
    assert transfer.settings(tmp_path, PRESETS["debug"], "sleep", "guide").dqn.epsilon_final == 0.01


def test_a_control_differs_in_what_is_taken_over_alone(tmp_path):
    theirs = PRESETS["paper"]
    scratch = transfer.control(tmp_path, theirs, "sleep", "finetune")
    assert scratch == transfer.settings(tmp_path, theirs, "sleep", None)
    assert (scratch.frames, scratch.transfer.pretrained) == (1_000_000, None)
    assert (scratch.dqn, scratch.ppo, scratch.agent) == (theirs.dqn, theirs.ppo, theirs.agent)
    ppo = dataclasses.replace(theirs, agent=dataclasses.replace(theirs.agent, algo="ppo"))
    alone = transfer.control(tmp_path, ppo, "sleep", "guide")
    guided = transfer.settings(tmp_path, ppo, "sleep", "guide")
    before, now = config_files.flatten(guided), config_files.flatten(alone)
    assert {name for name in now if now[name] != before[name]} == {"transfer.pretrained"}
    assert alone.transfer.pretrained is None
    assert alone.agent.algo == "dqn"


def test_what_was_learned_without_goals_loses_its_bonus(tmp_path):
    theirs = dataclasses.replace(
        PRESETS["debug"], novelty=dataclasses.replace(PRESETS["debug"].novelty, bonus="rnd")
    )
    assert transfer.settings(tmp_path, theirs, "sleep", "finetune").novelty.bonus is None


@pytest.mark.parametrize(
    ("how", "section", "changes", "message"),
    [
        ("finetune", "environment", {"caption": "paper"}, "caption is paper, but the agent .* has spatial"),
        ("finetune", "environment", {"protocol": "ellm"}, "protocol is ellm, but the agent .* has crafter"),
        ("finetune", "environment", {"action_space": "verb-noun"}, "action-space is verb-noun, but"),
        ("finetune", "goals", {"goal_conditioned": False}, "goal-conditioned is False, but .* has True"),
        ("finetune", "agent", {"hidden": 32}, "hidden is 32, but the agent .* has 16"),
        ("finetune", "agent", {"algo": "ppo"}, "algo is ppo, but the agent .* has dqn"),
        ("finetune", "agent", {"encoder": "sentence"}, "encoder is sentence, but .* has clauses"),
        ("finetune", "agent", {"clause_vectors": "raw"}, "clause-vectors is raw, but .* has None"),
        ("guide", "environment", {"caption": "paper"}, "caption is paper, but the agent .* has spatial"),
        ("guide", "environment", {"protocol": "ellm"}, "protocol is ellm, but"),
        ("guide", "goals", {"goal_conditioned": False}, "goal-conditioned is False, but"),
        ("guide", "agent", {"encoder": "sentence"}, "encoder is sentence, but"),
    ],
)
def test_an_agent_that_is_another_is_refused(pretrained, how, section, changes, message):
    config = transfer.settings(pretrained(), Run.open(pretrained()).config, "sleep", how)
    part = dataclasses.replace(getattr(config, section), **changes)
    with pytest.raises(UserError, match=message) as refused:
        transfer.check(dataclasses.replace(config, **{section: part}))
    assert str(pretrained()) in str(refused.value)
    assert transfer.check(config).parent == pretrained() / "checkpoints"


def test_a_guide_may_be_built_otherwise(pretrained):
    config = transfer.settings(pretrained("ppo"), Run.open(pretrained("ppo")).config, "sleep", "guide")
    agent = dataclasses.replace(config.agent, hidden=8, target="double", clause_vectors="raw")
    assert transfer.check(dataclasses.replace(config, agent=agent)) is not None


def test_a_run_without_anything_learned_is_refused(pretrained, tmp_path):
    early, by_chance = tmp_path / "early", tmp_path / "random"
    shutil.copytree(pretrained(), early)
    shutil.rmtree(early / "checkpoints")
    with pytest.raises(UserError, match="early holds no checkpoint yet; let the run end first"):
        transfer.check(transfer.settings(early, Run.open(early).config, "sleep", "finetune"))
    shutil.copytree(pretrained(), by_chance)
    path = by_chance / "config.yaml"
    path.write_text(path.read_text().replace("algo: dqn", "algo: random"))
    for how in ("finetune", "guide"):
        with pytest.raises(UserError, match="random holds random actions; nothing was learned there"):
            transfer.check(transfer.settings(by_chance, Run.open(by_chance).config, "sleep", how))
    for part in (early, early / "none"):
        (part / "config.yaml").unlink(missing_ok=True)
        config = transfer.settings(part, PRESETS["debug"], "sleep", "finetune")
        with pytest.raises(UserError, match="is not a "):
            transfer.check(config)
    config = transfer.settings(pretrained(), Run.open(pretrained()).config, "sleep", None)
    assert transfer.check(config) is None


# --- fine-tuning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_fine_tuning_starts_with_the_pretrained_networks(pretrained, tmp_path, algo):
    """Also with what is better than what, but not with what states were worth; its optimiser remembers nothing."""
    run = Run.open(pretrained(algo))
    config = learning(pretrained(algo), tmp_path / "run")
    ours = Run.create(config)
    transfer.adopt(transfer.check(config), ours)
    worlds = world_of(config, ours.pretrained)
    agent = make_agent(config, worlds)
    fresh = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    transfer.take_networks(agent, ours.pretrained, "all")
    theirs = parameters(pretrained(algo))
    taken, other = equal(agent.policy.state_dict(), theirs["policy"])
    values = ["q_net.value", "q_net_target.value"] if algo == "dqn" else ["value_net"]
    assert sorted(other) == sorted(f"{value}.{part}" for value in values for part in ("weight", "bias"))
    assert not any(agent.policy.state_dict()[name].any() for name in other)
    assert len(taken) == len(theirs["policy"]) - len(other)
    assert equal(fresh, theirs["policy"])[1]  # they had learned something
    optimisers = {name: part for name, part in theirs.items() if "optimizer" in name}
    for name, state in optimisers.items():
        assert state["state"]
        assert agent.get_parameters()[name]["state"] == {}
    assert all(p.requires_grad for p in agent.policy.parameters())
    (group,) = agent.policy.optimizer.param_groups
    assert group["lr"] == 2e-5

    player = make_player(run.config, checkpoints.latest(run.checkpoints), worlds)
    seen = torch.as_tensor(scenes(worlds))
    with torch.no_grad():
        if algo == "dqn":
            ours, theirs = (q_net(seen) for q_net in (agent.q_net, player.q_net))
            better = [values - values.mean(dim=1, keepdim=True) for values in (ours, theirs)]
            assert torch.allclose(*better, atol=1e-6)
            assert torch.allclose(ours.mean(dim=1), torch.zeros(len(ours)), atol=1e-6)
        else:
            ours, theirs = (p.policy.get_distribution(seen).distribution.logits for p in (agent, player))
            assert torch.equal(ours, theirs)
            assert not agent.policy.predict_values(seen).any()


def test_a_run_that_never_updates_ends_with_what_it_took_over(pretrained, tmp_path):
    """The same through the whole of a run."""
    still = {"learning_starts": 10_000, "target_every": 10_000}
    learn(learning(pretrained(), tmp_path / "run", dqn=still))
    after, before = parameters(tmp_path / "run"), parameters(pretrained())
    assert [name for name in equal(before["policy"], after["policy"])[1] if ".value." not in name] == []
    assert after["policy.optimizer"]["state"] == {}
    learn(learning(pretrained(), tmp_path / "scratch", how=None, dqn=still))
    assert equal(before["policy"], parameters(tmp_path / "scratch")["policy"], "weight")[1]
    assert not (tmp_path / "scratch" / "pretrained").exists()


@pytest.mark.parametrize(("algo", "layers"), [("dqn", "head"), ("ppo", "head"), ("dqn", "all")])
def test_a_head_learns_on_an_encoder_that_stays(pretrained, tmp_path, algo, layers):
    before = parameters(pretrained(algo))["policy"]
    network = "q_net." if algo == "dqn" else ""
    heads = [name for name in before if name.startswith(network) and "features_extractor" not in name]
    heads = [name for name in heads if name.endswith("weight") and "target" not in name]
    assert len(heads) == 2  # value and advantage; value and action
    learn(learning(pretrained(algo), tmp_path / "run", task="survival", layers=layers))
    after = parameters(tmp_path / "run")["policy"]
    stayed, moved = equal(before, after, f"{network}features_extractor")
    assert stayed if layers == "head" else moved
    assert (moved == []) == (layers == "head"), moved
    assert not any(torch.equal(before[name], after[name]) for name in heads)


# --- guiding --------------------------------------------------------------------------------------------------------


def guided(pretrained, tmp_path, algo="dqn", share=0.5, target="double", **dqn):
    """A fresh DQN with a guide, in 16 real worlds."""
    config = learning(pretrained(algo), tmp_path / "run", "guide", transfer={"guide_share": share}, dqn=dqn)
    config = dataclasses.replace(
        config,
        frames=960,
        agent=dataclasses.replace(config.agent, target=target),
        environment=dataclasses.replace(config.environment, n_envs=16),
    )
    run = Run.create(config)
    transfer.adopt(transfer.check(config), run)
    worlds = world_of(config, run.pretrained, 16)
    guide = make_guide(config, run.pretrained, worlds)
    agent = make_agent(config, worlds)
    agent.epsilon, agent.guide, agent.guide_share = True, guide, config.transfer.guide_share
    return agent, worlds


@pytest.mark.parametrize("target", ["double", "munchausen"])
def test_random_actions_are_the_guides_by_its_share(pretrained, tmp_path, target):
    """The guide, a double DQN, is greedy: what it would do is known."""
    agent, worlds = guided(pretrained, tmp_path, target=target)
    seen = scenes(worlds, 125)  # 2,000
    shown, _ = agent.guide.predict(seen, deterministic=True)
    agent.exploration_rate, agent.guide_share = 1.0, 1.0
    assert (agent.predict(seen)[0] == shown).all()

    agent.guide_share = 0.0
    np.random.seed(3)
    chosen, _ = agent.predict(seen)
    np.random.seed(3)
    np.random.rand(len(seen))  # the coins for epsilon
    assert (chosen == np.random.randint(17, size=len(seen))).all()

    agent.guide_share = 0.5
    np.random.seed(3)
    chosen, _ = agent.predict(seen)
    assert (chosen == shown).mean() == pytest.approx(0.5 + 0.5 / 17, abs=0.03)

    agent.exploration_rate, agent.guide_share = 0.0, 1.0  # no random actions: none of the guide's
    if target == "double":
        own = agent.predict(seen, deterministic=True)[0]
        assert (agent.predict(seen)[0] == own).all()
        assert (own != shown).any()
    else:
        assert (agent.predict(seen)[0] == shown).mean() < 0.3
    agent.exploration_rate = 1.0
    assert (
        agent.predict(seen, deterministic=True)[0] == agent.policy.predict(seen, deterministic=True)[0]
    ).all()


@pytest.mark.parametrize(("share", "wanted"), [(1.0, 1.0), (0.5, 0.5 + 0.5 / 17), (0.0, 1 / 17)])
def test_the_guide_also_acts_before_learning_starts(pretrained, tmp_path, share, wanted):
    """The actions in the replay, up to frame 480 and after it, are the guide's by its share."""
    agent, _ = guided(
        pretrained, tmp_path, share=share, learning_starts=480, epsilon_initial=1.0, epsilon_final=1.0
    )
    agent.learn(960)
    replay, half = agent.replay_buffer, 30
    assert replay.pos == 2 * half
    assert agent._n_updates > 0
    seen = np.stack([[replay.observations[step, i] for i in range(16)] for step in range(2 * half)])
    shown, _ = agent.guide.predict(seen.reshape(-1, seen.shape[-1]), deterministic=True)
    same = replay.actions[: 2 * half].reshape(2 * half, 16) == shown.reshape(2 * half, 16)
    for part in (same[:half], same[half:]):
        assert part.mean() == pytest.approx(wanted, abs=0 if share == 1 else 0.08)


def test_a_ppo_agent_can_guide(pretrained, tmp_path):
    """It samples: with its share at 1, actions come from its distribution."""
    agent, worlds = guided(pretrained, tmp_path, "ppo", share=1.0)
    before = {name: tensor.clone() for name, tensor in agent.guide.state_dict().items()}
    assert equal(parameters(pretrained("ppo"))["policy"], before)[1] == []
    agent.exploration_rate = 1.0
    seen = np.repeat(scenes(worlds, 1)[:1], 5_000, axis=0)
    with torch.no_grad():
        wanted = agent.guide.get_distribution(torch.as_tensor(seen[:1])).distribution.probs[0].numpy()
    drawn = np.bincount(agent.predict(seen)[0], minlength=17) / len(seen)
    assert drawn == pytest.approx(wanted, abs=0.03)
    agent.learn(320)
    assert agent._n_updates > 0
    assert equal(before, agent.guide.state_dict())[1] == []  # it learns nothing more


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algo", "name", "options"),
    [("dqn", "guided_exploration.py", []), ("ppo", "finetune.py", ["--layers", "head"])],
)
def test_a_run_goes_on_without_the_pretrained_one(pretrained, tmp_path, algo, name, options):
    """Killed before its first checkpoint, or after it: it ends bit for bit as it would have, though the other run is gone."""
    gone = shutil.copytree(pretrained(algo), tmp_path / "gone")
    folder = tmp_path / "run"
    done = script(name, gone, "--task", "chop grass", *SHORT, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    whole = outcome(folder)
    assert any(json.loads(row)["success"] for row in whole["episodes"])
    shutil.rmtree(gone)
    for left in (1, 0) if algo == "dqn" else (1,):
        there = sorted((folder / "checkpoints").iterdir())
        assert len(there) == 2
        for checkpoint in there[left:]:
            shutil.rmtree(checkpoint)
        done = script("run_crafter.py", "--resume", folder)
        assert done.returncode == 0, done.stderr
        assert list(differences(whole, outcome(folder))) == []


def read(folder):
    return json.loads((folder / "summary.json").read_text()), config_files.load(folder / "config.yaml")


@pytest.mark.parametrize(
    ("name", "options", "promised"),
    [
        ("finetune.py", [], "fine-tuning all layers of"),
        ("finetune.py", ["--layers", "head", "--pays", "each"], "fine-tuning head layers of"),
        ("finetune.py", ["--from-scratch"], None),
        ("guided_exploration.py", ["--guide-share", "0.25", "--replays", "1"], "guided by"),
    ],
)
def test_scripts_leave_what_they_promise(pretrained, tmp_path, name, options, promised):
    folder = tmp_path / "run"
    done = script(name, pretrained(), "--task", "chop grass", *SHORT, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "goals: task: the next step of the environment's task" in done.stdout
    assert re.search(r"task 'chop grass' solved, last 100 training episodes: \d+\.\d%", done.stdout)
    assert (f"{promised} {pretrained()}" in done.stdout) if promised else ("fine-tuning" not in done.stdout)
    summary, config = read(folder)
    assert summary["task"] == config.environment.task == "chop grass"
    assert summary["frames"] == 640
    episodes = rows(folder, "episodes")
    solved = [row["success"] for row in episodes]
    assert True in solved
    assert summary["success_rate"] == pytest.approx(np.mean(solved[-100:]))
    assert rows(folder, "metrics")[-1]["success_rate"] == summary["success_rate"]
    assert 0 <= rows(folder, "evaluations")[-1]["success_rate"] <= 1
    for row in episodes:
        assert row["intrinsic_return"] == 0
        assert row["extrinsic_return"] == row["success"]
        assert row["success"] == ("collect_sapling" in row["unlocked"])
        assert row["length"] <= 40
    taken = {path.name for path in (folder / "pretrained").iterdir()} if promised else None
    assert taken in (None, {"config.yaml", checkpoints.PARAMETERS, *checkpoints.PHRASES})
    assert (folder / "pretrained").exists() == bool(promised)
    assert "solved" in (folder / "report.html").read_text()
    kind = {"finetune.py": "finetune", "guided_exploration.py": "guide"}[name] if promised else "scratch"
    assert summary["name"] == f"crafter-chop_grass-{kind}-dqn-double-length_40-seed0"
    assert len(list((folder / "replays").glob("*.gif"))) == ("--replays" in options)
    again = script(name, pretrained(), "--task", "sleep", *SHORT, *options, "--out", folder)
    assert again.returncode == 2
    assert (
        again.stderr == f"error: {folder} holds a run already; choose another --out, or --resume {folder}\n"
    )


def test_a_task_is_learned_by_the_main_script_too(tmp_path):
    """As any other run: here with goals beside the task."""
    options = ["--goal-mode", "novelty", "--task", "survival", "--extrinsic-weight", "1", "--algo", "ppo"]
    done = script("run_crafter.py", *SMALL, *options, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary, _ = read(tmp_path / "run")
    assert summary["name"] == "crafter-survival-novelty-ppo-length_40-seed0"
    episodes = rows(tmp_path / "run", "episodes")
    assert any(row["intrinsic_return"] > 0.9 for row in episodes)
    for row in episodes:
        assert row["extrinsic_return"] == pytest.approx((row["length"] - (not row["success"])) / 40, abs=1e-3)


# --- telling goals --------------------------------------------------------------------------------------------------


def test_an_agent_is_told_goals(pretrained, tmp_path):
    options = ["--goals", "chop grass", "Drink the water", "--episodes", "3", "--within", "30"]
    done = script("evaluate.py", pretrained(), *options)
    assert done.returncode == 0, done.stderr
    assert "does not read goals" not in done.stdout
    assert all(
        word in done.stdout for word in ("another told", "chop grass", "Drink the water", "within 30 frames")
    )
    found = json.loads((pretrained() / "told.json").read_text())
    assert found["goals"] == ["chop grass", "Drink the water"]
    assert found["events"] == ["chop grass", "drink water"]
    assert (found["within"], found["reads_goals"], found["frames"]) == (30, True, 640)
    assert found["run"]["goals.goal_conditioned"] is True
    assert str(tmp_path) not in json.dumps(found)
    reached = found["reached"]
    assert [[len(episodes) for episodes in row] for row in reached] == [[3, 3], [3, 3]]
    assert all(f is None or 1 <= f <= 30 for row in reached for episodes in row for f in episodes)
    again = script("evaluate.py", pretrained(), *options, "--out", tmp_path / "again.json")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again.json").read_text()) == found  # the same worlds, the same dice


def test_an_agent_that_does_not_read_is_only_watched(pretrained, tmp_path):
    out = tmp_path / "told.json"
    done = script("evaluate.py", pretrained("ppo"), "--episodes", "2", "--within", "60", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "this agent does not read goals" in done.stdout
    assert "another told" not in done.stdout
    found = json.loads(out.read_text())
    assert found["reads_goals"] is False
    assert len(found["goals"]) == len(found["events"]) == 23
    assert [len(row) for row in found["reached"]] == [23]
    assert any(frame for episodes in found["reached"][0] for frame in episodes)


def test_what_is_told_is_worked_out_by_hand():
    goals = ("drink", "grass", "table")
    events = ("drink water", "chop grass", "place crafting table")
    reached = [
        [[3, 8, None, 9], [5, 2, None, None], [None] * 4],  # told to drink
        [[9, None, 1, None], [4, 6, 2, None], [None] * 4],  # told to fetch grass
        [[None] * 4, [None, None, None, 7], [6, 6, 6, 6]],
    ]
    found = told.Told(goals, events, True, 10, reached)
    assert [found.told(i) for i in range(3)] == [0.75, 0.75, 1.0]
    assert [found.frames(i) for i in range(3)] == [8, 4, 6]
    # Drinking before grass: told so, in episodes 1 and 4 of 4; told grass, in the third. Before the table: 3 of 4; 0 of 4.
    assert found.compared(0) == pytest.approx(((2 / 4 + 3 / 4) / 2, (1 / 4 + 0) / 2))
    assert found._before(0, 1, 0) == 1 / 4  # a frame too late is not before
    deaf = told.Told(goals, events, True, 10, [reached[0]] * 3)
    one, other = deaf.compared(0)
    assert one == other  # who does not listen does the same
    wood = told.Told(
        ("tree", "table"), ("chop tree", "place crafting table"), True, 10, [row[:2] for row in reached[:2]]
    )
    assert wood.compared(0) is None  # on the way to a table: nothing to compare with
    assert wood.compared(1) is not None
    watched = told.Told(goals, events, False, 10, reached[:1])
    assert [watched.told(i) for i in range(3)] == [0.75, 0.5, 0.0]
    assert watched.frames(2) is None
    assert watched.compared(0) is None


# --- what is wrong is told in one line ------------------------------------------------------------------------------


@pytest.fixture
def complaint(monkeypatch, capsys):
    """Runs one of the scripts in this process; the line with which it ends, with status 2."""

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *map(str, arguments)])
        main, words = cli.downstream, (module.__doc__, "finetune" if module is finetune else "guide")
        if module is evaluate:
            main, words = cli.script, (evaluate.evaluate, evaluate.Options, evaluate.__doc__)
        with pytest.raises(SystemExit) as ended:
            main(*words)
        said = capsys.readouterr()
        assert ended.value.code == 2
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        return said.err[len("error: ") : -1]

    return run


@pytest.mark.parametrize("module", [finetune, guided_exploration])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the pretrained run's folder comes first, such as runs/NAME"),
        (["--task", "sleep"], "the pretrained run's folder comes first, such as runs/NAME"),
        (["RUN"], "name a task: --task 'mine stone' (docs/tasks.md lists them)"),
        (["RUN", "--task"], "Missing value for argument '--task'. Expected 1 values."),
        (["RUN", "--task", "mine stoen"], "task is 'mine stoen'; did you mean 'mine stone'?"),
        (["RUN", "--task=plant_row"], "task is 'plant_row'; did you mean 'plant row'?"),
        (["RUN", "--task", "xyz"], "task is 'xyz'; choose one of chop tree, chop grass, drink water, "),
        (["RUN", "--task", ""], "task is ''; choose one of "),
        (["/nowhere", "--task", "sleep"], "/nowhere is not a folder; name a run folder"),
        ([".", "--task", "sleep"], ". is not a run folder: it holds no config.yaml"),
        (["RUN", "--task", "sleep", "--pays", "all"], "'all'"),
        (
            ["RUN", "--task", "sleep", "--guide-share", "2"],
            "guide-share is 2.0; it must lie between 0 and 1",
        ),
        (["RUN", "--task", "sleep", "--guide-share", "nan"], "guide-share is nan; it must be"),
        (["RUN", "--task", "sleep", "--layers", "tail"], "'tail'"),
        (["RUN", "--task", "sleep", "--layer", "head"], "unknown option --layer; did you mean --layers?"),
        (
            ["RUN", "--task", "sleep", "--from-scrach"],
            "unknown option --from-scrach; did you mean --from-scratch?",
        ),
        (["RUN", "OTHER", "--task", "sleep"], "unexpected argument 'OTHER'; options start with --"),
        (["RUN", "--task", "sleep", "--caption", "paper"], "caption is paper, but the agent pretrained in "),
        (["RUN", "--task", "sleep", "--frames", "0"], "frames is 0; it must be at least 1"),
        (["RUN", "--task", "sleep", "--preset", "paper"], "preset is paper, but this script and "),
        (["RUN", "--task", "sleep", "--pretrained", "x"], "pretrained is x, but this script and "),
        (["RUN", "--task", "sleep", "--goal-mode", "psychic"], "'psychic'"),
    ],
)
def test_downstream_scripts_name_what_is_wrong(complaint, pretrained, tmp_path, module, arguments, message):
    arguments = [str(pretrained()) if word == "RUN" else word for word in arguments]
    assert message in complaint(module, *arguments, *(["--out", tmp_path / "out"] if arguments else []))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "algo", "arguments", "message"),
    [
        (guided_exploration, "dqn", ["--algo", "ppo"], "algo is ppo; with --transfer guide it must be dqn"),
        (guided_exploration, "dqn", ["--transfer", "finetune"], "transfer is finetune, but this script and "),
        (finetune, "dqn", ["--transfer", "guide"], "transfer is guide, but this script and "),
        (finetune, "dqn", ["--algo", "ppo"], "algo is ppo, but the agent pretrained in "),
        (finetune, "ppo", ["--algo", "trpo", "--layers", "head"], "with --layers head it must be dqn or ppo"),
        (finetune, "dqn", ["--hidden", "8"], "hidden is 8, but the agent pretrained in "),
    ],
)
def test_what_does_not_go_together(complaint, pretrained, tmp_path, module, algo, arguments, message):
    options = ["--task", "sleep", *arguments, "--out", tmp_path / "out"]
    assert message in complaint(module, pretrained(algo), *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["/nowhere"], "/nowhere is not a folder; name a run folder"),
        (["."], ". is not a run folder: it holds no config.yaml"),
        (["RUN", "--goals", "chop tree", ""], "a goal is empty; name it in words, such as 'chop tree'"),
        (["RUN", "--goals", "  "], "a goal is empty"),
        (["RUN", "--goals", "win the lottery"], "goal 'win the lottery' means nothing in this game"),
        (["RUN", "--goals", "eat cow", "attack cow"], "goals 'eat cow' and 'attack cow' are the same"),
        (["RUN", "--within", "0"], "within is 0; it must be at least 1"),
        (["RUN", "--episodes", "-3"], "episodes is -3; it must be at least 1"),
        (["RUN", "--goal", "sleep"], "unknown option --goal; did you mean --goals?"),
        (["RUN", "--episodes", "few"], "few"),
    ],
)
def test_evaluate_names_what_is_wrong(complaint, pretrained, arguments, message):
    assert message in complaint(evaluate, *(pretrained() if word == "RUN" else word for word in arguments))


def test_scripts_are_scripts(pretrained, tmp_path):
    """The same from a shell: one line, status 2."""
    for name, arguments, message in (
        ("finetune.py", [pretrained()], "name a task: --task 'mine stone' (docs/tasks.md lists them)"),
        ("guided_exploration.py", [tmp_path, "--task", "sleep"], f"{tmp_path} is not a run folder: it holds no config.yaml"),
        ("evaluate.py", [pretrained(), "--within", "0"], "within is 0; it must be at least 1"),
    ):  # fmt: skip
        done = script(name, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_from_scratch_in_any_spelling_takes_nothing_over(pretrained):
    def parsed(transfer, *words):
        return cli.parse_downstream([str(pretrained()), "--task", "sleep", *words], "", transfer)

    for words in (["--from-scratch"], ["--from_scratch"], ["--no-from-scratch", "--from-scratch"]):
        config = parsed("finetune", *words)
        assert config.transfer.pretrained is None, words
        assert config.dqn.epsilon_initial == 1.0
        assert parsed("guide", *words).frames == 2_000_000
    for words in ([], ["--no-from-scratch"], ["--from-scratch", "--no-from-scratch"]):
        config = parsed("finetune", *words)
        assert config.transfer.pretrained == pretrained(), words
        assert config.dqn.epsilon_initial == 0.5
    assert parsed("finetune", "--from-scratch", "--seed", "7", "--dqn.gamma", "0.5").dqn.gamma == 0.5


@pytest.mark.parametrize("name", ["finetune.py", "guided_exploration.py", "evaluate.py"])
def test_help_needs_no_run(name):
    done = script(name, "--help")
    assert done.returncode == 0
    told = "--goals" if name == "evaluate.py" else "--from-scratch"
    assert told in done.stdout
