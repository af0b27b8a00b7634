"""Changes to a world from outside the game: where the player stands, what it holds, what lies around it.

For scenes and tests. ``CompiledCrafter.describe`` reads the world again after a change. A changed episode cannot be
resumed, since it does not follow from its actions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from envs.crafter.compiled.world import AREA, INITIAL, ITEMS, MATERIALS, PLANT, WALKABLE


def free_cells(world: np.void) -> np.ndarray:
    """Cells on which the player could stand, ``(n, 2)``, by columns.

    Args:
        world: one of ``CompiledCrafter.records``, as everywhere in this module.
    """
    return np.argwhere(WALKABLE[world["material"]] & (world["occupant"] == 0))


def place_player(world: np.void, x: int, y: int, facing: tuple[int, int]) -> None:
    """Moves the player to a free cell; facing: ``(dx, dy)``."""
    world["occupant"][world["x"][0], world["y"][0]] = 0
    world["occupant"][x, y] = 1
    world["x"][0], world["y"][0] = x, y
    world["facing"][:] = facing


def set_inventory(world: np.void, items: Mapping[str, int]) -> None:
    """Gives the player what it holds at the start of an episode, and these items (package names) instead."""
    world["inventory"][:] = INITIAL
    for item, count in items.items():
        world["inventory"][ITEMS.index(item)] = count


def is_empty(world: np.void, x: int, y: int) -> bool:
    """True if a cell is in the world and nobody stands on it."""
    return 0 <= x < AREA and 0 <= y < AREA and not world["occupant"][x, y]


def put_material(world: np.void, x: int, y: int, material: str) -> None:
    """Changes the material of a cell."""
    world["material"][x, y] = MATERIALS.index(material)


def put_plant(world: np.void, x: int, y: int, age: int) -> None:
    """Puts a plant, so many frames old, on grass in an empty cell."""
    put_material(world, x, y, "grass")
    slot = int(world["objects"])
    world["kind"][slot], world["health"][slot] = PLANT, 1
    world["x"][slot], world["y"][slot] = x, y
    world["timer"][slot] = age
    world["objects"] = slot + 1
    world["occupant"][x, y] = slot + 1
