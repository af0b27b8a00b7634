"""Checkpoints: all that a run needs to go on as if it had never stopped.

A checkpoint is a folder, named by the frames played:

manifest.json      format, and the SHA-256 of each other file
state.json         counters, random generators, episodes under way, what suggesters have learned
parameters.pt      networks and optimiser
phrases.json, phrases.safetensors
replay.npz         transitions, of off-policy agents
bonus.pt           a reward for novelty that learns

They hold tensors, arrays and JSON only: loading one runs no code from it. One is taken between two collections of
experience, when no rollout or episode step is half done. The last two are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger

from ellm_agent.errors import UserError
from ellm_agent.terminal import tell
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.added_reward import NoveltyBonus

FORMAT = 5
KEPT = 2  # checkpoints
MANIFEST = "manifest.json"
PARAMETERS = "parameters.pt"
PHRASES = ("phrases.json", "phrases.safetensors")


class Worlds(Protocol):
    """Environments whose episodes can be saved and taken up again."""

    def state(self) -> dict[str, Any]:
        """JSON values."""

    def restore(self, state: dict[str, Any]) -> np.ndarray:
        """Takes up what ``state`` gave, and returns the observation."""


def save(
    folder: Path,
    agent: BaseAlgorithm,
    worlds: Worlds,
    phrases: PhraseTable,
    counters: dict[str, Any],
    bonus: NoveltyBonus | None = None,
) -> None:
    """Writes a checkpoint, whole or not at all, and removes those before the last two. Changes nothing else.

    Args:
        folder: of all checkpoints of the run.
        agent: the learner, between two collections of experience.
        worlds: that it learns in.
        phrases: gives the observations' ids their meaning.
        counters: JSON values to keep beside.
        bonus: a reward for novelty that learns, too.

    Raises:
        UserError: if it cannot be written; older ones are still there.
    """
    final, partial = folder / f"{agent.num_timesteps:010d}", folder / "partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(partial, agent, worlds, phrases, counters, bonus)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        to_disk(folder)
    except (OSError, SafetensorError) as error:  # which is how safetensors words an OSError
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"cannot write the checkpoint {final}: {reason}") from error
    for old in _all(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _write(
    folder: Path,
    agent: BaseAlgorithm,
    worlds: Worlds,
    phrases: PhraseTable,
    counters: dict[str, Any],
    bonus: NoveltyBonus | None,
) -> None:
    _save_tensors(agent.get_parameters(), folder / PARAMETERS)
    if bonus is not None:
        _save_tensors(bonus.state(), folder / "bonus.pt")
    phrases.save(folder)
    replay = getattr(agent, "replay_buffer", None)
    if replay is not None:
        np.savez(folder / "replay.npz", **replay.contents())
    state = {
        "agent": _agent_state(agent),
        "worlds": worlds.state(),
        "generators": _generators(agent),
        **counters,
    }
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    manifest = {"format": FORMAT, "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())}}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        to_disk(path)


def _save_tensors(tensors: Any, path: Path) -> None:
    """torch.save, which words a full disk in riddles when it writes the file itself."""
    content = io.BytesIO()
    torch.save(tensors, content)
    path.write_bytes(content.getbuffer())


def latest(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; None if there is none yet. Damaged ones are named on stderr.

    Raises:
        UserError: if there are checkpoints, but none that is whole and of this version's format.
    """
    there = _all(folder)
    for path in there:
        damage = _damage(path)
        if damage is None:
            return path
        tell(f"warning: the checkpoint {path} cannot be used ({damage}); looking for an older one")
    if there:
        raise UserError(f"{folder} holds no checkpoint that is whole and of this version; start a new run")
    return None


def frames_of(checkpoint: Path) -> int:
    """Frames that had been played at a checkpoint."""
    return int(checkpoint.name)


def load_phrases(checkpoint: Path) -> PhraseTable:
    """The phrase table of a checkpoint (needed before its agent can be built), or of a copy of a part of it.

    Raises:
        UserError: if it cannot be read.
    """
    with _readable(checkpoint):
        return PhraseTable.load(checkpoint)


def load_parameters(checkpoint: Path, agent: BaseAlgorithm) -> None:
    """Puts a checkpoint's networks into an agent built from the same configuration: enough to let it play.

    Raises:
        UserError: if they cannot be read.
    """
    with _readable(checkpoint):
        agent.set_parameters(torch.load(checkpoint / PARAMETERS, weights_only=True))


def load_policy(checkpoint: Path, agent: BaseAlgorithm) -> None:
    """Puts a checkpoint's networks alone into an agent: not the state of its optimiser.

    Raises:
        UserError: if they cannot be read, or are others than the agent's.
    """
    with _readable(checkpoint):
        agent.policy.load_state_dict(torch.load(checkpoint / PARAMETERS, weights_only=True)["policy"])


def load_counters(checkpoint: Path) -> dict[str, Any]:
    """The counters that were kept beside: seconds, rows of the logs, the configuration.

    Raises:
        UserError: if they cannot be read.
    """
    with _readable(checkpoint):
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        rows = {str(log): int(count) for log, count in state["rows"].items()}
        return {"seconds": float(state["seconds"]), "rows": rows, "config": dict(state["config"])}


def load(checkpoint: Path, agent: BaseAlgorithm, worlds: Worlds, bonus: NoveltyBonus | None = None) -> None:
    """Puts everything back, the random generators last.

    Args:
        checkpoint: folder of one checkpoint.
        agent: built from the same configuration.
        worlds: likewise.
        bonus: likewise.

    Raises:
        UserError: if the checkpoint does not fit, or cannot be read.
    """
    load_parameters(checkpoint, agent)
    with _readable(checkpoint):
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        observation = worlds.restore(state["worlds"])
        if bonus is not None:
            bonus.restore(torch.load(checkpoint / "bonus.pt", weights_only=True), observation)
        if getattr(agent, "replay_buffer", None) is not None:
            with np.load(checkpoint / "replay.npz", allow_pickle=False) as arrays:
                agent.replay_buffer.restore(dict(arrays))
        _restore_agent(agent, state["agent"], observation)
        _restore_generators(agent, state["generators"])


# --- parts of the state -----------------------------------------------------------------------------------------


def _agent_state(agent: BaseAlgorithm) -> dict[str, Any]:
    """What SB3's algorithms keep besides parameters and replay."""
    logger = getattr(agent, "_logger", None)
    starts = agent._last_episode_starts
    return {
        "frames": agent.num_timesteps,
        "updates": agent._n_updates,
        "calls": getattr(agent, "_n_calls", 0),
        "exploration_rate": getattr(agent, "exploration_rate", 0.0),
        "episode_starts": None if starts is None else starts.tolist(),
        # Recorded, but not yet written to the log.
        "pending": [
            {name: plain(value) for name, value in logger.name_to_value.items()},
            dict(logger.name_to_count),
        ]
        if logger
        else [{}, {}],
    }


def _restore_agent(agent: BaseAlgorithm, state: dict[str, Any], observation: np.ndarray) -> None:
    agent.num_timesteps, agent._n_updates = int(state["frames"]), int(state["updates"])
    if hasattr(agent, "_n_calls"):
        agent._n_calls = int(state["calls"])
        agent.exploration_rate = float(state["exploration_rate"])
    starts = state["episode_starts"]
    agent._last_obs = observation
    agent._last_episode_starts = None if starts is None else np.array(starts, bool)
    logger: Logger | None = getattr(agent, "_logger", None)
    if logger:
        values, counts = state["pending"]
        for name, value in values.items():
            logger.record(name, plain(value))
        logger.name_to_count.update(counts)


def plain(value: Any) -> int | float:
    """A number of the log as Python has it, and JSON: an int stays one.

    Raises:
        TypeError: if it is no number.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _generators(agent: BaseAlgorithm) -> dict[str, Any]:
    """All random generators that a run draws from, but for the worlds'."""
    name, keys, *rest = np.random.get_state()
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state().numpy().tobytes().hex(),
        "numpy": [name, keys.tolist(), *rest],
        "python": [version, list(words), gauss],
        "actions": agent.action_space.np_random.bit_generator.state,
    }


def _restore_generators(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state["torch"]), dtype=torch.uint8))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    agent.action_space.np_random.bit_generator.state = state["actions"]


# --- files --------------------------------------------------------------------------------------------------------


def _all(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted((path for path in folder.glob("[0-9]*") if path.name.isdecimal()), reverse=True)


def _damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files; None if they are as they were written, by this version."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        written, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return f"{MANIFEST} cannot be read"
    if written != FORMAT:
        return f"it has format {written!r}; this version reads {FORMAT}"
    for name, sha256 in files.items():
        path = checkpoint / Path(name).name
        try:
            if _sha256(path) != sha256:
                return f"{path.name} is not as it was written"
        except OSError:
            return f"{path.name} cannot be read"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of files, would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _readable(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # what a stranger has put there can make the layers below raise almost any
        raise UserError(f"the checkpoint {checkpoint} does not fit this run, or is damaged") from error
