"""A run's transitions on disk: ``transitions/<frames>.npz``, one file for some ten thousand frames.

A shard is named by the frames played before it and is complete in itself: it brings the texts of its phrase ids. It is
written whole or not at all, at every checkpoint and whenever enough frames have come. So a killed run has lost nothing
that was written; a resumed one removes the shards after its checkpoint, and writes them again.

===============================  ==========================================================================
array (T frames, N worlds)       content
===============================  ==========================================================================
counts ``(N, T, fields)``        phrases in each field of each observation, before the action
ids                              those phrases, one after the other, as numbers in ``phrases``
last_counts, last_ids            the same of the last observations of the episodes that ended, by world, then frame
after_counts, after_ids          the same of the N observations after the last frame
actions, rewards ``(N, T)``
terminated, truncated ``(N, T)``
world_seeds ``(N, T)``
event_steps, event_ids           place (world * T + frame) and phrase of what happened
meta                             JSON: interface, source, phrases, format
===============================  ==========================================================================
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ellm_agent.datasets.dataset import Dataset, Interface
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import to_disk, whole_folder, write_whole

FOLDER = "transitions"
FORMAT = 1
ROWS = 2**15  # frames in a shard, about


class ShardWriter:
    """Collects transitions of parallel worlds and writes them in shards.

    Args:
        folder: the run's folder.
        interface: what is observed and done.
        source: of the log: what is known about the run, JSON values.
        texts: phrase id -> text.
        rows: frames in a shard, about: it ends with the step of all worlds that reaches them.
    """

    def __init__(
        self,
        folder: Path,
        interface: Interface,
        source: Mapping[str, Any],
        texts: Callable[[int], str],
        rows: int = ROWS,
    ):
        self._folder, self._interface, self._source = folder / FOLDER, interface, dict(source)
        self._texts, self._rows = texts, rows
        self._widths = list(interface.fields.values())
        self._frames = 0  # before this shard
        self._steps: list[tuple[np.ndarray, ...]] = []
        self._events: list[tuple[int, int, str]] = []  # frame, world, what happened
        self._last: list[tuple[int, int, np.ndarray]] = []  # frame, world, observation
        self._after: np.ndarray | None = None  # observations after the last frame

    def add(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        dones: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
        following: np.ndarray,
    ) -> None:
        """Adds one frame of each world; ``following`` are the observations after it, as ``step`` gives them."""
        frame = len(self._steps)
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos]) & dones
        seeds = np.array([info["world_seed"] for info in infos], np.int64)
        self._steps.append(
            (
                observations.copy(),
                np.asarray(actions).copy(),
                rewards.copy(),
                dones & ~truncated,
                truncated,
                seeds,
            )
        )
        for i, info in enumerate(infos):
            self._events += [(frame, i, event) for event in info["events"]]
        self._last += [
            (frame, int(i), infos[i]["terminal_observation"].copy()) for i in np.flatnonzero(dones)
        ]
        self._after = following.copy()
        if len(self._steps) * len(actions) >= self._rows:
            self.flush()

    def flush(self) -> None:
        """Writes what has come since the last shard.

        Raises:
            UserError: if it cannot be written.
        """
        if not self._steps:
            return
        observations, actions, rewards, terminated, truncated, seeds = (
            np.stack(column, axis=1) for column in zip(*self._steps, strict=True)
        )  # (worlds, frames, ...)
        worlds, frames = actions.shape
        last = [row for _, _, row in sorted(self._last, key=lambda entry: (entry[1], entry[0]))]
        blocks = [
            observations.reshape(worlds * frames, -1),
            np.array(last).reshape(len(last), observations.shape[-1]),
            np.asarray(self._after),
        ]
        packed = [self._pack(block) for block in blocks]
        used, places = np.unique(np.concatenate([ids for _, ids in packed]), return_inverse=True)
        phrases = ["", *(self._texts(int(i)) for i in used)]
        numbers = {text: i for i, text in enumerate(phrases)}
        for _, _, event in self._events:
            if event not in numbers:
                numbers[event] = len(phrases)
                phrases.append(event)
        small = np.uint16 if len(phrases) < 2**16 else np.int32
        ends = np.cumsum([0, *(len(ids) for _, ids in packed)])
        ids = [(places[a:b] + 1).astype(small) for a, b in itertools.pairwise(ends)]
        events = sorted(
            (i * frames + frame, k, numbers[event]) for k, (frame, i, event) in enumerate(self._events)
        )
        meta = {
            "format": FORMAT,
            "interface": self._interface.plain(),
            "source": self._source,
            "phrases": phrases,
        }
        write_shard(
            self._folder / f"{self._frames:010d}.npz",
            {
                "counts": packed[0][0].reshape(worlds, frames, -1),
                "ids": ids[0],
                "last_counts": packed[1][0],
                "last_ids": ids[1],
                "after_counts": packed[2][0],
                "after_ids": ids[2],
                "actions": actions.astype(np.min_scalar_type(self._interface.actions)),
                "rewards": rewards.astype(np.float32),
                "terminated": terminated,
                "truncated": truncated,
                "world_seeds": seeds,
                "event_steps": np.array([step for step, _, _ in events], np.int64),
                "event_ids": np.array([event for _, _, event in events], small),
                "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
            },
        )
        self._frames += worlds * frames
        self._steps, self._events, self._last = [], [], []

    def resume(self, frames: int) -> None:
        """Goes on after so many frames; shards that were written after them are removed.

        Raises:
            UserError: if the shards do not end there.
        """
        for path in shards_in(self._folder):
            if frames_before(path) >= frames:
                path.unlink()
        for partial in self._folder.glob("*.partial"):
            partial.unlink()
        kept = shards_in(self._folder)
        end = 0
        if kept:
            arrays, _ = read_shard(kept[-1])
            end = frames_before(kept[-1]) + arrays["actions"].size
        if end != frames:
            raise UserError(
                f"the shards in {self._folder} end at frame {end}, but the checkpoint is of frame {frames}"
            )
        self._frames = frames

    def _pack(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of phrases in each field ``(n, fields)``, and the phrases."""
        ends = np.cumsum(self._widths)
        present = rows != 0
        counts = [
            present[:, end - width : end].sum(axis=1) for width, end in zip(self._widths, ends, strict=True)
        ]
        return np.stack(counts, axis=1).astype(np.uint16), rows[present]


def write_shard(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a shard, whole or not at all.

    Raises:
        UserError: if it cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content.getvalue())
        to_disk(path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Writes a dataset as the log of one world, one episode after the other; ``run_log.read_run`` reads it.

    Args:
        dataset: what to write.
        folder: new; it is written whole or not at all.

    Raises:
        UserError: if it exists already, or cannot be written.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another --out")
    try:
        with whole_folder(folder) as partial:
            _write_shards(dataset, partial)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error


def _write_shards(dataset: Dataset, folder: Path) -> None:
    told = {
        name: ", ".join(dict.fromkeys(str(source[name]) for source in dataset.sources))
        for name in ("name", "algo", "seed")
    }
    source = {**told, "parts": [dict(source) for source in dataset.sources]}
    part = dataset.starts[:-1] // ROWS  # of each episode
    for number in np.unique(part):
        chosen = np.flatnonzero(part == number)
        some = dataset.select(chosen)
        frames, offsets = len(some), some.offsets
        last = some.starts[1:] + np.arange(some.episodes)  # rows of the last observations
        is_last = np.zeros(len(some.counts), bool)
        is_last[last] = True
        of_last = np.repeat(is_last, np.diff(offsets))
        meta = {
            "format": FORMAT,
            "interface": some.interface.plain(),
            "source": source,
            "phrases": list(some.phrases),
        }
        write_shard(
            folder / FOLDER / f"{dataset.starts[chosen[0]]:010d}.npz",
            {
                "counts": some.counts[~is_last].reshape(1, frames, -1),
                "ids": some.ids[~of_last],
                "last_counts": some.counts[is_last],
                "last_ids": some.ids[of_last],
                "after_counts": np.zeros((1, some.counts.shape[1]), some.counts.dtype),
                "after_ids": some.ids[:0],
                **{n: getattr(some, n)[None] for n in ("actions", "rewards", "terminated", "truncated")},
                "world_seeds": np.repeat(some.world_seeds, np.diff(some.starts))[None],
                "event_steps": some.event_steps,
                "event_ids": some.event_ids,
                "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8),
            },
        )


def read_shard(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A shard's arrays, and its ``meta``.

    Raises:
        UserError: if it is damaged, or of another format.
    """
    try:
        with np.load(path, allow_pickle=False) as file:  # zipfile verifies each array's checksum
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        interface = Interface(**meta["interface"])
        if meta["format"] != FORMAT:
            raise UserError(f"{path} has format {meta['format']!r}; this version reads {FORMAT}")
        _check(arrays, meta["phrases"], interface)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged, or no shard of logged transitions") from error
    return arrays, meta


def _check(arrays: Mapping[str, np.ndarray], phrases: Sequence[str], interface: Interface) -> None:
    """Raises ValueError where arrays do not belong together."""
    worlds, frames, fields = arrays["counts"].shape
    shapes = {arrays[name].shape for name in ("actions", "rewards", "terminated", "truncated", "world_seeds")}
    ended = int((arrays["terminated"] | arrays["truncated"]).sum())
    right = (
        shapes == {(worlds, frames)}
        and fields == len(interface.fields)
        and arrays["last_counts"].shape == (ended, fields)
        and arrays["after_counts"].shape == (worlds, fields)
        and all(
            arrays[f"{n}ids"].size == arrays[f"{n}counts"].sum(dtype=np.int64)
            for n in ("", "last_", "after_")
        )
        and all(arrays[f"{n}ids"].max(initial=0) < len(phrases) for n in ("", "last_", "after_", "event_"))
        and arrays["event_steps"].shape == arrays["event_ids"].shape
        and arrays["event_steps"].max(initial=0) < max(worlds * frames, 1)
        and arrays["actions"].max(initial=0) < interface.actions
        and phrases[:1] == [""]
        and all(isinstance(text, str) for text in phrases)
    )
    if not right:
        raise ValueError("the arrays do not belong together")


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder, in order."""
    return sorted(path for path in folder.glob("*.npz") if path.stem.isdecimal())


def frames_before(path: Path) -> int:
    """Frames played before those of a shard."""
    return int(path.stem)
