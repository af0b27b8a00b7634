"""Success rates of achievements over many episodes, and the world's score of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from envs.interface import World

RECENT = 100  # training episodes in a moving average


class SuccessRates:
    """Counts in how many episodes each achievement was unlocked.

    Args:
        world: computes the score.
        achievements: all names.
    """

    def __init__(self, world: World, achievements: Sequence[str]):
        self._world, self._achievements = world, tuple(achievements)
        self._unlocked: Counter[str] = Counter()
        self.episodes = 0

    def add(self, unlocked: Iterable[str]) -> None:
        """Counts one finished episode."""
        self.episodes += 1
        self._unlocked.update(unlocked)

    def rates(self) -> dict[str, float]:
        """Success rate of each achievement, in [0, 1]."""
        episodes = max(self.episodes, 1)
        return {name: self._unlocked[name] / episodes for name in self._achievements}

    def scores(self) -> dict[str, float]:
        """The world's metrics of these episodes, in %, by name."""
        return self._world.scores(self.rates())

    def headline(self) -> float:
        """The world's headline metric, in %."""
        return self.scores()[self._world.score[0]]
