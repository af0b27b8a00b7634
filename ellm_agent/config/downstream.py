"""Configurations of runs that learn a downstream task, with or without a pretrained agent (Du et al. 2023, section 4.3)."""

from __future__ import annotations

from pathlib import Path

from ellm_agent.config.agent import TEMPERATURE
from ellm_agent.config.offline import online
from ellm_agent.config.schema import Config
from ellm_agent.config.suggester import NO_MISTAKES

LEARNING_RATE = 2e-5  # of fine-tuning: the paper's. PPO forgets what it knew at 8e-5 (docs/log.md)
# The entropy bonus of the softmax policy is worth up to temperature * ln(actions) / (1 - discount), 1.7 at a temperature of
# .03, more than a sparse reward of 1: solving the task would be worth less than acting at random. So the task reward is
# scaled, in proportion to the temperature.
SOFT_WEIGHT = 10.0 / TEMPERATURE


def downstream_config(pretrained: Path, config: Config, task: str, transfer: str | None) -> Config:
    """The paper's settings for learning a task after pretraining, over those of the pretrained run.

    Args:
        pretrained: folder of the run.
        config: its configuration.
        task: name of a task.
        transfer: "finetune" (1M frames, epsilon from .5, learning rate 2e-5), "guide" (a new DQN, 2M frames), or
            None: from scratch, as long as fine-tuning.
    """
    plays = online(config)  # an offline agent learns on by playing
    algo = plays.get("agent.algo", config.agent.algo)
    changes = {
        **plays,
        "run.frames": 1_000_000,
        "run.out": None,
        "env.task": task,
        "suggester.kind": "task",
        "suggester.max_active_goals": None,
        "suggester.learned_filter": False,
        **NO_MISTAKES,
        "reward.success": "effect",
        "reward.novelty.kind": None,
        "reward.preference": {},
        "transfer": {"mode": transfer or "none", "pretrained": pretrained if transfer else None},
    }
    if transfer == "finetune":
        changes |= {
            "agent.dqn.learning_rate": LEARNING_RATE,
            "agent.dqn.epsilon_initial": 0.5,
            "agent.on_policy.learning_rate": LEARNING_RATE,
        }
    elif transfer == "guide":
        algo = "dqn"
        changes |= {
            "run.frames": 2_000_000,
            "agent.algo": algo,
            "agent.dqn.epsilon_final": 0.01,
            "agent.dqn.epsilon_frames": 1_000_000,
        }
    soft = algo == "dqn" and config.agent.target == "munchausen"
    changes["reward.extrinsic_weight"] = 1.0
    if soft:
        # Pretrained networks are made for their temperature; a new DQN has the one of agents that nothing guides.
        temperature = config.soft_temperature if transfer == "finetune" else TEMPERATURE
        changes["agent.dqn.temperature"] = temperature
        changes["reward.extrinsic_weight"] = round(SOFT_WEIGHT * temperature, 3)
    return config.changed(**changes)


def from_scratch_config(pretrained: Path, config: Config, task: str, transfer: str) -> Config:
    """The control of a transfer: the same task, learned from scratch.

    The control of guided exploration is the same new DQN with as many random actions, all of them uniform; that of
    fine-tuning has the pretrained run's options.
    """
    if transfer != "guide":
        return downstream_config(pretrained, config, task, None)
    guided = downstream_config(pretrained, config, task, transfer)
    return guided.changed(
        **{"transfer.mode": "none", "transfer.pretrained": None, "agent.dqn.epsilon_greedy": True}
    )
