"""Scores, and episodes on held-out worlds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np


class SuccessRates:
    """Counts in how many episodes each achievement was unlocked.

    Args:
        achievements: all names.
    """

    def __init__(self, achievements: Sequence[str]):
        self._achievements = tuple(achievements)
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

    def score(self) -> float:
        """The Crafter score of these episodes, in %."""
        return crafter_score(self.rates().values())


def crafter_score(rates: Iterable[float]) -> float:
    """exp(mean over achievements of ln(1 + s)) - 1, s in %  (Hafner 2022, section 3.3).

    Args:
        rates: success rate of each achievement, in [0, 1].

    Returns:
        The score in %, in [0, 100].
    """
    return math.expm1(float(np.mean([math.log1p(100 * rate) for rate in rates])))
