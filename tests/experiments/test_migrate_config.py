"""Configurations of 0.7.0 keep their meaning in the new sections."""

import pytest
import yaml

from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from ellm_agent.errors import UserError
from experiments.migrate_config import migrate, migrated
from tests.helpers.processes import ROOT

# As 0.7.0 wrote it, shortened: what is left out has 0.7.0's defaults.
EXAMPLE = """
preset: default
frames: 40000
seed: 7
out: runs/x
threads: 1
tensorboard: false
environment: {protocol: ellm, action_space: null, task: mine stone, pays: each, n_envs: 16}
goals:
  goal_mode: closed
  threshold: 0.8
  success: attempt
  extrinsic_weight: 0.5
  goal_conditioned: true
  goals_at_once: 2
  goal_frames: 32
  closed_candidates: all
  llm: embedded
  llm_base_url: http://localhost:8000/v1
  llm_scene: whole
  llm_every: 64
  llm_budget_usd: 2
novelty: {bonus: rnd, bonus_weight: 10.0, bonus_learning_rate: 0.001, bonus_batch: 32, bonus_passes: 2}
transfer: {pretrained: null, transfer: finetune, layers: all, guide_share: 0.5}
agent: {algo: ppo, hidden: 128}
dqn: {learning_rate: 0.0005, epsilon_initial: 0.5}
ppo: {learning_rate: 2.0e-05, rollout: 64}
"""

EXPECTED = {
    "run.preset": "default",
    "run.frames": 40_000,
    "run.seed": 7,
    "run.threads": 1,
    "run.device": "cpu",
    "run.tensorboard": False,
    "env.name": "crafter",
    "env.protocol": "ellm",
    "env.task": "mine stone",
    "env.task_reward": "each",
    "env.caption": "spatial",
    "env.n_envs": 16,
    "suggester.kind": "closed",
    "suggester.max_active_goals": 2,
    "suggester.active_goal_frames": 32,
    "suggester.closed_candidates": "all",
    "suggester.llm.kind": "bundled",
    "suggester.llm.base_url": "http://localhost:8000/v1",
    "suggester.llm.caption": "paper",
    "suggester.llm.every": 64,
    "suggester.llm.budget_usd": 2.0,
    "reward.threshold": 0.8,
    "reward.success": "attempt",
    "reward.extrinsic_weight": 0.5,
    "reward.novelty.kind": "rnd",
    "reward.novelty.weight": 10.0,
    "reward.novelty.learning_rate": 0.001,
    "reward.novelty.batch_size": 32,
    "reward.novelty.passes": 2,
    "agent.algo": "ppo",
    "agent.hidden": 128,
    "agent.goal_conditioned": True,
    "agent.dqn.learning_rate": 0.0005,
    "agent.dqn.epsilon_initial": 0.5,
    "agent.on_policy.learning_rate": 2e-5,
    "agent.on_policy.rollout": 64,
    "transfer.mode": "none",
    "transfer.pretrained": None,
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs" / "x" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(EXAMPLE)
    return path


def test_an_example_keeps_its_values(path):
    assert migrate(path)
    values = config_files.flatten(config_files.load(path))
    assert {name: values[name] for name in EXPECTED} == EXPECTED
    new = path.read_bytes()
    assert not migrate(path)  # it is up to date
    assert path.read_bytes() == new


@pytest.mark.parametrize("preset", PRESETS)
def test_options_that_are_missing_have_the_presets_values(preset):
    """0.7.0's defaults are those of today, but for the number of threads and what 0.9.0 brought."""
    changed = {
        line.split(" is ")[0]
        for line in config_files.differences(PRESETS[preset], migrated({"preset": preset}))
    }
    since = {"caption", "goal-conditioned", "rarity", "reopen"} if preset != "paper" else set()
    assert changed == {"threads", "action-prior", *since}


@pytest.mark.parametrize(
    ("transfer", "algo", "mode", "epsilon_greedy"),
    [
        ({"pretrained": "x", "transfer": "finetune", "layers": "head"}, "ppo", "finetune", None),
        ({"pretrained": "x", "transfer": "guide"}, "dqn", "guide", None),
        ({"pretrained": None, "transfer": "guide"}, "dqn", "none", True),  # the control of a guided run
        ({"pretrained": None, "transfer": "finetune"}, "dqn", "none", None),
    ],
)
def test_transfer(transfer, algo, mode, epsilon_greedy):
    config = migrated({"transfer": transfer, "agent": {"algo": algo}})
    assert config.transfer.mode == mode
    assert config.agent.dqn.epsilon_greedy is epsilon_greedy
    assert (config.transfer.pretrained is None) == (mode == "none")
    assert config.transfer.layers == transfer.get("layers", "all")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frames: 10\nframse: 3\n", "unknown key run.framse; did you mean run.frames?"),
        ("goals: {treshold: 0.3}\n", "unknown key suggester.treshold"),
        ("weather: {rain: 1}\n", "there is no section 'weather'"),
        ("goals: {threshold: 7}\n", "threshold is 7; it must be at most 1"),
        ("preset: huge\n", "preset is 'huge'; choose one of"),
        ("- a\n- b\n", "holds no mapping"),
        ("a: [\n", "not a readable YAML file"),
        ("[" * 2_000, "not a readable YAML file"),
        ("preset: [1]\n", "preset is [1]; choose one of"),
        ("run: {preset: huge}\n", "preset is 'huge'; choose one of"),
        ("run: {preset: [1]}\n", "preset is [1]; choose one of"),
        ("run: 5\nenv: {name: crafter}\n", "run is 5"),
        ("run: {5: 6}\n", "unknown key run.5"),
        ("run: &a {x: *a}\n", "is nested without an end"),
    ],
)
def test_anything_else_ends_in_one_line(path, text, message):
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        migrate(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
    assert path.read_text() == text


def test_committed_configurations_are_migrated():
    paths = sorted((ROOT / "results").rglob("config.yaml"))
    assert len(paths) >= 257
    for path in paths:
        assert isinstance(yaml.safe_load(path.read_text())["run"], dict), path
    for path in paths[::20]:  # all take some seconds
        config_files.load(path)


def test_a_file_of_0_8_is_completed_with_what_that_version_did(path):
    old = "run: {frames: 10}\nenv: {protocol: ellm}\nagent: {algo: ppo, goal_conditioned: true}\n"
    path.write_text(old)
    assert migrate(path)
    values = config_files.flatten(config_files.load(path))
    kept = {"run.frames": 10, "env.protocol": "ellm", "agent.algo": "ppo", "agent.goal_conditioned": True}
    filled = {
        "reward.rarity": "none",
        "reward.reopen": "never",
        "agent.action_prior": 0.0,
        "env.caption": "spatial",
    }
    assert {name: values[name] for name in (*kept, *filled)} == kept | filled
    assert not migrate(path)


def test_a_file_of_0_8_that_waited_for_answers(path):
    path.write_text("run: {preset: paper}\nsuggester: {llm: {wait: true, every: 256, caption: whole}}\n")
    assert migrate(path)
    llm = config_files.load(path).suggester.llm
    assert (llm.wait, llm.every, llm.caption) == (True, None, "paper")
