"""Presets: where the defaults come from, and what a resumed run may change."""

from __future__ import annotations

from ellm_agent.config.schema import Config

MAY_CHANGE = (
    "run.frames",
    "run.report",
    "run.threads",
    "run.device",
    "run.track",
    "run.track_project",
    "reward.preference.port",
    "reward.preference.pace",
)  # in a resumed run

PRESETS: dict[str, Config] = {
    "default": Config(),
    "debug": Config().changed(
        **{
            "run.preset": "debug",
            "run.frames": 4_000,
            "run.eval_every": 2_000,
            "run.eval_episodes": 4,
            "run.log_every": 1_000,
            "run.checkpoint_every": 2_000,
            "env.n_envs": 4,
            "agent.hidden": 32,
            "agent.dqn.learning_starts": 500,
            "agent.dqn.buffer_size": 4_000,
            "agent.dqn.batch_size": 16,
            "agent.dqn.train_every": 8,
            "agent.on_policy.rollout": 64,
            "agent.on_policy.batch_size": 64,
            "agent.on_policy.epochs": 1,
        }
    ),
    "paper": Config().changed(
        **{
            "run.preset": "paper",
            "run.frames": 5_000_000,
            "run.eval_every": 25_000,
            "env.protocol": "ellm",
            "env.caption": "paper",
            "env.n_envs": 16,
            "suggester.llm.wait": True,
            "suggester.llm.caption": "paper",
            "reward.success": "attempt",
            "agent.target": "double",
            "agent.encoder": "sentence",
            "agent.goal_conditioned": False,
            "reward.rarity": "none",
            "reward.reopen": "never",
            "agent.hidden": 512,
            "agent.dqn.learning_rate": 6.25e-5,
            "agent.dqn.gamma": 0.99,
            "agent.dqn.n_steps": 3,
            "agent.dqn.batch_size": 64,
            "agent.dqn.train_every": 4,
            "agent.dqn.learning_starts": 5_000,
            "agent.dqn.target_every": 8_000,
            "agent.dqn.epsilon_final": 0.01,
            "agent.dqn.epsilon_frames": 1_000_000,
        }
    ),
}
