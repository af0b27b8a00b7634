"""State of a Crafter world in arrays, and its objects, compiled.

Functions have the package's names. Prices, requirements and products come from the package's own ``data.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from crafter import constants

from envs.crafter.jit import jit
from envs.crafter.random_numbers import GENERATOR

MATERIALS = [None, *constants.materials]
ITEMS = list(constants.items)
ACHIEVEMENTS = list(constants.achievements)
ACTIONS = list(constants.actions)
_M = {name: i for i, name in enumerate(MATERIALS)}
_I = {name: i for i, name in enumerate(ITEMS)}
_A = {name: i for i, name in enumerate(ACHIEVEMENTS)}
N_ITEMS, N_MATERIALS = len(ITEMS), len(MATERIALS)

NOTHING, PLAYER, ARROW, PLANT = 0, 4, 5, 6  # kinds of objects; 1 to 3 are worldgen's creatures
AREA = 64  # cells, side of the world
CHUNK = 12  # cells, side of a chunk
CHUNKS = -(-AREA // CHUNK)  # chunks along a side
SLOTS = 1024  # objects that a world can hold, those removed since the last compaction included
VIEW = 9  # cells, the longer side of the view
RIPE = 300  # frames after which a plant is ripe
TABULATED = 10_000  # frames for which daylight is tabulated, with NumPy's own cosine

HEALTH, FOOD, DRINK, ENERGY = _I["health"], _I["food"], _I["drink"], _I["energy"]
WATER, LAVA, SAND = _M["water"], _M["lava"], _M["sand"]
TABLE, FURNACE = _M["table"], _M["furnace"]
SWORDS = tuple(_I[name] for name in ("wood_sword", "stone_sword", "iron_sword"))
WAKE_UP, EAT_PLANT, EAT_COW = _A["wake_up"], _A["eat_plant"], _A["eat_cow"]
DEFEAT_ZOMBIE, DEFEAT_SKELETON = _A["defeat_zombie"], _A["defeat_skeleton"]
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))  # left, right, up, down
NOOP, FIRST_MOVE, DO, SLEEP = (ACTIONS.index(name) for name in ("noop", "move_left", "do", "sleep"))


def _collect_table() -> np.ndarray:
    """Row per material: leaves, item received, achievement, probability in 1/1000; then what it needs."""
    table = np.zeros((N_MATERIALS, 4 + N_ITEMS), np.int32)
    for name, info in constants.collect.items():
        (received,) = info["receive"]
        assert info["receive"][received] == 1
        probability = round(1000 * info.get("probability", 1))
        table[_M[name], :4] = _M[info["leaves"]], _I[received], _A[f"collect_{received}"], probability
        for item, amount in info["require"].items():
            table[_M[name], 4 + _I[item]] = amount
    return table


def _recipes(kind: str, places: str, product: Callable[[str, dict], int]) -> np.ndarray:
    """Row per action: what it gives (0: nothing), how many, achievement; then its price, then materials.

    Args:
        kind: "place" or "make", as the package's data name it.
        places: its list of materials: where it may be placed, or what must be near.
        product: name and entry -> what is given.
    """
    table = np.zeros((len(ACTIONS), 3 + N_ITEMS + N_MATERIALS), np.int32)
    for name, info in getattr(constants, kind).items():
        row = table[ACTIONS.index(f"{kind}_{name}")]
        row[:3] = product(name, info), info.get("gives", 1), _A[f"{kind}_{name}"]
        for item, amount in info["uses"].items():
            row[3 + _I[item]] = amount
        for material in info[places]:
            row[3 + N_ITEMS + _M[material]] = 1
    return table


def _daylight_table() -> np.ndarray:
    """Daylight by frame, as the package computes it."""
    table = np.zeros(TABULATED)
    for step in range(TABULATED):
        progress = (step / 300) % 1 + 0.3
        table[step] = 1 - np.abs(np.cos(np.pi * progress)) ** 3
    return table


COLLECT = _collect_table()
# Gives a material (-1: a plant), or an item.
PLACE = _recipes("place", "where", lambda name, info: _M[name] if info["type"] == "material" else -1)
MAKE = _recipes("make", "nearby", lambda name, _: _I[name])
MAXIMUM = np.array([info["max"] for info in constants.items.values()], np.int32)
INITIAL = np.array([info["initial"] for info in constants.items.values()], np.int32)
WALKABLE = np.array([name in constants.walkable for name in MATERIALS])
WALKABLE_PLAYER = WALKABLE | np.array([name == "lava" for name in MATERIALS])
WALKABLE_ARROW = WALKABLE_PLAYER | np.array([name == "water" for name in MATERIALS])
DAYLIGHT = _daylight_table()


# One world. Object 0 is its player. An array of these is what `step_world` plays.
WORLD = np.dtype(
    [
        ("material", np.uint8, (AREA, AREA)),  # index into MATERIALS
        ("occupant", np.int16, (AREA, AREA)),  # object + 1, or 0
        ("kind", np.uint8, SLOTS),
        ("x", np.int16, SLOTS),
        ("y", np.int16, SLOTS),
        ("health", np.int32, SLOTS),  # the player's is in the inventory
        ("timer", np.int32, SLOTS),  # a zombie's cooldown, a skeleton's reload, a plant's age
        ("dx", np.int8, SLOTS),  # an arrow's direction
        ("dy", np.int8, SLOTS),
        ("arrival", np.int64, SLOTS),  # rank of the object's arrival in its chunk
        ("removed", np.uint8, SLOTS),
        ("objects", np.int32),  # slots in use
        ("arrivals", np.int64),  # arrivals in chunks so far
        ("chunk_known", np.uint8, CHUNKS**2),
        ("chunk_order", np.int32, CHUNKS**2),  # chunks in the order in which they were first entered
        ("chunks", np.int32),  # how many of them
        ("inventory", np.int32, N_ITEMS),
        ("counts", np.int32, len(ACHIEVEMENTS)),  # how often each achievement happened
        ("facing", np.int8, 2),
        ("sleeping", np.uint8),
        ("last_action", np.uint8),  # the player's, index into the package's actions
        ("last_health", np.int32),  # the player's, when it last looked
        ("hunger", np.float64),
        ("thirst", np.float64),
        ("fatigue", np.float64),
        ("recover", np.float64),
        ("step", np.int32),  # frames of the episode
        *GENERATOR.descr,
    ],
    align=True,
)


# --- the world ------------------------------------------------------------------------------------------


@jit
def _inside(x, y):
    return 0 <= x < AREA and 0 <= y < AREA


@jit
def material_at(w, x, y):
    """Material of a cell; 0 outside the world."""
    return w.material[x, y] if _inside(x, y) else 0


@jit
def object_at(w, x, y):
    """Object in a cell, or -1."""
    return w.occupant[x, y] - 1 if _inside(x, y) else -1


@jit
def _enter_chunk(w, k):
    chunk = (w.x[k] // CHUNK) * CHUNKS + w.y[k] // CHUNK
    if not w.chunk_known[chunk]:
        w.chunk_known[chunk] = True
        w.chunk_order[w.chunks] = chunk
        w.chunks += 1
    w.arrival[k] = w.arrivals
    w.arrivals += 1


@jit
def add(w, kind, x, y, health):
    """``World.add``; returns the object."""
    k = w.objects
    if k >= SLOTS:
        raise RuntimeError("a world holds more objects than fit")
    w.objects += 1
    w.kind[k] = kind
    w.x[k] = x
    w.y[k] = y
    w.health[k] = health
    w.timer[k] = 0
    w.removed[k] = False
    w.occupant[x, y] = k + 1
    _enter_chunk(w, k)
    return k


@jit
def remove(w, k):
    """``World.remove``"""
    if not w.removed[k]:
        w.occupant[w.x[k], w.y[k]] = 0
        w.removed[k] = True


@jit
def is_free(w, x, y, walkable):
    """``Object.is_free``"""
    return _inside(x, y) and w.occupant[x, y] == 0 and walkable[w.material[x, y]]


@jit
def move(w, k, dx, dy, walkable):
    """``Object.move``; returns whether the target was free (a removed object stays where it was)."""
    x, y = w.x[k] + dx, w.y[k] + dy
    if not is_free(w, x, y, walkable):
        return False
    if not w.removed[k]:
        old_x, old_y = w.x[k], w.y[k]
        w.occupant[x, y] = k + 1
        w.occupant[old_x, old_y] = 0
        w.x[k], w.y[k] = x, y
        if x // CHUNK != old_x // CHUNK or y // CHUNK != old_y // CHUNK:
            _enter_chunk(w, k)
    return True


@jit
def distance(w, x, y):
    """Cells between the player and a cell, along the axes."""
    return abs(x - w.x[0]) + abs(y - w.y[0])


@jit
def _sign(number):
    return (number > 0) - (number < 0)


@jit
def toward(w, k, long_axis):
    """``Object.toward`` the player."""
    dx, dy = w.x[0] - w.x[k], w.y[0] - w.y[k]
    along_x = abs(dx) > abs(dy) if long_axis else abs(dx) <= abs(dy)
    return (_sign(dx), 0) if along_x else (0, _sign(dy))


@jit
def damage_object(w, k, amount):
    """``obj.health -= amount``; health does not fall below 0."""
    if k == 0:
        w.inventory[HEALTH] = max(0, w.inventory[HEALTH] - amount)
    else:
        w.health[k] = max(0, w.health[k] - amount)


@jit
def compact(w):
    """Gives the slots of removed objects back; the order of the others stays."""
    kept = 0
    for k in range(w.objects):
        if w.removed[k]:
            continue
        if kept != k:
            w.kind[kept] = w.kind[k]
            w.x[kept], w.y[kept] = w.x[k], w.y[k]
            w.health[kept], w.timer[kept] = w.health[k], w.timer[k]
            w.dx[kept], w.dy[kept] = w.dx[k], w.dy[k]
            w.arrival[kept] = w.arrival[k]
            w.removed[kept] = False
            w.occupant[w.x[k], w.y[k]] = kept + 1
        kept += 1
    w.objects = kept
