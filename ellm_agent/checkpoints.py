"""What a run needs to go on: parameters, optimiser, replay, phrases, counters.

Tensors and arrays only: loading a checkpoint runs no code from it. The worlds start new episodes on
resume, and random generators start anew from the seed and the frame count.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from ellm_agent.errors import UserError
from ellm_agent.phrases import PhraseTable

FORMAT = 1
_REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save(folder: Path, agent: BaseAlgorithm, phrases: PhraseTable, counters: dict) -> None:
    """Writes a checkpoint and removes the one before.

    Args:
        folder: of all checkpoints of the run.
        agent: the learner.
        phrases: gives the observations' ids their meaning.
        counters: JSON values to keep beside.
    """
    final = folder / f"{agent.num_timesteps:010d}"
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    torch.save(agent.get_parameters(), partial / "parameters.pt")
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
        used = replay.size()
        np.savez(partial / "replay.npz", **{name: getattr(replay, name)[:used] for name in _REPLAY})
        state["replay"] = {"position": replay.pos, "full": replay.full}
    (partial / "state.json").write_text(json.dumps(state), encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    for old in folder.iterdir():
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path) -> Path:
    """The newest complete checkpoint.

    Raises:
        UserError: if there is none.
    """
    found = sorted(path for path in folder.glob("[0-9]*") if (path / "state.json").is_file())
    if not found:
        raise UserError(f"{folder.parent} holds no checkpoint to go on from")
    return found[-1]


def load_phrases(checkpoint: Path) -> PhraseTable:
    """The phrase table of a checkpoint (needed before its agent can be built)."""
    return PhraseTable.load(checkpoint)


def load(checkpoint: Path, agent: BaseAlgorithm, replay: bool = True) -> dict:
    """Puts a checkpoint into an agent built from the same configuration; returns the counters.

    Args:
        checkpoint: folder of one checkpoint.
        agent: the learner.
        replay: whether the replay buffer is wanted (it is not, to look at the agent only).

    Raises:
        UserError: if the checkpoint is of another format.
    """
    state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    if state.get("format") != FORMAT:
        raise UserError(f"{checkpoint} has format {state.get('format')}; this version reads {FORMAT}")
    agent.set_parameters(torch.load(checkpoint / "parameters.pt", weights_only=True))
    agent.num_timesteps, agent._n_updates = state["frames"], state["updates"]
    if replay and "replay" in state:
        agent._n_calls = state["calls"]
        buffer = agent.replay_buffer
        with np.load(checkpoint / "replay.npz", allow_pickle=False) as arrays:
            for name in _REPLAY:
                getattr(buffer, name)[: len(arrays[name])] = arrays[name]
        buffer.pos, buffer.full = state["replay"]["position"], state["replay"]["full"]
    return state
