"""What a run takes over from a pretrained agent: its networks, or its actions (Du et al. 2023, section 4.3).

A copy of what is taken lies in the run's folder, under ``pretrained/``: the run can be resumed and read without the other.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from ellm_agent import checkpoints, config_files
from ellm_agent.agent import TextDQN
from ellm_agent.config import Config, TransferConfig
from ellm_agent.errors import UserError
from ellm_agent.runs import Run
from ellm_agent.text import tell
from envs.knowledge import knowledge

LEARNING_RATE = 2e-5  # of fine-tuning: the paper's. PPO forgets what it knew at 8e-5 (docs/results.md)
# A soft policy values being undecided, at up to temperature * ln(actions) / (1 - discount) = 1.7: more than a task's single
# reward of 1, seen from far away, and solving the task ends that. The reward has to count for more.
SOFT_WEIGHT = 10.0
READ_ALIKE = (  # options that decide what an agent reads and does; they must be the same in both runs
    "environment.protocol",
    "environment.action_space",
    "environment.caption",
    "goals.goal_conditioned",
    "agent.encoder",
)
BUILT_ALIKE = (
    *READ_ALIKE,
    "agent.algo",
    "agent.clause_vectors",
    "agent.hidden",
)  # to learn on


def settings(pretrained: Path, config: Config, task: str, transfer: str | None) -> Config:
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


def control(pretrained: Path, config: Config, task: str, transfer: str) -> Config:
    """The settings of a run to hold a transfer against: the same task, learned from scratch.

    What is guided is held against the same fresh DQN, whose random actions, as many and as long, are all uniform; what is fine-tuned,
    against the pretrained run's options.
    """
    if transfer != "guide":
        return settings(pretrained, config, task, None)
    guided = settings(pretrained, config, task, transfer)
    return dataclasses.replace(guided, transfer=dataclasses.replace(guided.transfer, pretrained=None))


def check(config: Config) -> Path | None:
    """The checkpoint that a new run starts from; None if it starts from nothing.

    Raises:
        UserError: if there is none, or its agent reads or does something else.
    """
    transfer = config.transfer
    if transfer.pretrained is None:
        return None
    run = Run.open(transfer.pretrained)
    ours, theirs = _options(config), _options(run.config)
    for name in BUILT_ALIKE if transfer.transfer == "finetune" else READ_ALIKE:
        if ours[name] != theirs[name]:
            raise UserError(
                f"{config_files.option(name)} is {ours[name]}, but the agent pretrained in {run.folder} has {theirs[name]}"
            )
    if run.config.agent.algo == "random":
        raise UserError(f"{run.folder} holds random actions; nothing was learned there")
    checkpoint = checkpoints.latest(run.checkpoints)
    if checkpoint is None:
        raise UserError(f"{run.folder} holds no checkpoint yet; let the run end first")
    if not (run.folder / "summary.json").is_file():
        tell(
            f"warning: the run in {run.folder} has not ended; its agent is taken as it was at {checkpoint.name} frames"
        )
    return checkpoint


def _options(config: Config) -> dict[str, Any]:
    """A configuration's options, with what None stands for put into words."""
    world, options = config.environment, config_files.flatten(config)
    usual = knowledge().protocols[world.protocol].actions
    return options | {
        "environment.action_space": world.action_space or usual,
        "agent.clause_vectors": config.agent.vectors,
    }


def adopt(checkpoint: Path, run: Run) -> None:
    """Copies what a run takes over into its folder, whole or not at all.

    Args:
        checkpoint: of the pretrained run.
        run: the new one.

    Raises:
        UserError: if it cannot be written.
    """
    target, partial = run.pretrained, run.folder / "pretrained.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for part in (checkpoints.PARAMETERS, *checkpoints.PHRASES):
            shutil.copy(checkpoint / part, partial / part)
        shutil.copy(checkpoint.parents[1] / "config.yaml", partial / "config.yaml")
        for path in (*partial.iterdir(), partial):
            checkpoints.to_disk(path)
        partial.rename(target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from error


def take_networks(agent: BaseAlgorithm, folder: Path, layers: str) -> None:
    """Puts pretrained networks into a fresh agent; its optimiser starts anew.

    Args:
        agent: built as the pretrained one was.
        folder: of what ``adopt`` copied.
        layers: "all", or "head": then the encoder stays as it is.

    Raises:
        UserError: if they cannot be read, or do not fit.
    """
    checkpoints.load_policy(folder, agent)
    # What a state was worth in pretraining, where much more is paid for, says little of the task. Unlearning it would begin with
    # what the agent does most, and so undo what it can do; what is better than what in a state (the policy, or a dueling
    # network's advantages) stays.
    for critic in _state_values(agent):
        nn.init.zeros_(critic.weight)
        nn.init.zeros_(critic.bias)
    if layers == "head":
        policy: Any = getattr(agent, "q_net", agent.policy)
        for parameter in policy.features_extractor.parameters():
            parameter.requires_grad_(False)


def _state_values(agent: BaseAlgorithm) -> list[nn.Linear]:
    """The layers that say what a state is worth."""
    if isinstance(agent, TextDQN):
        return [agent.q_net.value, agent.q_net_target.value]
    return [agent.policy.value_net]
