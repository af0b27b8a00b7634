"""Logged episodes in memory: what a player saw, did and got, in phrase ids.

Knows nothing of files (``shards``, ``minari_files``), rewards for other goals (``relabel``) or agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ellm_agent.errors import UserError


@dataclass(frozen=True)
class Interface:
    """What was observed and done; the same in all episodes of a dataset.

    Attributes:
        world: its name in ``envs.registry``.
        options: keyword arguments of its environments.
        actions: how many there are.
        fields: field of the observation -> its slots, in order.
        hide_clauses: pattern of the caption's clauses that were not observed; None: all were.
    """

    world: str
    options: Mapping[str, Any]
    actions: int
    fields: Mapping[str, int]
    hide_clauses: str | None = None

    def __post_init__(self):
        """Raises TypeError for values of another kind: they come from files."""
        right = (
            isinstance(self.world, str)
            and isinstance(self.options, Mapping)
            and isinstance(self.actions, int)
            and isinstance(self.fields, Mapping)
            and all(isinstance(width, int) for width in self.fields.values())
            and isinstance(self.hide_clauses, str | None)
        )
        if not right:
            raise TypeError("the interface is damaged")

    def plain(self) -> dict[str, Any]:
        """JSON values, which ``Interface(**...)`` takes."""
        return {
            "world": self.world,
            "options": dict(self.options),
            "actions": self.actions,
            "fields": dict(self.fields),
            "hide_clauses": self.hide_clauses,
        }


@dataclass(frozen=True)
class Dataset:
    """Episodes, one after the other. Episode e has transitions ``starts[e]`` to before ``starts[e + 1]``, and one row
    more than transitions: the states, its last one included. So transition t of episode e leads from row t + e to the
    next row.

    Attributes:
        interface: what was observed and done.
        phrases: texts of the phrase ids; id 0 is "".
        counts: ``(rows, fields)``, phrases in each field of each observation.
        ids: those phrases, one after the other.
        starts: ``(episodes + 1,)``.
        actions: ``(transitions,)``.
        rewards: ``(transitions,)`` float32, those that the logged agent learned from.
        terminated: ``(transitions,)`` bool, whether the episode ended in the world itself.
        truncated: ``(transitions,)`` bool, whether it ended by time, or because the log ends.
        event_steps, event_ids: transitions in which something happened, in order, and the phrases of what happened.
        world_seeds: ``(episodes,)``.
        sources: of the runs: name, seed, algorithm, frames; see ``logs.describe``.
    """

    interface: Interface
    phrases: tuple[str, ...]
    counts: np.ndarray
    ids: np.ndarray
    starts: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    event_steps: np.ndarray
    event_ids: np.ndarray
    world_seeds: np.ndarray
    sources: tuple[Mapping[str, Any], ...] = field(default=())

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def episodes(self) -> int:
        return len(self.starts) - 1

    @property
    def episode_of(self) -> np.ndarray:
        """``(transitions,)``, the episode of each transition."""
        return np.repeat(np.arange(self.episodes), np.diff(self.starts))

    @property
    def offsets(self) -> np.ndarray:
        """``(rows + 1,)``, where each row's phrases begin in ``ids``."""
        return np.concatenate([[0], np.cumsum(self.counts.sum(axis=1, dtype=np.int64))])

    def returns(self, rewards: np.ndarray) -> np.ndarray:
        """Undiscounted return of each episode, ``(episodes,)``."""
        return np.add.reduceat(rewards.astype(np.float64), self.starts[:-1]) if self.episodes else np.zeros(0)

    def field_rows(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A field's phrases of all rows: ``(rows,)`` counts and the ids, one row after the other."""
        column = list(self.interface.fields).index(name)
        rows, fields = self.counts.shape
        which = np.repeat(np.tile(np.arange(fields), rows), self.counts.ravel())  # field of each id
        return self.counts[:, column].astype(np.int64), self.ids[which == column]

    def observations(self, episode: int) -> np.ndarray:
        """The observations of an episode as its player had them: ``(transitions + 1, slots)`` ids, padded with 0."""
        widths = list(self.interface.fields.values())
        first, last = self.starts[episode] + episode, self.starts[episode + 1] + episode + 1
        counts = self.counts[first:last].astype(np.int64)
        filled = (np.arange(max(widths)) < counts[:, :, None]).reshape(-1, max(widths))
        begin = self.counts[:first].sum(dtype=np.int64) if first else 0
        packed = np.zeros(filled.shape, np.int32)
        packed[filled] = self.ids[begin : begin + counts.sum()]
        packed = packed.reshape(len(counts), len(widths), -1)
        return np.concatenate([packed[:, i, :width] for i, width in enumerate(widths)], axis=1)

    def select(self, episodes: np.ndarray) -> Dataset:
        """Some of the episodes, ``(k,)`` increasing numbers."""
        lengths = np.diff(self.starts)[episodes]
        keep = np.zeros(self.episodes, bool)
        keep[episodes] = True
        steps = keep[self.episode_of]
        rows = np.repeat(keep, np.diff(self.starts) + 1)
        places = np.cumsum(steps) - 1
        happened = steps[self.event_steps]
        return replace(
            self,
            counts=self.counts[rows],
            ids=self.ids[np.repeat(rows, self.counts.sum(axis=1, dtype=np.int64))],
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            actions=self.actions[steps],
            rewards=self.rewards[steps],
            terminated=self.terminated[steps],
            truncated=self.truncated[steps],
            event_steps=places[self.event_steps[happened]],
            event_ids=self.event_ids[happened],
            world_seeds=self.world_seeds[episodes],
        )


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """One dataset of several, with one phrase table.

    Raises:
        UserError: if there is none, or they differ in what was observed and done.
    """
    if not datasets:
        raise UserError("there are no logs; name at least one run or dataset")
    first = datasets[0]
    phrases = {"": 0}
    ids, events = [], []
    for dataset in datasets:
        for name, value in dataset.interface.plain().items():
            if value != first.interface.plain()[name]:
                raise UserError(
                    f"the logs differ in {_difference(name, first.interface.plain()[name], value)}; take those of one kind"
                )
        table = np.array([phrases.setdefault(text, len(phrases)) for text in dataset.phrases], np.int32)
        ids.append(table[dataset.ids])
        events.append(table[dataset.event_ids])
    shifts = np.cumsum([0, *map(len, datasets)])
    return Dataset(
        first.interface,
        tuple(phrases),
        np.concatenate([d.counts for d in datasets]),
        np.concatenate(ids),
        np.concatenate([[0], *(d.starts[1:] + shift for d, shift in zip(datasets, shifts, strict=False))]),
        *(
            np.concatenate([getattr(d, name) for d in datasets])
            for name in ("actions", "rewards", "terminated", "truncated")
        ),
        np.concatenate([d.event_steps + shift for d, shift in zip(datasets, shifts, strict=False)]),
        np.concatenate(events),
        np.concatenate([d.world_seeds for d in datasets]),
        tuple(source for d in datasets for source in d.sources),
    )


def _difference(name: str, one: Any, other: Any) -> str:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *other]:
            if one.get(key) != other.get(key):
                return f"{key}: {one.get(key)!r} and {other.get(key)!r}"
    return f"{name}: {one!r} and {other!r}"
