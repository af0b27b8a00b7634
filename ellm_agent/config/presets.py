"""A run's configuration: what can be chosen, typed and frozen, and the presets. ``config_files.py`` checks, saves and reads it.

Each field's comment is its ``--help`` text, with the unit, the paper's value where there is one and its
source. "Paper" is Du et al. 2023 with its official code.
"""

from __future__ import annotations

from ellm_agent.config.schema import (
    AgentConfig,
    Config,
    DQNConfig,
    EnvironmentConfig,
    GoalConfig,
    OnPolicyConfig,
)

MAY_CHANGE = ("frames", "threads")  # in a resumed run

PRESETS: dict[str, Config] = {
    "default": Config(),
    "debug": Config(
        preset="debug",
        frames=4_000,
        eval_every=2_000,
        eval_episodes=4,
        log_every=1_000,
        checkpoint_every=2_000,
        environment=EnvironmentConfig(n_envs=4),
        agent=AgentConfig(hidden=32),
        dqn=DQNConfig(learning_starts=500, buffer_size=4_000, batch_size=16, train_every=8),
        ppo=OnPolicyConfig(rollout=64, batch_size=64, epochs=1),
    ),
    "paper": Config(
        preset="paper",
        frames=5_000_000,
        eval_every=25_000,
        environment=EnvironmentConfig(protocol="ellm", caption="paper", n_envs=16),
        goals=GoalConfig(success="attempt", llm_wait=True, llm_scene="whole"),
        agent=AgentConfig(target="double", encoder="sentence", hidden=512),
        dqn=DQNConfig(
            learning_rate=6.25e-5,
            gamma=0.99,
            n_steps=3,
            batch_size=64,
            train_every=4,
            learning_starts=5_000,
            target_every=8_000,
            epsilon_final=0.01,
            epsilon_frames=1_000_000,
        ),
    ),
}
