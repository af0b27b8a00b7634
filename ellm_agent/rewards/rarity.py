"""How much more rare events are worth: weights of the reward for goals from success rates.

An agent with many goals spends its time on those that it reaches already. Weights let it gain more from the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

SLOW, FAST = 0.005, 0.02  # share of a new episode in the running means
MOST = 10.0  # the largest weight


def inverse_rate(share: float, power: float) -> float:
    """share ** -power, at most ``MOST``; of an event that never happened ``MOST``, unless the power is 0.

    Args:
        share: success rate of an event, as a share of the highest.
        power: 0: all events are worth the same.
    """
    return min(MOST, share**-power) if share else (MOST if power else 1.0)


class Rarity:
    """Running success rates of events, and the weights that follow from them.

    The running mean of an event, over episodes e with outcome s in {0, 1}: p <- p + rate * (s - p), from 0 on.
    """

    def __init__(self):
        self._slow: dict[str, float] = {}
        self._fast: dict[str, float] = {}

    def note_episode(self, events: Collection[str]) -> None:
        """Takes note of the events that were rewarded in a finished episode."""
        for rates, rate in ((self._slow, SLOW), (self._fast, FAST)):
            for event in dict.fromkeys((*rates, *sorted(events))):
                success = event in events
                rates[event] = rates.get(event, 0.0) + rate * (success - rates.get(event, 0.0))

    def weight(self, event: str) -> float:
        """The weight of an event's reward, in [0, ``MOST``]."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {"slow": dict(self._slow), "fast": dict(self._fast)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self._slow, self._fast = dict(state["slow"]), dict(state["fast"])


class InverseRate(Rarity):
    """(rate / highest rate) ** -power, at most ``MOST``; 1 before any event was rewarded.

    Args:
        power: 0: all events are worth the same.
    """

    def __init__(self, power: float = 0.5):
        super().__init__()
        self._power = power

    def weight(self, event: str) -> float:
        highest = max(self._slow.values(), default=0.0)
        if not highest:
            return 1.0
        return inverse_rate(self._slow.get(event, 0.0) / highest, self._power)


class LearningProgress(Rarity):
    """1 + (MOST - 1) * |fast mean - slow mean| / the largest such difference: events whose rate changes are worth more.

    Absolute learning progress (Colas et al. 2019), so that what is being forgotten is worth more, too.
    """

    def weight(self, event: str) -> float:
        progress = {name: abs(rate - self._slow[name]) for name, rate in self._fast.items()}
        largest = max(progress.values(), default=0.0)
        return 1.0 + (MOST - 1) * progress.get(event, 0.0) / largest if largest else 1.0
