"""SB3's replay buffers, in a third of the memory: what was achieved is kept once, and no state is stored twice."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer


class PhraseRows:
    """Observations by position and world, read and written like the array ``(size, n_envs, slots)`` that it replaces.

    The slots of the scene are stored as they are. The other fields (what is achieved, which goals are open) seldom
    change: each distinct content is kept once, and a position holds its number.

    Args:
        size: positions.
        n_envs: worlds.
        scene: slots of the scene, the first of an observation.
        slots: all slots of an observation.
        dtype: of observations.
    """

    def __init__(self, size: int, n_envs: int, scene: int, slots: int, dtype: np.dtype):
        self.scenes = np.zeros((size, n_envs, scene), dtype)
        self.others = np.zeros((size, n_envs), np.int32)
        self.table = np.zeros((1, slots - scene), dtype)  # grows; row 0 is empty
        self.known = 1  # rows of the table in use
        self._numbers = {self.table[0].tobytes(): 0}
        self._scene = scene

    def __setitem__(self, position: int, observations: np.ndarray) -> None:
        self.scenes[position] = observations[:, : self._scene]
        self.others[position] = [self._number(row) for row in observations[:, self._scene :]]

    def __getitem__(self, where: tuple) -> np.ndarray:
        positions, worlds = where[:2]
        return np.concatenate(
            [self.scenes[positions, worlds], self.table[self.others[positions, worlds]]], axis=-1
        )

    @property
    def nbytes(self) -> int:
        numbers = sys.getsizeof(self._numbers) + sum(map(sys.getsizeof, self._numbers))
        return self.scenes.nbytes + self.others.nbytes + self.table.nbytes + numbers

    def _number(self, row: np.ndarray) -> int:
        content = row.tobytes()
        number = self._numbers.get(content)
        if number is None:
            number = self._numbers[content] = self.known
            if number == len(self.table):
                self.table = np.resize(self.table, (2 * number, self.table.shape[1]))
            self.table[number] = row
            self.known += 1
        return number

    def take_table(self, table: np.ndarray) -> None:
        """Puts another table in the place of this one."""
        self.table, self.known = table, len(table)
        self._numbers = {row.tobytes(): number for number, row in enumerate(table)}


class NextRows:
    """The observations that followed those of a ``PhraseRows``: mostly the row at the next position.

    Kept beside are those that are not: of the newest position, and the last of each episode.

    Args:
        rows: the observations.
    """

    def __init__(self, rows: PhraseRows):
        self._rows, (self._size, n_envs) = rows, rows.others.shape
        self.newest = -1
        self.following: np.ndarray | None = None  # of the newest position, (n_envs, slots)
        self.at_end = np.zeros((self._size, n_envs), bool)  # whether the next row is of another episode
        self.last: dict[tuple[int, int], np.ndarray] = {}  # (position, world) -> what followed, where it is

    def __setitem__(self, position: int, observations: np.ndarray) -> None:
        self._settle(position)
        for world in np.flatnonzero(self.at_end[position]):  # an old transition makes room
            del self.last[position, int(world)]
        self.at_end[position] = False
        self.newest, self.following = position, np.array(observations)

    def __getitem__(self, where: tuple) -> np.ndarray:
        positions, worlds = where[:2]
        found = self._rows[(positions + 1) % self._size, worlds]
        newest = positions == self.newest
        found[newest] = self.following[worlds[newest]]
        for i in np.flatnonzero(self.at_end[positions, worlds]):
            found[i] = self.last[int(positions[i]), int(worlds[i])]
        return found

    @property
    def nbytes(self) -> int:
        kept = sum(sys.getsizeof(where) + sys.getsizeof(row) for where, row in self.last.items())
        return self.at_end.nbytes + sys.getsizeof(self.last) + kept

    def _settle(self, position: int) -> None:
        """Before ``position`` becomes the newest: which worlds have ended an episode at the one before?"""
        if self.following is None:
            return
        worlds = np.arange(len(self.following))
        present = self._rows[np.full(len(worlds), position), worlds]
        for world in np.flatnonzero((present != self.following).any(axis=1)):
            self.at_end[self.newest, world] = True
            self.last[self.newest, int(world)] = self.following[world]


class _Compact:
    """Makes an SB3 replay buffer compact. Everything that it does, it does as before.

    Args:
        scene: slots of the scene, the first of an observation.
    """

    def __init__(self, *args: Any, scene: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        slots, dtype = self.obs_shape[0], self.observation_space.dtype
        self.observations = PhraseRows(self.buffer_size, self.n_envs, scene, slots, dtype)
        self.next_observations = NextRows(self.observations)
        self.actions = self.actions.astype(np.min_scalar_type(int(self.action_space.n) - 1))
        self.dones, self.timeouts = self.dones.astype(np.uint8), self.timeouts.astype(np.uint8)
        # Written to once, all pages are there: a run that has started does not run out of memory days later.
        for array in (
            self.observations.scenes,
            self.observations.others,
            self.next_observations.at_end,
            self.actions,
            self.rewards,
            self.dones,
            self.timeouts,
        ):
            array.fill(0)

    @property
    def nbytes(self) -> int:
        """Bytes of all that is allocated for transitions."""
        arrays = (self.actions, self.rewards, self.dones, self.timeouts)
        return sum(part.nbytes for part in (self.observations, self.next_observations, *arrays))

    def contents(self) -> dict[str, np.ndarray]:
        """All transitions as arrays, for a checkpoint."""
        rows, after, used = self.observations, self.next_observations, self.size()
        ends = np.array(list(after.last), np.int64).reshape(-1, 2)
        slots = self.obs_shape[0]
        following = after.following if after.following is not None else np.zeros((0, slots), rows.table.dtype)
        return {
            "scenes": rows.scenes[:used],
            "others": rows.others[:used],
            "table": rows.table[: rows.known],
            "ends": ends,
            "last": np.array(list(after.last.values()), rows.table.dtype).reshape(-1, slots),
            "following": following,
            "actions": self.actions[:used],
            "rewards": self.rewards[:used],
            "dones": self.dones[:used],
            "timeouts": self.timeouts[:used],
            "position": np.array([self.pos, int(self.full)]),
        }

    def restore(self, contents: dict[str, np.ndarray]) -> None:
        """Takes up what ``contents`` gave; a buffer of another size keeps the newest, from its start on.

        Raises:
            ValueError, KeyError: if these are not the contents of such a buffer.
        """
        position, full = contents["position"].tolist()
        used = len(contents["rewards"])
        by_age = (np.arange(used) + (position if full else 0)) % max(used, 1)
        kept = by_age[-self.buffer_size :]
        same = (
            used == self.buffer_size if full else used <= self.buffer_size
        )  # then nothing changes its place
        places = kept if same else np.arange(len(kept))
        rows, after = self.observations, self.next_observations
        rows.take_table(contents["table"])
        for name, array in (("scenes", rows.scenes), ("others", rows.others)):
            array[places] = contents[name][kept]
        for name in ("actions", "rewards", "dones", "timeouts"):
            getattr(self, name)[places] = contents[name][kept]
        place_of = dict(zip(kept.tolist(), places.tolist(), strict=True))
        for (old, world), row in zip(contents["ends"].tolist(), contents["last"], strict=True):
            if old in place_of:
                after.at_end[place_of[old], world] = True
                after.last[place_of[old], world] = row
        if used:
            after.newest, after.following = int(places[-1]), contents["following"]
        self.full = len(kept) == self.buffer_size
        self.pos = int(places[-1] + 1) % self.buffer_size if used else 0


class CompactReplay(_Compact, ReplayBuffer):
    """SB3's ``ReplayBuffer``, compact."""


class CompactNStepReplay(_Compact, NStepReplayBuffer):
    """SB3's ``NStepReplayBuffer``, compact."""
