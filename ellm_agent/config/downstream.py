"""What a run takes over from a pretrained agent: its networks, or its actions (Du et al. 2023, section 4.3).

A copy of what is taken lies in the run's folder, under ``pretrained/``: the run can be resumed and read without the other.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ellm_agent.config.schema import Config, TransferConfig

LEARNING_RATE = 2e-5  # of fine-tuning: the paper's. PPO forgets what it knew at 8e-5 (docs/results.md)
# A soft policy values being undecided, at up to temperature * ln(actions) / (1 - discount) = 1.7: more than a task's single
# reward of 1, seen from far away, and solving the task ends that. The reward has to count for more.
SOFT_WEIGHT = 10.0


def downstream_config(pretrained: Path, config: Config, task: str, transfer: str | None) -> Config:
    """The paper's settings for learning a task after pretraining, over those of the pretrained run.

    Args:
        pretrained: folder of the run.
        config: its configuration.
        task: name of a task.
        transfer: "finetune" (1M frames, epsilon from .5, learning rate 2e-5), "guide" (a fresh DQN, 2M frames), or
            None: from scratch, as long as fine-tuning.
    """
    dqn, ppo, agent = config.dqn, config.ppo, config.agent
    frames = 1_000_000
    if transfer == "finetune":
        dqn = dataclasses.replace(dqn, learning_rate=LEARNING_RATE, epsilon_initial=0.5)
        ppo = dataclasses.replace(ppo, learning_rate=LEARNING_RATE)
    elif transfer == "guide":
        frames = 2_000_000
        dqn = dataclasses.replace(dqn, epsilon_final=0.01, epsilon_frames=1_000_000)
        agent = dataclasses.replace(agent, algo="dqn")
    soft = agent.algo == "dqn" and agent.target == "munchausen"
    goals = dataclasses.replace(
        config.goals,
        goal_mode="task",
        success="effect",
        extrinsic_weight=SOFT_WEIGHT if soft else 1.0,
        goals_at_once=None,
    )
    return dataclasses.replace(
        config,
        frames=frames,
        out=None,
        environment=dataclasses.replace(config.environment, task=task),
        goals=goals,
        novelty=dataclasses.replace(config.novelty, bonus=None),
        transfer=TransferConfig(pretrained if transfer else None, transfer or "finetune"),
        agent=agent,
        dqn=dqn,
        ppo=ppo,
    )


def from_scratch_config(pretrained: Path, config: Config, task: str, transfer: str) -> Config:
    """The settings of a run to hold a transfer against: the same task, learned from scratch.

    What is guided is held against the same fresh DQN, whose random actions, as many and as long, are all uniform; what is fine-tuned,
    against the pretrained run's options.
    """
    if transfer != "guide":
        return downstream_config(pretrained, config, task, None)
    guided = downstream_config(pretrained, config, task, transfer)
    return dataclasses.replace(guided, transfer=dataclasses.replace(guided.transfer, pretrained=None))
