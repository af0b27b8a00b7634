"""Which events count as achieved in the episodes under way. Knows nothing of goals, or of what a reward is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from envs.interface import Language


class EpisodeEvents:
    """The events of each world's episode: what was rewarded, and what closes goals.

    Args:
        n_envs: parallel worlds.
        language: of the worlds; it may say that some events are not rewarded (``Language.unrewarded``).

    Attributes:
        achieved: per world, events that close goals.
        rewarded: per world, how often events were rewarded, those that are open again, too.
    """

    def __init__(self, n_envs: int, language: Language):
        self._unrewarded = language.unrewarded
        self.achieved: list[tuple[str, ...]] = [()] * n_envs
        self.rewarded: list[Counter[str]] = [Counter() for _ in range(n_envs)]
        self._happened: list[set[str]] = [set() for _ in range(n_envs)]  # all, where the language asks for it

    def begin(self, i: int) -> None:
        """Forgets world ``i``'s episode."""
        self.achieved[i], self.rewarded[i], self._happened[i] = (), Counter(), set()

    def note(self, i: int, events: tuple[str, ...]) -> tuple[str, ...]:
        """Notes that events happened; those among them that may be rewarded at all in the world's language."""
        if self._unrewarded is None:
            return events
        before, rewarded = self._happened[i], self.rewarded[i].keys()
        found = tuple(event for event in events if not self._unrewarded(event, before, rewarded))
        before.update(events)
        return found

    def reopen(self, i: int, needed: Collection[str]) -> bool:
        """Lets events count as not yet achieved; whether any was achieved."""
        kept = tuple(event for event in self.achieved[i] if event not in needed)
        changes = len(kept) < len(self.achieved[i])
        self.achieved[i] = kept
        return changes

    def observed(self, i: int) -> tuple[str, ...]:
        """What the agent observes as achieved. Where events are rewarded once (``Language.unrewarded``), those that were stay
        in it, also where they are open again: otherwise the reward would depend on what is not observed.
        """
        if self._unrewarded is None:
            return self.achieved[i]
        return (*self.achieved[i], *sorted(self.rewarded[i].keys() - set(self.achieved[i])))

    def state_dict(self) -> dict[str, Any]:
        return {
            "achieved": list(self.achieved),
            "rewarded": [dict(events) for events in self.rewarded],
            "happened": [sorted(events) for events in self._happened],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.achieved = [tuple(events) for events in state["achieved"]]
        self.rewarded = [Counter(events) for events in state["rewarded"]]  # up to 0.10.0 a list: each once
        happened = state.get("happened", [()] * len(self.achieved))  # since 0.10.0
        self._happened = [set(events) for events in happened]
