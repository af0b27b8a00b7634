"""Scenes: situations that a player may come into, without playing that far.

The player is placed somewhere in a generated world, with what a player at some stage of the game may hold and feel; a
table, a furnace, a tunnel or a plant may stand nearby. Captions and possible goals are those of the game's own state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from crafter import constants

from envs.crafter.compiled import CompiledCrafter
from envs.crafter.compiled.world import AREA, INITIAL, ITEMS, MATERIALS, PLANT, WALKABLE
from envs.crafter.knowledge import knowledge
from envs.interface import Privileged, Situation

SCENES_IN_A_WORLD = 50
REACH = (4, 3)  # cells to each side that the player sees
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))
# What may be held from each stage of the game on.
STAGES = (
    ("sapling", "wood"),
    ("wood_pickaxe", "wood_sword"),
    ("stone", "coal"),
    ("stone_pickaxe", "stone_sword", "iron"),
    ("iron_pickaxe", "iron_sword", "diamond"),
)
HELD = 0.6  # probability that an item of the player's stage is held
NEARBY = {"table": 0.5, "furnace": 0.35, "path": 0.3, "plant": 0.1}  # probability that it is put in view
OLDEST_PLANT = 600  # frames; a plant is ripe after 300


def scenes(first_world: int, count: int, seed: int) -> Iterator[tuple[Situation, Privileged]]:
    """Situations of many worlds.

    Args:
        first_world: seed of the first world; each is used for ``SCENES_IN_A_WORLD`` situations.
        count: how many situations.
        seed: of what the player holds and of where it stands.
    """
    rng = np.random.default_rng(seed)
    worlds, world_seeds = CompiledCrafter(1), itertools.count(first_world)
    for number in range(count):
        if number % SCENES_IN_A_WORLD == 0:
            worlds.set_options({"world_seed": next(world_seeds)})
            worlds.reset()
            untouched = worlds.records.copy()
        worlds.records[:] = untouched
        _change(worlds.records[0], rng)
        _, info = worlds.describe(0)
        yield info["situation"], info["privileged"]


def _change(world: np.void, rng: np.random.Generator) -> None:
    """Changes a world, one of ``CompiledCrafter.records``."""
    free = np.argwhere(WALKABLE[world["material"]] & (world["occupant"] == 0))
    x, y = free[rng.integers(len(free))].tolist()
    world["occupant"][world["x"][0], world["y"][0]] = 0  # object 0 is the player
    world["occupant"][x, y] = 1
    world["x"][0], world["y"][0] = x, y
    world["facing"][:] = DIRECTIONS[rng.integers(4)]
    stage = rng.integers(len(STAGES) + 1)
    world["inventory"][:] = INITIAL
    for item, count in _inventory(stage, rng).items():
        world["inventory"][ITEMS.index(item)] = count
    for name, probability in NEARBY.items():
        if rng.random() < probability * (stage > 0):
            _put_in_view(world, name, x, y, rng)


def _inventory(stage: int, rng: np.random.Generator) -> dict[str, int]:
    """Needs, and items that a player at this stage of the game may hold."""
    held = {need: rng.integers(1, 10) if rng.random() < 0.5 else 9 for need in knowledge().needs}
    for item in itertools.chain(*STAGES[:stage]):
        if rng.random() < HELD:
            tool = item.endswith(("pickaxe", "sword"))
            held[item] = 1 if tool else rng.integers(1, constants.items[item]["max"] + 1)
    return held


def _put_in_view(world: np.void, name: str, x: int, y: int, rng: np.random.Generator) -> None:
    x, y = (at + rng.integers(-reach, reach + 1) for at, reach in zip((x, y), REACH, strict=True))
    if not (0 <= x < AREA and 0 <= y < AREA) or world["occupant"][x, y]:
        return
    world["material"][x, y] = MATERIALS.index("grass" if name == "plant" else name)
    if name == "plant":
        slot = int(world["objects"])
        world["kind"][slot], world["health"][slot] = PLANT, 1
        world["x"][slot], world["y"][slot] = x, y
        world["timer"][slot] = rng.integers(OLDEST_PLANT)  # its age
        world["objects"] = slot + 1
        world["occupant"][x, y] = slot + 1
