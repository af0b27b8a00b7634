"""Scenes: situations that a player may come into, without playing that far.

The player is placed somewhere in a generated world, with what a player at some stage of the game may hold and feel; a
table, a furnace, ore, a tunnel or a plant may be nearby, and the player may be asleep. Captions and possible goals are
those of the game's own state. The probabilities below make things about as frequent as they are for trained agents, and
rare ones (iron, iron tools, ripe plants) several times as frequent, because there is much to learn about them.
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
HELD, HELD_TOOL = 0.6, 0.8  # probability that an item or a tool of the player's stage is held
FEW = 0.6  # probability that at most 4 of an item are held
ASLEEP = 0.1  # probability
# Probability that it is put in view.
NEARBY = {
    "table": 0.5,
    "furnace": 0.4,
    "path": 0.3,
    "coal": 0.15,
    "iron": 0.25,
    "diamond": 0.05,
    "plant": 0.1,
}
UNDERGROUND = 0.35  # probability that the player stands in a tunnel
OLDEST_PLANT = 600  # frames; a plant is ripe after 300


def scenes(
    first_world: int, count: int, seed: int, protocol: str | None = None
) -> Iterator[tuple[Situation, Privileged]]:
    """Situations of many worlds.

    Args:
        first_world: seed of the first world; each is used for ``SCENES_IN_A_WORLD`` situations.
        count: how many situations.
        seed: of what the player holds and of where it stands.
        protocol: rules; None: the standard ones.
    """
    rng = np.random.default_rng(seed)
    worlds, world_seeds = (
        CompiledCrafter(1, **({"protocol": protocol} if protocol else {})),
        itertools.count(first_world),
    )
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
    tunnels = free[world["material"][free[:, 0], free[:, 1]] == MATERIALS.index("path")]
    where = tunnels if len(tunnels) and rng.random() < UNDERGROUND else free
    x, y = where[rng.integers(len(where))].tolist()
    world["occupant"][world["x"][0], world["y"][0]] = 0  # object 0 is the player
    world["occupant"][x, y] = 1
    world["x"][0], world["y"][0] = x, y
    world["facing"][:] = DIRECTIONS[rng.integers(4)]
    stage = rng.integers(len(STAGES) + 1)
    world["inventory"][:] = INITIAL
    for item, count in _inventory(stage, rng).items():
        world["inventory"][ITEMS.index(item)] = count
    world["sleeping"] = rng.random() < ASLEEP
    for name, probability in NEARBY.items():
        if rng.random() < probability * (stage > 0):
            _put_in_view(world, name, x, y, rng)


def _inventory(stage: int, rng: np.random.Generator) -> dict[str, int]:
    """Needs, and items that a player at this stage of the game may hold."""
    held = {need: rng.integers(1, 10) if rng.random() < 0.5 else 9 for need in knowledge().needs}
    for item in itertools.chain(*STAGES[:stage]):
        tool = item.endswith(("pickaxe", "sword"))
        if rng.random() < (HELD_TOOL if tool else HELD):
            most = 4 if rng.random() < FEW else constants.items[item]["max"]
            held[item] = 1 if tool else rng.integers(1, most + 1)
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
