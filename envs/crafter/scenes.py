"""Scenes: situations that a player may come into, without anybody having to play that far.

The player is set down somewhere in a generated world, with what a player at some stage of the game may hold and feel;
a table, a furnace, a tunnel or a plant may stand nearby. Captions and possible goals are those of the game's own state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from envs.crafter.compiled.vec_env import CompiledCrafter
from envs.crafter.compiled.world import AREA, INITIAL, ITEMS, MATERIALS, MAXIMUM, PLANT, RIPE, WALKABLE
from envs.crafter.knowledge import knowledge
from envs.interface import Privileged, Situation

SCENES_IN_A_WORLD = 50
REACH = (4, 3)  # cells to each side that the player sees
# What may be held from each stage of the game on.
STAGES = (
    ("sapling", "wood"),
    ("wood_pickaxe", "wood_sword"),
    ("stone", "coal"),
    ("stone_pickaxe", "stone_sword", "iron"),
    ("iron_pickaxe", "iron_sword", "diamond"),
)
HOLDS = 0.6  # probability that a thing of the player's stage is held
NEARBY = {"table": 0.5, "furnace": 0.35, "path": 0.3, "plant": 0.1}  # probability that it stands there


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
            kept = worlds._worlds.copy()
        worlds._worlds[:] = kept
        _change(worlds._worlds[0], rng)
        worlds._look(0)
        info = worlds._state_info(0)
        yield info["situation"], info["privileged"]


def _change(world: np.void, rng: np.random.Generator) -> None:
    x, y = _move(world, rng)
    stage = rng.integers(len(STAGES) + 1)
    _equip(world["inventory"], stage, rng)
    for name, probability in NEARBY.items():
        if rng.random() < probability * (stage > 0):
            _put(world, name, x, y, rng)


def _move(world: np.void, rng: np.random.Generator) -> tuple[int, int]:
    """Sets the player down on a free cell, turned anywhere."""
    free = np.argwhere(WALKABLE[world["material"]] & (world["occupant"] == 0))
    x, y = free[rng.integers(len(free))].tolist()
    world["occupant"][world["x"][0], world["y"][0]] = 0
    world["occupant"][x, y] = 1
    world["x"][0], world["y"][0] = x, y
    world["facing"][:] = ((-1, 0), (1, 0), (0, -1), (0, 1))[rng.integers(4)]
    return x, y


def _equip(inventory: np.ndarray, stage: int, rng: np.random.Generator) -> None:
    needs = knowledge().needs
    inventory[:] = INITIAL
    for need in needs:
        inventory[ITEMS.index(need)] = rng.integers(1, 10) if rng.random() < 0.5 else 9
    for item in (item for items in STAGES[:stage] for item in items):
        if rng.random() < HOLDS:
            tool = item.endswith(("pickaxe", "sword"))
            inventory[ITEMS.index(item)] = 1 if tool else rng.integers(1, MAXIMUM[ITEMS.index(item)] + 1)


def _put(world: np.void, name: str, x: int, y: int, rng: np.random.Generator) -> None:
    """Puts a thing on a free cell in view."""
    dx, dy = (rng.integers(-reach, reach + 1) for reach in REACH)
    x, y = x + dx, y + dy
    if not (0 <= x < AREA and 0 <= y < AREA) or world["occupant"][x, y]:
        return
    if name != "plant":
        world["material"][x, y] = MATERIALS.index(name)
        return
    world["material"][x, y] = MATERIALS.index("grass")
    slot = int(world["objects"])
    world["kind"][slot], world["health"][slot] = PLANT, 1
    world["x"][slot], world["y"][slot] = x, y
    world["timer"][slot] = rng.integers(2 * RIPE)
    world["objects"] = slot + 1
    world["occupant"][x, y] = slot + 1
