"""Checkpoints: everything that a run needs to continue as if it had never stopped.

A checkpoint is one file, ``<frames>.pt``: nested dictionaries of tensors, numbers and text, written by ``torch.save`` and
read with ``weights_only=True``, so that loading one runs no code from it. It is taken between two collections of
experience, when no rollout or episode step is half done. The last two are kept.

==========  ======================================================================================
part        content
==========  ======================================================================================
format      of the file
agent       networks, optimiser, replay, counters, random generators (``agents.sb3_state``)
worlds      episodes under way, counts, what suggesters have learned
bonus       a reward for novelty that learns, or None
phrases     the phrase table, which gives the observations' ids their meaning
counters    seconds, rows of the logs, the configuration
==========  ======================================================================================
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from ellm_agent.agents import sb3_state
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import to_disk
from ellm_agent.terminal import print_stderr
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.added_reward import AddedReward
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.recorder import TransitionRecorder

FORMAT = 7
KEPT = 2  # checkpoints


def save(
    folder: Path,
    agent: BaseAlgorithm,
    worlds: GoalExploration,
    counters: Mapping[str, Any],
    bonus: AddedReward | None = None,
) -> None:
    """Writes a checkpoint, whole or not at all, and removes those before the last two.

    Args:
        folder: of all checkpoints of the run.
        agent: the learner, between two collections of experience.
        worlds: its training worlds.
        counters: values to keep beside.
        bonus: a reward around them, which may learn, too.

    Raises:
        UserError: if it cannot be written; older ones are still there.
    """
    state = {
        "agent": sb3_state.state_dict(agent),
        "worlds": worlds.state_dict(),
        "bonus": bonus.state_dict() if bonus else None,
        "phrases": worlds.phrases.state_dict(),
        "counters": dict(counters),
    }
    write(folder / f"{agent.num_timesteps:010d}.pt", state)
    for later in _all(folder):
        if frames_of(later) > agent.num_timesteps:  # damaged, or the run would have gone on from it
            later.unlink(missing_ok=True)
    for old in _all(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state to a file, whole or not at all, so that it would survive a power failure.

    Raises:
        UserError: if it cannot be written.
    """
    partial = path.with_suffix(".partial")
    content = io.BytesIO()  # torch.save reports a full disk in words of its own
    torch.save({"format": FORMAT, **state}, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        to_disk(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def read(path: Path) -> dict[str, Any]:
    """The state in a checkpoint's file.

    Raises:
        UserError: if the file is damaged, or of another format.
    """
    with readable(path):
        with zipfile.ZipFile(path) as archive:  # torch.load itself checks no checksums
            if archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
        state = torch.load(path, map_location="cpu", weights_only=True)
        written = state["format"]
    if written != FORMAT:
        raise UserError(f"the checkpoint {path} has format {written!r}; this version reads {FORMAT}")
    return state


def latest(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and its state; None if there is none yet. Damaged ones are named on stderr.

    Raises:
        UserError: if there are checkpoints, but none that is whole and of this version's format.
    """
    found = _all(folder)
    for path in found:
        try:
            return path, read(path)
        except UserError as error:
            print_stderr(f"warning: {error}; looking for an older one")
    if found or any(path.is_dir() for path in folder.glob("[0-9]*")):
        raise UserError(f"{folder} holds no checkpoint that is whole and of this version; start a new run")
    return None


def frames_of(checkpoint: Path) -> int:
    """Frames played until a checkpoint."""
    return int(checkpoint.stem)


def load_phrases(state: Mapping[str, Any], where: Path) -> PhraseTable:
    """The phrase table of a checkpoint (needed before its agent can be built).

    Raises:
        UserError: if it cannot be read.
    """
    phrases = PhraseTable()
    with readable(where):
        phrases.load_state_dict(state["phrases"])
    return phrases


def load(
    state: Mapping[str, Any],
    where: Path,
    agent: BaseAlgorithm,
    worlds: GoalExploration,
    bonus: AddedReward | None = None,
    recorder: TransitionRecorder | None = None,
) -> None:
    """Puts everything back, the random generators last.

    Args:
        state: of a checkpoint.
        where: its file, for errors.
        agent: built from the same configuration.
        worlds: likewise.
        bonus: likewise.
        recorder: likewise.

    Raises:
        UserError: if the checkpoint does not fit.
    """
    with readable(where):
        observation = worlds.load_state_dict(state["worlds"])
        if bonus is not None:
            bonus.load_state_dict(state["bonus"], observation)
        sb3_state.load_state_dict(agent, state["agent"], observation)
        if recorder is not None:
            recorder.resume(observation, agent.num_timesteps)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever a damaged or foreign file makes the layers below raise into one line.

    Raises:
        UserError: naming the file.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the checkpoint {path} does not fit this run, or is damaged") from error


def _all(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted((path for path in folder.glob("*.pt") if path.stem.isdecimal()), reverse=True)
