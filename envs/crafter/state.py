"""The state of a Crafter game as captions, events and goals need it, without any reference to the simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from crafter import objects

from envs.crafter.knowledge import knowledge

_THINGS = {name: i for i, name in enumerate(knowledge().things)}
_WIDTH, _HEIGHT = knowledge().view
_LEFT, _UP = _WIDTH // 2, _HEIGHT // 2


@dataclass(frozen=True, eq=False)
class CrafterState:
    """The state of the game at one frame.

    Attributes:
        view: ``(9, 7)`` uint8 ids into ``knowledge().things``, first axis west to east, second
            north to south; creatures hide the ground below them; the middle holds the ground
            under the player; 0 is outside the world.
        facing: ``(dx, dy)`` of the cell the player faces.
        inventory: 16 counts in the order of ``knowledge().items`` (the first four are the needs).
        asleep: whether the player sleeps.
        daylight: 0 (night) to 1.
        last_action: the package's name of the player's last action; "noop" at the start.
        counts: 22 counters, how often each achievement's effect has happened in the episode, in
            the order of ``knowledge().achievements``.
    """

    view: np.ndarray
    facing: tuple[int, int]
    inventory: tuple[int, ...]
    asleep: bool
    daylight: float
    last_action: str
    counts: tuple[int, ...]

    @property
    def faced(self) -> str:
        """Name of the thing in the faced cell."""
        return self.thing_at(*self.facing)

    def thing_at(self, dx: int, dy: int) -> str:
        """Name of the thing so many cells east and south of the player, within the view."""
        return knowledge().things[self.view[_LEFT + dx, _UP + dy]]

    @property
    def held(self) -> frozenset[str]:
        """Items (package names) of which the player holds at least one."""
        return frozenset(item for item, n in zip(knowledge().items, self.inventory, strict=True) if n)

    @property
    def unlocked(self) -> tuple[str, ...]:
        """Sorted names of the achievements unlocked in the episode."""
        counts = zip(knowledge().achievements, self.counts, strict=True)
        return tuple(sorted(name for name, count in counts if count))


def read_state(world, player) -> CrafterState:
    """Reads a ``CrafterState`` off the package's ``World`` and ``Player``; changes neither."""
    x, y = int(player.pos[0]), int(player.pos[1])
    west, north = x - _LEFT, y - _UP
    x0, x1 = max(west, 0), min(west + _WIDTH, world.area[0])
    y0, y1 = max(north, 0), min(north + _HEIGHT, world.area[1])
    view = np.zeros((_WIDTH, _HEIGHT), np.uint8)
    view[x0 - west : x1 - west, y0 - north : y1 - north] = world._mat_map[x0:x1, y0:y1]
    occupied = world._obj_map[x0:x1, y0:y1]
    for i, j in zip(*(axis.tolist() for axis in occupied.nonzero()), strict=True):
        creature = world._objects[occupied[i, j]]
        if creature is player:
            continue
        ripe = isinstance(creature, objects.Plant) and creature.ripe
        name = "ripe plant" if ripe else type(creature).__name__.lower()
        view[x0 - west + i, y0 - north + j] = _THINGS[name]
    return CrafterState(
        view=view,
        facing=(int(player.facing[0]), int(player.facing[1])),
        inventory=tuple(player.inventory.values()),
        asleep=player.sleeping,
        daylight=float(world.daylight),
        last_action=player.action,
        counts=tuple(player.achievements.values()),
    )
