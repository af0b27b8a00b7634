"""What a run takes over from a pretrained agent: its networks, or its actions (Du et al. 2023, section 4.3).

A copy lies in the run's folder, under ``pretrained/``, so the run can be resumed and read without the other one:

config.yaml   the pretrained run's configuration
agent.pt      its policy's parameters, and its phrase table
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ellm_agent.config import files as config_files
from ellm_agent.config.agent import OFFLINE
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run, to_disk, write_whole
from ellm_agent.terminal import print_stderr
from envs import registry

# Options that decide what an agent observes and does; they must be the same in both runs.
SAME_INTERFACE = (
    "env.name",
    "env.protocol",
    "env.action_space",
    "env.caption",
    "env.hide_clauses",
    "agent.goal_conditioned",
    "agent.encoder",
    "agent.action_prior",
)
# Also those of its networks, which learn on.
SAME_NETWORKS = (*SAME_INTERFACE, "agent.algo", "agent.clause_vectors", "agent.hidden")


@dataclass(frozen=True)
class Pretrained:
    """A pretrained agent.

    Attributes:
        config: of the run that trained it.
        state: ``policy`` (parameters) and ``phrases`` (the phrase table), and the frames it was trained for.
        source: the file it comes from.
    """

    config: Config
    state: dict[str, Any]
    source: Path


def find_pretrained(config: Config) -> Pretrained | None:
    """The agent that a new run starts from; None if it starts from nothing.

    Raises:
        UserError: if there is none, or it observes or does something else.
    """
    transfer = config.transfer
    if transfer.pretrained is None:
        return None
    run = Run.open(transfer.pretrained)
    ours, theirs = _options(config), _options(run.config)
    for name in SAME_NETWORKS if transfer.mode == "finetune" else SAME_INTERFACE:
        if ours[name] != theirs[name]:
            raise UserError(
                f"{config_files.option(name)} is {ours[name]}, "
                f"but the agent pretrained in {run.folder} has {theirs[name]}"
            )
    return trained_agent(run)


def trained_agent(run: Run) -> Pretrained:
    """The agent of a run's last checkpoint.

    Raises:
        UserError: if the run has learned nothing, or has no checkpoint yet.
    """
    if run.config.agent.algo == "random":
        raise UserError(f"{run.folder} holds random actions; nothing was learned there")
    found = checkpoints.latest(run.checkpoints)
    if found is None:
        raise UserError(f"{run.folder} holds no checkpoint yet; let the run end first")
    path, state = found
    frames = checkpoints.frames_of(path)
    if not (run.folder / "summary.json").is_file():
        print_stderr(
            f"warning: the run in {run.folder} has not ended; its agent is the one at {frames:,} frames"
        )
    with checkpoints.readable(path):
        kept = {
            "policy": state["agent"]["parameters"]["policy"],
            "phrases": state["phrases"],
            "frames": frames,
        }
    return Pretrained(run.config, kept, path)


def copy_pretrained(pretrained: Pretrained, run: Run) -> None:
    """Copies a pretrained agent into a run's folder, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    partial = run.folder / "pretrained.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_whole(partial / "config.yaml", config_files.to_yaml(pretrained.config))
        checkpoints.write(partial / "agent.pt", pretrained.state)
        partial.rename(run.pretrained)
        to_disk(run.folder)
    except OSError as error:
        raise UserError(f"cannot write {run.pretrained}: {error.strerror}") from error


def load_pretrained(run: Run) -> Pretrained | None:
    """The pretrained agent in a run's folder; None if the run takes nothing over.

    Raises:
        UserError: if it cannot be read.
    """
    if run.config.transfer.mode == "none":
        return None
    source = run.pretrained / "agent.pt"
    return Pretrained(config_files.load(run.pretrained / "config.yaml"), checkpoints.read(source), source)


def _options(config: Config) -> dict[str, Any]:
    """A configuration's options, with None resolved."""
    env, options = config.env, config_files.flatten(config)
    protocol = env.options["protocol"]
    usual = registry.get(env.name).usual_action_space(protocol)
    return options | {
        "env.protocol": protocol,
        "env.action_space": env.action_space or usual,
        "env.caption": config.env.options["caption"],
        "agent.algo": OFFLINE.get(config.agent.algo, config.agent.algo),
        "agent.clause_vectors": config.agent.vectors,
        "agent.action_prior": config.agent.prior_strength,
    }
