"""Datasets in Minari's format (https://minari.farama.org), which its own loader reads; needs ``requirements-offline.txt``.

FOLDER/data/       Minari's files: observations are phrase ids; ``infos["events"]`` are the phrases of what happened
FOLDER/phrases.json   the texts of the ids
FOLDER/card.json   world, rules, captions, actions, fields of the observation, sources, counts
FOLDER/README.md   the same for people
FOLDER/SHA256SUMS  a checksum of every other file, for ``sha256sum -c``

Where FOLDER is below ``MINARI_DATASETS_PATH``, ``minari.load_dataset`` finds it by its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ellm_agent.datasets.dataset import Dataset, Interface
from ellm_agent.datasets.relabel import events_by_episode
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import whole_folder

FORMAT = 1
NAME = re.compile(r"[A-Za-z0-9_][-\w]*-v\d+")  # of a folder: Minari's name of a dataset


def write(dataset: Dataset, folder: Path) -> None:
    """Writes a dataset.

    Args:
        dataset: what to write.
        folder: new; its name is the dataset's, such as ``mixture-v0``.

    Raises:
        UserError: if it exists already, has a name that Minari does not take, or cannot be written; or without Minari.
    """
    episode_buffer, storages = _minari()
    if not NAME.fullmatch(folder.name):
        raise UserError(f"out is {folder}; Minari wants a name such as {folder.parent / 'crafter-v0'}")
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another --out")
    try:
        with whole_folder(folder) as partial:
            _write(dataset, partial, folder.name, episode_buffer, storages)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from error


def _write(dataset: Dataset, folder: Path, name: str, episode_buffer: type, storages: type) -> None:
    slots = sum(dataset.interface.fields.values())
    dtype = np.int16 if len(dataset.phrases) < 2**15 else np.int32
    space = gym.spaces.Box(0, np.iinfo(dtype).max, (slots,), dtype)
    actions = gym.spaces.Discrete(dataset.interface.actions)
    # Minari measures the size of files below an absolute path only.
    storage = storages.new(folder.absolute() / "data", space, actions, data_format="parquet")
    storage.update_metadata(_metadata(dataset, name))
    # Minari adds up the sizes of all files after each episode: the time would grow with the square.
    storage.get_size = lambda: 0.0
    storage.update_episodes(_episodes(dataset, dtype, episode_buffer))
    del storage.get_size
    storage.update_metadata({"dataset_size": float(storage.get_size())})
    (folder / "phrases.json").write_text(json.dumps(dataset.phrases, indent=0), encoding="utf-8")
    (folder / "card.json").write_text(json.dumps(card(dataset), indent=1), encoding="utf-8")
    (folder / "README.md").write_text(_readme(dataset, name), encoding="utf-8")
    sums = [f"{_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in _files(folder)]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def read(folder: Path) -> Dataset:
    """Reads what ``write`` wrote.

    Raises:
        UserError: if it is damaged or foreign, or without Minari.
    """
    _minari()
    import minari

    check(folder)
    try:
        about = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        phrases = json.loads((folder / "phrases.json").read_text(encoding="utf-8"))
        interface = Interface(**about["interface"])
        if about["format"] != FORMAT:
            raise UserError(f"{folder} has format {about['format']!r}; this version reads {FORMAT}")
        stored = minari.MinariDataset(folder / "data")
        found = _join(stored, interface, tuple(phrases), about["sources"])
    except UserError:
        raise
    except Exception as error:  # pyarrow and Minari have many of their own
        raise UserError(f"{folder} is damaged, or no dataset of this project") from error
    return found


def check(folder: Path) -> int:
    """Compares all files with their checksums; returns how many there are.

    Raises:
        UserError: naming the first that is missing, new or changed.
    """
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        raise UserError(f"{folder} is no dataset of this project: it holds no SHA256SUMS")
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name in [*wanted, *present]:
        if name not in present:
            raise UserError(f"{folder} is damaged: {name!r} is missing")
        if name not in wanted:
            raise UserError(f"{folder} is damaged: {name!r} is not in SHA256SUMS")
        if _sha256(present[name]) != wanted[name]:
            raise UserError(f"{folder} is damaged: {name!r} has another checksum")
    return len(wanted)


def card(dataset: Dataset) -> dict[str, Any]:
    """What a dataset holds, in JSON values."""
    lengths = np.diff(dataset.starts)
    returns = dataset.returns(dataset.rewards)
    events = [dataset.phrases[i] for i in dataset.event_ids]
    names, counts = np.unique(events, return_counts=True) if events else ([], [])
    return {
        "format": FORMAT,
        "interface": dataset.interface.plain(),
        "sources": [dict(source) for source in dataset.sources],
        "transitions": len(dataset),
        "episodes": dataset.episodes,
        "terminated": int(dataset.terminated.sum()),
        "truncated": int(dataset.truncated.sum()),
        "phrases": len(dataset.phrases),
        "mean_length": round(float(lengths.mean()), 1),
        "mean_return": round(float(returns.mean()), 3),
        "events": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
    }


def _metadata(dataset: Dataset, name: str) -> dict[str, Any]:
    import minari

    sources = ", ".join(f"{s['name']} ({s['frames']:,} frames)" for s in dataset.sources)
    return {
        "dataset_id": name,
        "minari_version": minari.__version__,
        "algorithm_name": ", ".join(dict.fromkeys(str(s["algo"]) for s in dataset.sources)),
        "description": f"Phrase ids, actions and rewards of a text world ({dataset.interface.world}), from {sources}. "
        "phrases.json has the texts of the ids.",
    }


def _episodes(dataset: Dataset, dtype: type, episode_buffer: type) -> Iterator[Any]:
    """The episodes as Minari takes them, with as many slots for events as the transition with the most needs."""
    _, per_step = np.unique(dataset.event_steps, return_counts=True)
    slots = int(per_step.max(initial=1))
    happened = dict(events_by_episode(dataset))
    ids = {text: i for i, text in enumerate(dataset.phrases)}
    for e in range(dataset.episodes):
        first, last = int(dataset.starts[e]), int(dataset.starts[e + 1])
        events = np.zeros((last - first + 1, slots), dtype)
        for step, texts in happened.get(e, ()):
            events[step - first + 1, : len(texts)] = [ids[text] for text in texts]  # row 0 is the reset's
        yield episode_buffer(
            id=e,
            seed=int(dataset.world_seeds[e]),
            observations=dataset.observations(e).astype(dtype),
            actions=dataset.actions[first:last].astype(np.int64),
            rewards=dataset.rewards[first:last],
            terminations=dataset.terminated[first:last],
            truncations=dataset.truncated[first:last],
            infos={"events": events},
        )


def _join(stored: Any, interface: Interface, phrases: tuple[str, ...], sources: list) -> Dataset:
    """Minari's episodes as a :class:`Dataset`."""
    widths = list(interface.fields.values())
    parts: dict[str, list[np.ndarray]] = {}
    starts = [0]
    seeds = [
        data.get("seed", 0) for data in stored.storage.get_episode_metadata(range(stored.total_episodes))
    ]
    for episode in stored.iterate_episodes():
        rows, events = episode.observations, episode.infos["events"]
        fields = np.split(rows, np.cumsum(widths)[:-1], axis=1)
        happened = events[1:] != 0
        columns = {
            "counts": np.stack([(field != 0).sum(axis=1) for field in fields], axis=1).astype(np.uint16),
            "ids": rows[rows != 0].astype(np.int32),
            "actions": episode.actions.astype(np.min_scalar_type(interface.actions)),
            "rewards": episode.rewards.astype(np.float32),
            "terminated": episode.terminations.astype(bool),
            "truncated": episode.truncations.astype(bool),
            "event_steps": np.nonzero(happened)[0] + starts[-1],
            "event_ids": events[1:][happened].astype(np.int32),
        }
        for name, column in columns.items():
            parts.setdefault(name, []).append(column)
        starts.append(starts[-1] + len(episode.actions))
    joined = {name: np.concatenate(columns) for name, columns in parts.items()}
    if max(joined["ids"].max(initial=0), joined["event_ids"].max(initial=0)) >= len(phrases):
        raise ValueError("a phrase id has no text")
    return Dataset(
        interface,
        phrases,
        starts=np.array(starts),
        world_seeds=np.array(seeds, np.int64),
        sources=tuple(sources),
        **joined,
    )


def _readme(dataset: Dataset, name: str) -> str:
    """The dataset card, for people."""
    about, options = card(dataset), dataset.interface.options
    lines = [
        f"# {name}",
        "",
        f"Logged play of the text world `{dataset.interface.world}` "
        f"({', '.join(f'{key} {value}' for key, value in options.items() if value is not None)}), in Minari's format.",
        "",
        f"- {len(dataset):,} transitions in {dataset.episodes:,} episodes (mean length {about['mean_length']:,} frames); "
        f"{about['terminated']:,} terminated, {about['truncated']:,} truncated.",
        f"- Observations: phrase ids, padded with 0, in the fields "
        f"{', '.join(f'{key} ({width} slots)' for key, width in dataset.interface.fields.items())}; "
        f"`phrases.json` has their {len(dataset.phrases):,} texts.",
        f"- Actions: {dataset.interface.actions}. Rewards: those that the logged agents learned from "
        f"(mean return {about['mean_return']}).",
        "- `infos['events']`: phrases of what happened, from which rewards for any goals are computed.",
        "- An episode's seed is its world's: with the actions it determines the episode.",
        "",
        "| source | algorithm | seed | frames |",
        "|---|---|---|---|",
        *(f"| {s['name']} | {s['algo']} | {s['seed']} | {s['frames']:,} |" for s in dataset.sources),
        "",
        "| event | times |",
        "|---|---|",
        *(
            f"| {event} | {count:,} |"
            for event, count in sorted(about["events"].items(), key=lambda x: -x[1])
        ),
        "",
        "Read it: `python experiments/dataset.py show FOLDER`, or `minari.MinariDataset('FOLDER/data')`. "
        "Verify it: `sha256sum -c SHA256SUMS`.",
        "",
    ]
    return "\n".join(lines)


def _minari() -> tuple[type, type]:
    """Minari's classes of an episode and of a storage.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import pyarrow.dataset  # noqa: F401 (Minari finds it as an attribute)
        from minari.data_collector.episode_buffer import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise UserError("Minari is not installed; pip install -r requirements-offline.txt") from error
    return EpisodeBuffer, MinariStorage


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
