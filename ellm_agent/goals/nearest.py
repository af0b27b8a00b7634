"""Scenes that are nearly the same."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

CLOSEST = 3  # scenes


class NearestScene:
    """Finds the scenes that share most facts with another: the largest |a & b| / |a | b| (Jaccard), older ones first.

    Args:
        facts: scene -> what it tells, as a set of phrases.
    """

    def __init__(self, facts: Callable[[str], Collection[str]]):
        self._facts = facts
        self._columns: dict[str, int] = {}  # fact -> column
        self._scenes: list[str] = []
        self._rows = np.zeros((64, 64), np.float32)  # (scenes, facts), 1 where a scene tells a fact
        self._sizes = np.zeros(64, np.float32)
        self._found: dict[str, list[str]] = {}  # since the last one was added

    def __len__(self) -> int:
        return len(self._scenes)

    def add(self, scene: str) -> None:
        """Makes a scene known."""
        columns = [self._column(fact) for fact in self._facts(scene)]
        row = len(self._scenes)
        if row == len(self._rows):
            self._rows = np.pad(self._rows, ((0, row), (0, 0)))
            self._sizes = np.pad(self._sizes, (0, row))
        self._rows[row, columns] = 1
        self._sizes[row] = len(columns)
        self._scenes.append(scene)
        self._found.clear()

    def find(self, scene: str) -> list[str]:
        """The closest known scenes, the closest first: ``CLOSEST``, or as many as are known."""
        if scene not in self._found:
            self._found[scene] = self._look_for(scene)
        return self._found[scene]

    def _look_for(self, scene: str) -> list[str]:
        facts, known = self._facts(scene), len(self._scenes)
        asked = np.zeros(self._rows.shape[1], np.float32)
        asked[[self._columns[fact] for fact in facts if fact in self._columns]] = 1
        shared = self._rows[:known] @ asked
        alike = shared / np.maximum(self._sizes[:known] + len(facts) - shared, 1)
        found = []
        for _ in range(min(CLOSEST, known)):
            found.append(int(alike.argmax()))
            alike[found[-1]] = -1
        return [self._scenes[i] for i in found]

    def _column(self, fact: str) -> int:
        if fact not in self._columns:
            self._columns[fact] = len(self._columns)
            if len(self._columns) > self._rows.shape[1]:
                self._rows = np.pad(self._rows, ((0, 0), (0, self._rows.shape[1])))
        return self._columns[fact]
