"""Episodes from the shards of a run: what each world saw, joined across shards, as a :class:`Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ellm_agent.datasets.dataset import Dataset, Interface, concatenate
from ellm_agent.datasets.shards import FOLDER, frames_before, read_shard, shards_in
from ellm_agent.errors import UserError


def read_run(folder: Path, first: int = 0, frames: int | None = None) -> Dataset:
    """The episodes that a run has logged. Those under way when the log ends are truncated there.

    Args:
        folder: the run's folder.
        first: only episodes that begin at this frame of the run or later.
        frames: and before so many frames after that; None: all.

    Raises:
        UserError: if there are none, or a shard is missing or damaged.
    """
    paths = _found(folder)
    table: dict[str, int] = {"": 0}
    shards, metas = [], []
    for path in paths:
        end = sum(shard["actions"].size for shard in shards)
        if frames_before(path) != end:
            raise UserError(f"{path.parent} lacks the shard of frame {end}; its next one is {path.name}")
        arrays, meta = read_shard(path)
        metas.append(meta)
        if (meta["interface"], meta["source"]) != (metas[0]["interface"], metas[0]["source"]):
            raise UserError(f"{path} comes from another run than the shards before it")
        if shards and len(arrays["actions"]) != len(shards[0]["actions"]):
            raise UserError(f"{path} has {len(arrays['actions'])} worlds, not {len(shards[0]['actions'])}")
        numbers = np.array([table.setdefault(text, len(table)) for text in meta["phrases"]], np.int32)
        for name in ("ids", "last_ids", "after_ids", "event_ids"):
            arrays[name] = numbers[arrays[name]]
        shards.append(arrays)
    interface = Interface(**metas[0]["interface"])
    played = sum(shard["actions"].size for shard in shards)
    logs = [_log_of_world(shards, i) for i in range(len(shards[0]["actions"]))]
    source = {**metas[0]["source"], "first": first, "frames": min(frames or played, max(played - first, 0))}
    selected = first > 0 or frames is not None
    # A dataset that was written back as a log comes from the runs that the dataset came from.
    sources = (source,) if selected or "parts" not in source else tuple(source["parts"])
    both = concatenate([Dataset(interface, tuple(table), *log, sources) for log in logs])
    worlds = len(logs)
    begins = (
        np.concatenate([log[2][:-1] for log in logs]) * worlds
    )  # frame of the run at which each episode begins
    last = played if frames is None else first + frames
    chosen = np.flatnonzero((begins >= first) & (begins < last))
    if not len(chosen):
        raise UserError(
            f"no episode is selected of {folder}: of its {played} frames, none begins in {first} to {last}"
        )
    return replace(both.select(chosen), sources=sources)


def interface_of(folder: Path) -> Interface:
    """What was observed and done in a run's log.

    Raises:
        UserError: if there is none.
    """
    return Interface(**read_shard(_found(folder)[0])[1]["interface"])


def _found(folder: Path) -> list[Path]:
    """A run's shards, in order.

    Raises:
        UserError: if there are none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name a run that was played with --record, or a dataset")
    paths = shards_in(folder / FOLDER)
    if not paths:
        raise UserError(f"{folder} holds no logged transitions; play the run with --record")
    return paths


def _log_of_world(shards: Sequence[Mapping[str, np.ndarray]], i: int) -> list[np.ndarray]:
    """World ``i``'s part of shards: the arrays of a :class:`Dataset`, from ``counts`` to ``world_seeds``."""
    counts, ids, steps, events, event_ids, played = [], [], [], [], [], 0
    for shard in shards:
        frames = shard["actions"].shape[1]
        ended = shard["terminated"] | shard["truncated"]
        mine = _rows(
            shard["counts"].reshape(len(ended) * frames, -1), shard["ids"], i * frames, (i + 1) * frames
        )
        before = int(ended[:i].sum())
        last = _rows(shard["last_counts"], shard["last_ids"], before, before + int(ended[i].sum()))
        # An episode's last observation follows that before its last action.
        place = np.flatnonzero(ended[i]) + 1
        counts.append(np.insert(mine[0], place, last[0], axis=0))
        cuts = np.concatenate([[0], np.cumsum(mine[0].sum(axis=1, dtype=np.int64))])[place]
        ends = np.cumsum(last[0].sum(axis=1, dtype=np.int64))
        ids.append(
            np.insert(
                mine[1],
                np.repeat(cuts, last[0].sum(axis=1, dtype=np.int64)),
                last[1][: ends[-1] if len(ends) else 0],
            )
        )
        steps.append(
            [shard[name][i] for name in ("actions", "rewards", "terminated", "truncated", "world_seeds")]
        )
        here = (shard["event_steps"] >= i * frames) & (shard["event_steps"] < (i + 1) * frames)
        events.append(shard["event_steps"][here] - i * frames + played)
        event_ids.append(shard["event_ids"][here])
        played += frames
    actions, rewards, terminated, truncated, seeds = (np.concatenate(c) for c in zip(*steps, strict=True))
    ends = np.flatnonzero(terminated | truncated) + 1
    if not len(ends) or ends[-1] < played:  # the log ends within an episode
        after = _rows(shards[-1]["after_counts"], shards[-1]["after_ids"], i, i + 1)
        counts.append(after[0])
        ids.append(after[1])
        ends = np.append(ends, played)
        truncated = truncated.copy()
        truncated[-1] = True
    starts = np.concatenate([[0], ends])
    return [
        np.concatenate(counts),
        np.concatenate(ids),
        starts,
        actions,
        rewards,
        terminated,
        truncated,
        np.concatenate(events),
        np.concatenate(event_ids),
        seeds[starts[:-1]],
    ]


def _rows(counts: np.ndarray, ids: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Some rows' counts, and their phrases."""
    ends = np.concatenate([[0], np.cumsum(counts.sum(axis=1, dtype=np.int64))])
    return counts[first:last], ids[ends[first] : ends[last]]
