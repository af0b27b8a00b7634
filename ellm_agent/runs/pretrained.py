"""What a run takes over from a pretrained agent: its networks, or its actions (Du et al. 2023, section 4.3).

A copy of what is taken lies in the run's folder, under ``pretrained/``: the run can be resumed and read without the other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.terminal import tell
from envs.crafter.knowledge import knowledge

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


def find_pretrained(config: Config) -> Path | None:
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


def copy_pretrained(checkpoint: Path, run: Run) -> None:
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
