"""Success rates of achievements over many episodes, and the world's scores of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from envs.interface import World

RECENT = 100  # training episodes in a moving average


class SuccessRates:
    """Counts in how many episodes each achievement was unlocked, and sums the episodes' own scores.

    Args:
        world: computes the scores.
        achievements: all names.
    """

    def __init__(self, world: World, achievements: Sequence[str]):
        self._world, self._achievements = world, tuple(achievements)
        self._unlocked: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self.episodes = 0

    def add(self, unlocked: Iterable[str], scores: Mapping[str, float] | None = None) -> None:
        """Counts one finished episode.

        Args:
            unlocked: its achievements.
            scores: other numbers of the world, by name.
        """
        self.episodes += 1
        self._unlocked.update(unlocked)
        self._sums.update(scores or {})

    def rates(self) -> dict[str, float]:
        """Success rate of each achievement, in [0, 1]."""
        episodes = max(self.episodes, 1)
        return {name: self._unlocked[name] / episodes for name in self._achievements}

    def scores(self) -> dict[str, float]:
        """The world's scores of these episodes, in %, by name."""
        means = {name: total / self.episodes for name, total in self._sums.items()}
        return self._world.scores(self.rates(), means)

    def headline(self) -> float:
        """The world's headline score, in %."""
        return self.scores()[self._world.score[0]]
