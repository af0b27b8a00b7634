"""Hand-made Crafter states for tests."""

from __future__ import annotations

import numpy as np

from envs.crafter.knowledge import knowledge
from envs.crafter.state import CrafterState

K = knowledge()


def make_state(
    things: dict[tuple[int, int], str] | None = None,
    facing: tuple[int, int] = (0, 1),
    inventory: dict[str, int] | None = None,
    counts: dict[str, int] | None = None,
    asleep: bool = False,
    daylight: float = 1.0,
    last_action: str = "noop",
    ground: str = "grass",
) -> CrafterState:
    """A field of grass with things at (dx, dy) from the player; needs are full unless given."""
    view = np.full(K.view, K.things.index(ground), np.uint8)
    for (dx, dy), thing in (things or {}).items():
        view[K.view[0] // 2 + dx, K.view[1] // 2 + dy] = K.things.index(thing)
    held = dict.fromkeys(K.needs, 9) | (inventory or {})
    return CrafterState(
        view=view,
        facing=facing,
        inventory=tuple(held.get(item, 0) for item in K.items),
        asleep=asleep,
        daylight=daylight,
        last_action=last_action,
        counts=tuple((counts or {}).get(name, 0) for name in K.achievements),
    )
