"""Settings of a run that learns a downstream task, against those of Du et al. 2023, section 4.3."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ellm_agent.config import files as config_files
from ellm_agent.config.downstream import downstream_config, from_scratch_config
from ellm_agent.config.offline import offline_config
from ellm_agent.config.presets import PRESETS
from ellm_agent.runs.pretrained import SAME_NETWORKS

PAPER = PRESETS["paper"]
LOGGED = SimpleNamespace(world="crafter", options={}, hide_clauses=None)


def test_fine_tuning_has_the_papers_settings(tmp_path):
    config = downstream_config(tmp_path, PAPER, "mine stone", "finetune")
    assert config.run.frames == 1_000_000
    assert config.agent.dqn.learning_rate == 2e-5
    assert PAPER.agent.dqn.learning_rate == 6.25e-5
    assert (config.agent.dqn.epsilon_initial, config.agent.dqn.epsilon_final) == (0.5, 0.01)
    assert config.agent.on_policy.learning_rate == 2e-5
    assert (config.transfer.pretrained, config.transfer.mode) == (tmp_path, "finetune")
    assert (config.env.task, config.env.task_reward) == ("mine stone", "last")
    assert config.suggester.kind == "task"
    assert (config.reward.extrinsic_weight, config.reward.success) == (1, "effect")
    assert config.run.out is None
    # A soft policy's entropy must not outweigh the task, and is that of pretraining: .1 with goals, .03 without.
    for kind, temperature, weight in (("open", 0.1, 33.333), ("none", 0.03, 10)):
        before = PRESETS["default"].changed(**{"suggester.kind": kind})
        soft = downstream_config(tmp_path, before, "mine stone", "finetune")
        assert (soft.agent.target, soft.soft_temperature) == ("munchausen", temperature)
        assert soft.reward.extrinsic_weight == pytest.approx(weight)
    learned = {"agent.algo": "cql", "agent.offline.q_temperature": 0.06, "agent.offline.data": (tmp_path,)}
    learned["agent.goal_conditioned"] = False
    cql = PRESETS["default"].changed(**{"suggester.kind": "none", **learned})
    assert downstream_config(tmp_path, cql, "mine stone", "finetune").soft_temperature == 0.06
    # What decides what the agent observes and does stays as it was.
    before, now = config_files.flatten(PAPER), config_files.flatten(config)
    assert all(now[name] == before[name] for name in SAME_NETWORKS)


def test_guided_exploration_has_the_papers_settings(tmp_path):
    for algo in ("dqn", "ppo"):
        config = downstream_config(tmp_path, PAPER.changed(**{"agent.algo": algo}), "mine stone", "guide")
        assert config.run.frames == 2_000_000
        assert config.agent.algo == "dqn"
        assert config.transfer.guide_share == 0.5
        dqn = config.agent.dqn
        assert dqn.learning_rate == PAPER.agent.dqn.learning_rate
        assert (dqn.epsilon_initial, dqn.epsilon_final, dqn.epsilon_frames) == (1.0, 0.01, 1_000_000)
    debug = downstream_config(tmp_path, PRESETS["debug"], "sleep", "guide")
    assert debug.agent.dqn.epsilon_final == 0.01


def test_the_control_of_fine_tuning_takes_nothing_over(tmp_path):
    scratch = from_scratch_config(tmp_path, PAPER, "sleep", "finetune")
    assert scratch == downstream_config(tmp_path, PAPER, "sleep", None)
    assert (scratch.run.frames, scratch.transfer.pretrained) == (1_000_000, None)
    assert scratch.agent == PAPER.agent


def test_the_control_of_guided_exploration_differs_in_the_guide_alone(tmp_path):
    """The same new DQN; its random actions are epsilon-greedy as the guided one's, but uniform."""
    ppo = PAPER.changed(**{"agent.algo": "ppo"})
    alone = from_scratch_config(tmp_path, ppo, "sleep", "guide")
    guided = downstream_config(tmp_path, ppo, "sleep", "guide")
    before, now = config_files.flatten(guided), config_files.flatten(alone)
    changed = {name for name in now if now[name] != before[name]}
    assert changed == {"transfer.mode", "transfer.pretrained", "agent.dqn.epsilon_greedy"}
    assert (alone.transfer.mode, alone.transfer.pretrained) == ("none", None)
    # None: epsilon-greedy, because there is a guide.
    assert (guided.agent.dqn.epsilon_greedy, alone.agent.dqn.epsilon_greedy) == (None, True)
    assert alone.agent.algo == "dqn"


def test_the_novelty_reward_of_pretraining_is_dropped(tmp_path):
    theirs = PRESETS["debug"].changed(**{"reward.novelty.kind": "rnd"})
    assert downstream_config(tmp_path, theirs, "sleep", "finetune").reward.novelty.kind is None


def test_what_belongs_to_the_pretrained_runs_suggester_or_reward_is_dropped(tmp_path):
    noisy = PRESETS["debug"].changed(
        **{
            "suggester.kind": "noisy-oracle",
            "suggester.oracle_recall": 0.6,
            "suggester.oracle_precision": 0.3,
        }
    )
    assert downstream_config(tmp_path, noisy, "sleep", "finetune").suggester.kind == "task"
    taught = PRESETS["debug"].changed(**{"suggester.kind": "none", "reward.preference.labels": 300})
    assert downstream_config(tmp_path, taught, "sleep", "finetune").reward.preference.labels == 0


@pytest.mark.parametrize(("offline", "online"), [("iql", "ppo"), ("cql", "dqn")])
def test_an_offline_agent_learns_a_task_by_playing(tmp_path, offline, online):
    config = offline_config(PRESETS["debug"], LOGGED, (tmp_path,)).changed(**{"agent.algo": offline})
    tuned = downstream_config(tmp_path, config, "sleep", "finetune")
    assert (tuned.agent.algo, tuned.agent.offline.data) == (online, ())
    usual = PRESETS["debug"]
    assert tuned.env.n_envs == usual.env.n_envs > config.env.n_envs == 1
    long = offline_config(PRESETS["default"], LOGGED, (tmp_path,)).changed(**{"agent.algo": offline})
    tuned = downstream_config(tmp_path, long, "sleep", "finetune")
    usual = PRESETS["default"].run
    assert (tuned.run.eval_every, tuned.run.log_every) == (usual.eval_every, usual.log_every)
    assert long.run.eval_every == 10 * usual.eval_every
    assert downstream_config(tmp_path, config, "sleep", "guide").agent.algo == "dqn"
