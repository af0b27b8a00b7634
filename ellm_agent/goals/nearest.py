"""Scenes that are nearly the same."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numba import njit

CLOSEST = 3  # scenes
WORD = 64  # facts in a word of a bitset


class NearestScene:
    """Finds the scenes that share most facts with another: the largest |a & b| / |a | b| (Jaccard), older ones first.

    Args:
        facts: scene -> what it tells, as a set of phrases.
    """

    def __init__(self, facts: Callable[[str], Collection[str]]):
        self._facts = facts
        self._bits: dict[str, int] = {}  # fact -> its bit
        self._scenes: list[str] = []
        self._rows = np.zeros((64, 1), np.int64)  # (scenes, words of their bitsets)

    def __len__(self) -> int:
        return len(self._scenes)

    def add(self, scene: str) -> None:
        """Makes a scene known."""
        facts, row = frozenset(self._facts(scene)), len(self._scenes)
        for fact in facts:
            self._bits.setdefault(fact, 1 << len(self._bits))
        missing_rows = row if row == len(self._rows) else 0
        missing_words = -(-len(self._bits) // WORD) - self._rows.shape[1]
        if missing_rows or missing_words > 0:
            self._rows = np.pad(self._rows, ((0, missing_rows), (0, max(missing_words, 0))))
        self._rows[row], _ = self._bitset(facts)
        self._scenes.append(scene)

    def find(self, scene: str) -> list[str]:
        """The closest known scenes, the closest first: ``CLOSEST``, or as many as are known."""
        known = len(self._scenes)
        facts = frozenset(self._facts(scene))
        closest = _closest(self._rows[:known], *self._bitset(facts), min(CLOSEST, known))
        return [self._scenes[i] for i in closest.tolist()]

    def _bitset(self, facts: frozenset[str]) -> tuple[np.ndarray, int]:
        """Facts as words of bits, and the number of those that no known scene tells, which have none."""
        bits = list(filter(None, map(self._bits.get, facts)))
        size = self._rows.shape[1] * WORD // 8
        return np.frombuffer(sum(bits).to_bytes(size, "little"), np.int64), len(facts) - len(bits)


@njit(cache=True, nogil=True)
def _closest(rows, asked, unknown, n):
    """The ``n`` rows that are closest to what is asked for, and to ``unknown`` facts that no row has."""
    found = np.zeros(n, np.int64)
    shared, either = np.zeros(n, np.int64), np.ones(n, np.int64)
    for row in range(len(rows)):
        both, any_ = 0, unknown
        for word in range(len(asked)):
            both += _ones(rows[row, word] & asked[word])
            any_ += _ones(rows[row, word] | asked[word])
        place = min(row, n)
        # Fractions are compared exactly, so that of equal ones the older stays before.
        while place and both * either[place - 1] > shared[place - 1] * any_:
            place -= 1
        if place < n:
            for later in range(n - 1, place, -1):
                found[later] = found[later - 1]
                shared[later], either[later] = shared[later - 1], either[later - 1]
            found[place], shared[place], either[place] = row, both, any_
    return found


@njit(cache=True)
def _ones(word):
    """How many bits are set; compiled to the processor's instruction for that."""
    count = 0
    while word:
        word &= word - 1
        count += 1
    return count
