"""What a run needs to go on: parameters, optimiser, replay, phrases, counters.

Tensors and arrays only: loading a checkpoint runs no code from it. The worlds start new episodes on
resume, and random generators start anew from the seed and the frame count.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from stable_baselines3.common.base_class import BaseAlgorithm

from ellm_agent.errors import UserError
from ellm_agent.novelty import NoveltyBonus
from ellm_agent.phrases import PhraseTable
from ellm_agent.replay import CompactReplay

FORMAT = 3


def save(
    folder: Path,
    agent: BaseAlgorithm,
    phrases: PhraseTable,
    counters: dict,
    bonus: NoveltyBonus | None = None,
) -> None:
    """Writes a checkpoint and removes the one before.

    Args:
        folder: of all checkpoints of the run.
        agent: the learner.
        phrases: gives the observations' ids their meaning.
        counters: JSON values to keep beside.
        bonus: a reward for novelty that learns, too.
    """
    final = folder / f"{agent.num_timesteps:010d}"
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch.save(agent.get_parameters(), partial / "parameters.pt")
    if bonus is not None:
        torch.save(bonus.state(), partial / "bonus.pt")
    phrases.save(partial)
    state = {
        "format": FORMAT,
        "frames": agent.num_timesteps,
        "updates": agent._n_updates,
        "calls": getattr(agent, "_n_calls", 0),
        **counters,
    }
    replay = getattr(agent, "replay_buffer", None)
    if replay is not None:
        np.savez(partial / "replay.npz", **replay.contents())
    (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in folder.iterdir():
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    found = sorted(path for path in folder.glob("[0-9]*") if (path / "state.json").is_file())
    return found[-1] if found else None


@contextlib.contextmanager
def _readable(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise UserError(f"the checkpoint {checkpoint} is damaged or incomplete") from error


def load_phrases(checkpoint: Path) -> PhraseTable:
    """The phrase table of a checkpoint (needed before its agent can be built).

    Raises:
        UserError: if it cannot be read.
    """
    with _readable(checkpoint):
        return PhraseTable.load(checkpoint)


def load_bonus(checkpoint: Path, bonus: NoveltyBonus) -> None:
    """Puts a checkpoint's bonus into one built from the same configuration.

    Raises:
        UserError: if it cannot be read.
    """
    with _readable(checkpoint):
        bonus.restore(torch.load(checkpoint / "bonus.pt", weights_only=True))


def frames_of(checkpoint: Path) -> int:
    """Frames that had been played at a checkpoint."""
    return int(checkpoint.name)


def load(checkpoint: Path, agent: BaseAlgorithm, replay: bool = True) -> dict:
    """Puts a checkpoint into an agent built from the same configuration; returns the counters.

    Args:
        checkpoint: folder of one checkpoint.
        agent: the learner.
        replay: whether the replay buffer is wanted (it is not, to look at the agent only).

    Raises:
        UserError: if the checkpoint is damaged, or of another format.
    """
    with _readable(checkpoint):
        return _load(checkpoint, agent, replay)


def _load(checkpoint: Path, agent: BaseAlgorithm, replay: bool) -> dict:
    state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    if state.get("format") != FORMAT:
        raise UserError(f"{checkpoint} has format {state.get('format')}; this version reads {FORMAT}")
    agent.set_parameters(torch.load(checkpoint / "parameters.pt", weights_only=True))
    agent.num_timesteps, agent._n_updates = state["frames"], state["updates"]
    if replay and hasattr(agent, "replay_buffer"):
        agent._n_calls = state["calls"]
        with np.load(checkpoint / "replay.npz", allow_pickle=False) as arrays:
            _fill(agent.replay_buffer, dict(arrays))
    return state


def _fill(buffer: CompactReplay, contents: dict[str, np.ndarray]) -> None:
    buffer.restore(contents)
    if buffer.size():
        # The worlds start new episodes: those that were under way have been cut off, not ended.
        last = buffer.pos - 1
        buffer.timeouts[last] = np.maximum(buffer.timeouts[last], 1 - buffer.dones[last])
        buffer.dones[last] = 1
