"""From folders to what an agent learns from: reads runs and datasets, checks that they fit, packs their observations."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ellm_agent.config.schema import Config
from ellm_agent.datasets import minari_files, run_log
from ellm_agent.datasets.dataset import Dataset, Interface, concatenate
from ellm_agent.datasets.relabel import events_by_episode
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import write_whole
from envs import registry


def load(folders: Sequence[Path], first: int = 0, frames: int | None = None) -> Dataset:
    """One dataset of several folders.

    Args:
        folders: of runs that were played with ``--record``, or of datasets in Minari's format.
        first, frames: of each run, see ``run_log.read_run``; datasets are taken whole.

    Raises:
        UserError: if one cannot be read, or they do not go together.
    """
    return concatenate([read(folder, first, frames) for folder in folders])


def read(folder: Path, first: int = 0, frames: int | None = None) -> Dataset:
    """The episodes of a run or of a dataset.

    Raises:
        UserError: if it is neither, or damaged.
    """
    if (folder / "SHA256SUMS").is_file() or (folder / "card.json").is_file():
        return minari_files.read(folder)
    return run_log.read_run(folder, first, frames)


def interface_of(folder: Path) -> Interface:
    """What was observed and done in a run or a dataset, without reading all of it.

    Raises:
        UserError: if it is neither.
    """
    card = folder / "card.json"
    if card.is_file():
        try:
            return Interface(**json.loads(card.read_text(encoding="utf-8"))["interface"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{card} is no card of a dataset of this project") from error
    return run_log.interface_of(folder)


def check_interface(theirs: Interface, config: Config) -> None:
    """Refuses a log of other worlds than the configuration's.

    Raises:
        UserError: naming the first difference.
    """
    ours = config.env.options
    if theirs.world != config.env.name:
        raise UserError(f"world is {config.env.name}, but the log is of {theirs.world}")
    usual = registry.get(config.env.name).usual_action_space(ours["protocol"])
    if theirs.hide_clauses != config.env.hide_clauses:
        raise UserError(f"hide-clauses is {config.env.hide_clauses}, but the log has {theirs.hide_clauses}")
    for name in ("protocol", "caption", "task", "action_space", *registry.get(config.env.name).options):
        one, other = ours.get(name), theirs.options.get(name)
        if name == "action_space":
            one, other = one or usual, other or usual
        if one != other:
            raise UserError(f"{name.replace('_', '-')} is {one}, but the log has {other}")


def check_words(dataset: Dataset, vocabulary: Sequence[str]) -> None:
    """Refuses a log whose captions are not made of a world's clauses.

    Raises:
        UserError: naming the first that is none.
    """
    clauses = set(vocabulary)
    _, ids = dataset.field_rows("caption")
    for i in np.unique(ids):
        if dataset.phrases[i] not in clauses:
            raise UserError(
                f"the log's captions say {dataset.phrases[i][:60]!r}, which is no clause of "
                f"{dataset.interface.world}: it is of another version, or was recorded with --encoder sentence"
            )


def observed(dataset: Dataset, number: Callable[[str], int], prefix: str) -> np.ndarray:
    """The observations of an agent that is shown no goals: the caption, and every event of the episode so far.

    Those of the log may differ, since its agent may have been shown goals, and only rewarded events. Phrases are packed
    to the left: how many slots there are does not matter to a text encoder.

    Args:
        dataset: the log.
        number: text -> phrase id.
        prefix: of achieved events.

    Returns:
        ``(rows, slots)`` ids, int16 if they fit.
    """
    counts, ids = dataset.field_rows("caption")
    table = np.array([number(text) if used else 0 for text, used in _used(dataset, ids)], np.int32)
    happened = []  # row, last row, place among the episode's events, phrase
    for episode, steps in events_by_episode(dataset):
        places: dict[str, int] = {}
        end = dataset.starts[episode + 1] + episode + 1
        for step, events in steps:
            for event in events:
                if event not in places:
                    places[event] = len(places)
                    happened.append((step + episode + 1, end, places[event], number(prefix + event)))
    width, more = int(counts.max(initial=0)), 1 + max((place for _, _, place, _ in happened), default=-1)
    largest = max(table.max(initial=0), *(phrase for *_, phrase in happened), 0)
    rows = np.zeros((len(counts), width + more), np.int16 if largest < 2**15 else np.int32)
    rows[:, :width][np.arange(width) < counts[:, None]] = table[ids]
    for first, end, place, phrase in happened:
        rows[first:end, width + place] = phrase
    return rows


def _used(dataset: Dataset, ids: np.ndarray) -> list[tuple[str, bool]]:
    used = np.zeros(len(dataset.phrases), bool)
    used[ids] = True
    return list(zip(dataset.phrases, used.tolist(), strict=True))


def describe(dataset: Dataset, rewards: np.ndarray) -> dict[str, Any]:
    """What is learned from, in JSON values: counts, sources, and a checksum."""
    digest = 0
    for array in (dataset.ids, dataset.actions, rewards):
        digest = zlib.crc32(array.tobytes(), digest)
    return {
        "transitions": len(dataset),
        "episodes": dataset.episodes,
        "mean_return": round(float(dataset.returns(rewards).mean()), 4),
        "sources": [dict(source) for source in dataset.sources],
        "checksum": f"{digest:08x}",
    }


def note_data(folder: Path, about: Mapping[str, Any]) -> None:
    """Writes ``data.json``: what a run learns from; a resumed run must find the same again.

    Raises:
        UserError: if it does not.
    """
    path = folder / "data.json"
    if path.is_file():
        try:
            before = json.loads(path.read_text())["checksum"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged; start a new run") from error
        if before != about["checksum"]:
            raise UserError(f"the log is not the one that {folder} began to learn from; its checksum differs")
    write_whole(path, json.dumps(about, indent=1))
