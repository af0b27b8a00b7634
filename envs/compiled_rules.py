"""The rules of Crafter, compiled: many worlds in arrays, the same frames as the package plays.

One function for each rule, named as the package names it, in the package's order: each draws the same random numbers from
the same generator, so that a world here and one there are equal in every field at every frame (the tests
hold them in lockstep). What things cost, need and leave comes from the package's own ``data.yaml``.
"""

from __future__ import annotations

import numpy as np
from crafter import constants
from numba import njit

from envs.worldgen import COW, GRASS, PATH, SKELETON, ZOMBIE

MATERIALS = [None, *constants.materials]
ITEMS = list(constants.items)
ACHIEVEMENTS = list(constants.achievements)
ACTIONS = list(constants.actions)
_M = {name: i for i, name in enumerate(MATERIALS)}
_I = {name: i for i, name in enumerate(ITEMS)}
_A = {name: i for i, name in enumerate(ACHIEVEMENTS)}
_N_ITEMS, _N_MATERIALS = len(ITEMS), len(MATERIALS)

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
    table = np.zeros((_N_MATERIALS, 4 + _N_ITEMS), np.int32)
    for name, info in constants.collect.items():
        (received,) = info["receive"]
        assert info["receive"][received] == 1
        probability = round(1000 * info.get("probability", 1))
        table[_M[name], :4] = _M[info["leaves"]], _I[received], _A[f"collect_{received}"], probability
        for item, amount in info["require"].items():
            table[_M[name], 4 + _I[item]] = amount
    return table


def _place_table() -> np.ndarray:
    """Row per action: material placed (-1: a plant; 0: places nothing), achievement; then price, then ground."""
    table = np.zeros((len(ACTIONS), 2 + _N_ITEMS + _N_MATERIALS), np.int32)
    for name, info in constants.place.items():
        row = table[ACTIONS.index(f"place_{name}")]
        row[0] = _M[name] if info["type"] == "material" else -1
        row[1] = _A[f"place_{name}"]
        for item, amount in info["uses"].items():
            row[2 + _I[item]] = amount
        for ground in info["where"]:
            row[2 + _N_ITEMS + _M[ground]] = 1
    return table


def _make_table() -> np.ndarray:
    """Row per action: item made (0: makes nothing), how many, achievement; then price, then what is near."""
    table = np.zeros((len(ACTIONS), 3 + _N_ITEMS + _N_MATERIALS), np.int32)
    for name, info in constants.make.items():
        row = table[ACTIONS.index(f"make_{name}")]
        row[:3] = _I[name], info["gives"], _A[f"make_{name}"]
        for item, amount in info["uses"].items():
            row[3 + _I[item]] = amount
        for near in info["nearby"]:
            row[3 + _N_ITEMS + _M[near]] = 1
    return table


def _daylight_table() -> np.ndarray:
    """Daylight by frame, as the package computes it."""
    table = np.zeros(TABULATED)
    for step in range(TABULATED):
        progress = (step / 300) % 1 + 0.3
        table[step] = 1 - np.abs(np.cos(np.pi * progress)) ** 3
    return table


COLLECT, PLACE, MAKE = _collect_table(), _place_table(), _make_table()
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
        ("arrival", np.int64, SLOTS),  # when the object came into its chunk
        ("removed", np.uint8, SLOTS),
        ("objects", np.int32),  # slots in use
        ("arrivals", np.int64),  # arrivals in chunks so far
        ("chunk_known", np.uint8, CHUNKS**2),
        ("chunk_order", np.int32, CHUNKS**2),  # chunks in the order in which they were first entered
        ("chunks", np.int32),  # how many of them
        ("inventory", np.int32, _N_ITEMS),
        ("counts", np.int32, len(ACHIEVEMENTS)),  # how often each achievement happened
        ("facing", np.int8, 2),
        ("sleeping", np.uint8),
        ("last_health", np.int32),  # the player's, when it last looked
        ("hunger", np.float64),
        ("thirst", np.float64),
        ("fatigue", np.float64),
        ("recover", np.float64),
        ("step", np.int32),  # frames of the episode
        ("mt", np.uint32, 624),  # the generator's state (MT19937, as in numpy.random.RandomState)
        ("mt_position", np.int32),
    ],
    align=True,
)


# --- random numbers: numpy.random.RandomState ------------------------------------------------------------


@njit(cache=True)
def _refill(mt):
    for k in range(624):
        y = (mt[k] & np.uint32(0x80000000)) | (mt[(k + 1) % 624] & np.uint32(0x7FFFFFFF))
        value = mt[(k + 397) % 624] ^ (y >> np.uint32(1))
        if y & np.uint32(1):
            value ^= np.uint32(0x9908B0DF)
        mt[k] = value


@njit(cache=True)
def _next_uint32(w):
    if w.mt_position >= 624:
        _refill(w.mt)
        w.mt_position = 0
    y = w.mt[w.mt_position]
    w.mt_position += 1
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    y ^= y >> np.uint32(18)
    return y


@njit(cache=True)
def uniform(w):
    """``random.uniform()``"""
    high = np.int64(_next_uint32(w) >> np.uint32(5))
    low = np.int64(_next_uint32(w) >> np.uint32(6))
    return (high * 67108864.0 + low) / 9007199254740992.0


@njit(cache=True)
def randint(w, n):
    """``random.randint(0, n)``: masked rejection."""
    most = n - 1
    if most == 0:
        return 0
    mask = most
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    while True:
        value = np.int64(_next_uint32(w)) & mask
        if value <= most:
            return value


# --- the world ------------------------------------------------------------------------------------------


@njit(cache=True)
def _inside(x, y):
    return 0 <= x < AREA and 0 <= y < AREA


@njit(cache=True)
def _material(w, x, y):
    """Material of a cell; 0 outside the world."""
    return w.material[x, y] if _inside(x, y) else 0


@njit(cache=True)
def _object(w, x, y):
    """Object in a cell, or -1."""
    return w.occupant[x, y] - 1 if _inside(x, y) else -1


@njit(cache=True)
def _enter_chunk(w, k):
    chunk = (w.x[k] // CHUNK) * CHUNKS + w.y[k] // CHUNK
    if not w.chunk_known[chunk]:
        w.chunk_known[chunk] = True
        w.chunk_order[w.chunks] = chunk
        w.chunks += 1
    w.arrival[k] = w.arrivals
    w.arrivals += 1


@njit(cache=True)
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


@njit(cache=True)
def remove(w, k):
    """``World.remove``"""
    if not w.removed[k]:
        w.occupant[w.x[k], w.y[k]] = 0
        w.removed[k] = True


@njit(cache=True)
def is_free(w, x, y, walkable):
    """``Object.is_free``"""
    return _inside(x, y) and w.occupant[x, y] == 0 and walkable[w.material[x, y]]


@njit(cache=True)
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


@njit(cache=True)
def distance(w, x, y):
    """Cells between the player and a cell, along the axes."""
    return abs(x - w.x[0]) + abs(y - w.y[0])


@njit(cache=True)
def _sign(number):
    return (number > 0) - (number < 0)


@njit(cache=True)
def toward(w, k, long_axis):
    """``Object.toward`` the player."""
    dx, dy = w.x[0] - w.x[k], w.y[0] - w.y[k]
    along_x = abs(dx) > abs(dy) if long_axis else abs(dx) <= abs(dy)
    return (_sign(dx), 0) if along_x else (0, _sign(dy))


@njit(cache=True)
def damage_object(w, k, amount):
    """``obj.health -= amount``; health does not fall below 0."""
    if k == 0:
        w.inventory[HEALTH] = max(0, w.inventory[HEALTH] - amount)
    else:
        w.health[k] = max(0, w.health[k] - amount)


@njit(cache=True)
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


# --- the player -----------------------------------------------------------------------------------------


@njit(cache=True)
def update_player(w, action, one_hit, table_wood):
    """``Player.update``"""
    x, y = w.x[0] + w.facing[0], w.y[0] + w.facing[1]
    material, obj = _material(w, x, y), _object(w, x, y)
    if w.sleeping:
        if w.inventory[ENERGY] < MAXIMUM[ENERGY]:
            action = SLEEP
        else:
            w.sleeping = False
            w.counts[WAKE_UP] += 1
    if FIRST_MOVE <= action < FIRST_MOVE + 4:
        _move(w, action)
    elif action == DO and obj >= 0:
        _do_object(w, obj, one_hit)
    elif action == DO:
        _do_material(w, x, y, material)
    elif action == SLEEP:
        if w.inventory[ENERGY] < MAXIMUM[ENERGY]:
            w.sleeping = True
    elif PLACE[action, 0]:
        _place(w, action, x, y, material, obj, table_wood)
    elif MAKE[action, 0]:
        _make(w, action)
    _update_life_stats(w)
    _degen_or_regen_health(w)
    for item in range(_N_ITEMS):
        w.inventory[item] = max(0, min(w.inventory[item], MAXIMUM[item]))
    _wake_up_when_hurt(w)


@njit(cache=True)
def _move(w, action):
    dx, dy = MOVES[action - FIRST_MOVE]
    w.facing[0], w.facing[1] = dx, dy
    move(w, 0, dx, dy, WALKABLE_PLAYER)
    if w.material[w.x[0], w.y[0]] == LAVA:
        w.inventory[HEALTH] = 0


@njit(cache=True)
def _do_object(w, k, one_hit):
    damage = 1
    for sword, strength in zip(SWORDS, (2, 3, 5)):
        if w.inventory[sword]:
            damage = max(damage, strength)
    kind = w.kind[k]
    if kind == PLANT:
        if w.timer[k] > RIPE:
            w.timer[k] = 0
            w.inventory[FOOD] += 4
            w.counts[EAT_PLANT] += 1
    elif kind == ZOMBIE or kind == SKELETON or kind == COW:
        if one_hit:
            w.health[k] = min(w.health[k], 1)
        damage_object(w, k, damage)
        if w.health[k] <= 0:
            if kind == ZOMBIE:
                w.counts[DEFEAT_ZOMBIE] += 1
            elif kind == SKELETON:
                w.counts[DEFEAT_SKELETON] += 1
            else:
                w.inventory[FOOD] += 6
                w.counts[EAT_COW] += 1
                w.hunger = 0


@njit(cache=True)
def _do_material(w, x, y, material):
    if material == WATER:
        w.thirst = 0
    if not COLLECT[material, 0]:
        return
    for item in range(_N_ITEMS):
        if w.inventory[item] < COLLECT[material, 4 + item]:
            return
    w.material[x, y] = COLLECT[material, 0]
    if uniform(w) <= COLLECT[material, 3] / 1000:
        w.inventory[COLLECT[material, 1]] += 1
        w.counts[COLLECT[material, 2]] += 1


@njit(cache=True)
def _place(w, action, x, y, material, obj, table_wood):
    if obj >= 0 or not PLACE[action, 2 + _N_ITEMS + material]:
        return
    placed = PLACE[action, 0]
    for item in range(_N_ITEMS):
        price = PLACE[action, 2 + item]
        if placed == TABLE and price:
            price = table_wood
        if w.inventory[item] < price:
            return
    for item in range(_N_ITEMS):
        price = PLACE[action, 2 + item]
        if placed == TABLE and price:
            price = table_wood
        w.inventory[item] -= price
    if placed > 0:
        w.material[x, y] = placed
    else:
        add(w, PLANT, x, y, 1)
    w.counts[PLACE[action, 1]] += 1


@njit(cache=True)
def _make(w, action):
    for material in range(_N_MATERIALS):
        if MAKE[action, 3 + _N_ITEMS + material] and not _nearby(w, material):
            return
    for item in range(_N_ITEMS):
        if w.inventory[item] < MAKE[action, 3 + item]:
            return
    for item in range(_N_ITEMS):
        w.inventory[item] -= MAKE[action, 3 + item]
    w.inventory[MAKE[action, 0]] += MAKE[action, 1]
    w.counts[MAKE[action, 2]] += 1


@njit(cache=True)
def _nearby(w, material):
    """``World.nearby(player, 1)``; in the first row or column the package's slice is empty."""
    x, y = w.x[0], w.y[0]
    if x == 0 or y == 0:
        return False
    for nx in range(x - 1, min(x + 2, AREA)):
        for ny in range(y - 1, min(y + 2, AREA)):
            if w.material[nx, ny] == material:
                return True
    return False


@njit(cache=True)
def _update_life_stats(w):
    asleep = w.sleeping
    w.hunger += 0.5 if asleep else 1
    if w.hunger > 25:
        w.hunger = 0
        w.inventory[FOOD] -= 1
    w.thirst += 0.5 if asleep else 1
    if w.thirst > 20:
        w.thirst = 0
        w.inventory[DRINK] -= 1
    if asleep:
        w.fatigue = min(w.fatigue - 1, 0)
    else:
        w.fatigue += 1
    if w.fatigue < -10:
        w.fatigue = 0
        w.inventory[ENERGY] += 1
    if w.fatigue > 30:
        w.fatigue = 0
        w.inventory[ENERGY] -= 1


@njit(cache=True)
def _degen_or_regen_health(w):
    asleep = w.sleeping
    well = w.inventory[FOOD] > 0 and w.inventory[DRINK] > 0 and (w.inventory[ENERGY] > 0 or asleep)
    if well:
        w.recover += 2 if asleep else 1
    else:
        w.recover -= 0.5 if asleep else 1
    if w.recover > 25:
        w.recover = 0
        w.inventory[HEALTH] = max(0, w.inventory[HEALTH] + 1)
    if w.recover < -15:
        w.recover = 0
        w.inventory[HEALTH] = max(0, w.inventory[HEALTH] - 1)


@njit(cache=True)
def _wake_up_when_hurt(w):
    if w.inventory[HEALTH] < w.last_health:
        w.sleeping = False
    w.last_health = w.inventory[HEALTH]


# --- the others -----------------------------------------------------------------------------------------


@njit(cache=True)
def _random_move(w, k):
    dx, dy = MOVES[randint(w, 4)]
    move(w, k, dx, dy, WALKABLE)


@njit(cache=True)
def update_cow(w, k):
    """``Cow.update``"""
    if w.health[k] <= 0:
        remove(w, k)
    if uniform(w) < 0.5:
        _random_move(w, k)


@njit(cache=True)
def update_zombie(w, k):
    """``Zombie.update`` (one that has just died still strikes, as in the package)"""
    if w.health[k] <= 0:
        remove(w, k)
    if distance(w, w.x[k], w.y[k]) <= 8 and uniform(w) < 0.9:
        dx, dy = toward(w, k, uniform(w) < 0.8)
        move(w, k, dx, dy, WALKABLE)
    else:
        _random_move(w, k)
    if distance(w, w.x[k], w.y[k]) <= 1:
        if w.timer[k]:
            w.timer[k] -= 1
        else:
            damage_object(w, 0, 7 if w.sleeping else 2)
            w.timer[k] = 5


@njit(cache=True)
def update_skeleton(w, k):
    """``Skeleton.update``"""
    if w.health[k] <= 0:
        remove(w, k)
    w.timer[k] = max(0, w.timer[k] - 1)
    far = distance(w, w.x[k], w.y[k])
    if far <= 3:
        dx, dy = toward(w, k, uniform(w) < 0.6)
        if move(w, k, -dx, -dy, WALKABLE):
            return
    if far <= 5 and uniform(w) < 0.5:
        _shoot(w, k)
    elif far <= 8 and uniform(w) < 0.3:
        dx, dy = toward(w, k, uniform(w) < 0.6)
        move(w, k, dx, dy, WALKABLE)
    elif uniform(w) < 0.2:
        _random_move(w, k)


@njit(cache=True)
def _shoot(w, k):
    dx, dy = toward(w, k, True)
    if w.timer[k] > 0 or (dx == 0 and dy == 0):
        return
    x, y = w.x[k] + dx, w.y[k] + dy
    if is_free(w, x, y, WALKABLE_ARROW):
        arrow = add(w, ARROW, x, y, 0)
        w.dx[arrow], w.dy[arrow] = dx, dy
        w.timer[k] = 4


@njit(cache=True)
def update_arrow(w, k):
    """``Arrow.update``"""
    x, y = w.x[k] + w.dx[k], w.y[k] + w.dy[k]
    material, obj = _material(w, x, y), _object(w, x, y)
    if obj >= 0:
        damage_object(w, obj, 2)
        remove(w, k)
    elif not WALKABLE_ARROW[material]:
        remove(w, k)
        if material == TABLE or material == FURNACE:
            w.material[x, y] = PATH
    else:
        move(w, k, w.dx[k], w.dy[k], WALKABLE_ARROW)


@njit(cache=True)
def update_plant(w, k):
    """``Plant.update``"""
    w.timer[k] += 1
    for dx, dy in MOVES:
        neighbour = _object(w, w.x[k] + dx, w.y[k] + dy)
        if neighbour >= 0 and w.kind[neighbour] in (ZOMBIE, SKELETON, COW):
            damage_object(w, k, 1)
            break
    if w.health[k] <= 0:
        remove(w, k)


# --- the balance of creatures -----------------------------------------------------------------------------


@njit(cache=True)
def _balance_object(w, chunk, kind, material, span, despan, spawn, despawn, health, light):
    x0, y0 = (chunk // CHUNKS) * CHUNK, (chunk % CHUNKS) * CHUNK
    x1, y1 = min(x0 + CHUNK, AREA), min(y0 + CHUNK, AREA)
    creatures = 0
    for k in range(w.objects):
        creatures += _lives_in(w, k, kind, x0, x1, y0, y1)
    space = 0
    for x in range(x0, x1):
        for y in range(y0, y1):
            space += w.material[x, y] == material
    least, most = _targets(kind, space, light)
    if creatures < least and uniform(w) < spawn:
        x, y = _nth_cell(w, material, x0, x1, y0, y1, randint(w, space))
        if w.occupant[x, y] == 0 and distance(w, x, y) >= span:
            add(w, kind, x, y, health)
    elif creatures > most and uniform(w) < despawn:
        k = _nth_creature(w, kind, x0, x1, y0, y1, randint(w, creatures))
        if distance(w, w.x[k], w.y[k]) >= despan:
            remove(w, k)


@njit(cache=True)
def _targets(kind, space, light):
    """Least and most creatures of a kind in a chunk."""
    if kind == ZOMBIE:
        return (0 if space < 50 else int(3.5 - 3 * light)), int(3.5 - 3 * light)
    if kind == SKELETON:
        return (0 if space < 6 else 1), 2
    return (0 if space < 30 else 1), int(1.5 + light)


@njit(cache=True)
def _lives_in(w, k, kind, x0, x1, y0, y1):
    return not w.removed[k] and w.kind[k] == kind and x0 <= w.x[k] < x1 and y0 <= w.y[k] < y1


@njit(cache=True)
def _nth_cell(w, material, x0, x1, y0, y1, n):
    for x in range(x0, x1):
        for y in range(y0, y1):
            if w.material[x, y] == material:
                if n == 0:
                    return x, y
                n -= 1
    return -1, -1


@njit(cache=True)
def _nth_creature(w, kind, x0, x1, y0, y1, n):
    """The n-th of a chunk's creatures of a kind, by arrival in the chunk."""
    after = np.int64(-1)
    found = -1
    for _ in range(n + 1):
        found = -1
        for k in range(w.objects):
            if (
                w.arrival[k] > after
                and _lives_in(w, k, kind, x0, x1, y0, y1)
                and (found < 0 or w.arrival[k] < w.arrival[found])
            ):
                found = k
        after = w.arrival[found]
    return found


@njit(cache=True)
def balance(w, light):
    """``Env._balance_chunk`` for all chunks, in the order in which they were first entered."""
    for c in range(w.chunks):
        chunk = w.chunk_order[c]
        _balance_object(w, chunk, ZOMBIE, GRASS, 6, 0, 0.3, 0.4, 5, light)
        _balance_object(w, chunk, SKELETON, PATH, 7, 7, 0.1, 0.1, 3, light)
        _balance_object(w, chunk, COW, GRASS, 5, 5, 0.01, 0.1, 3, light)


@njit(cache=True)
def daylight(step):
    """``Env._update_time``"""
    if step < len(DAYLIGHT):
        return DAYLIGHT[step]
    return 1 - abs(np.cos(np.pi * ((step / 300) % 1 + 0.3))) ** 3


# --- a frame ----------------------------------------------------------------------------------------------


@njit(cache=True)
def step_world(w, action, one_hit, table_wood):
    """``Env.step``, without drawing."""
    if w.objects > SLOTS // 2:
        compact(w)
    w.step += 1
    for k in range(w.objects):  # those that are there now; arrows shot in this frame wait for the next
        if w.removed[k] or distance(w, w.x[k], w.y[k]) >= 2 * VIEW:
            continue
        kind = w.kind[k]
        if kind == PLAYER:
            update_player(w, action, one_hit, table_wood)
        elif kind == COW:
            update_cow(w, k)
        elif kind == ZOMBIE:
            update_zombie(w, k)
        elif kind == SKELETON:
            update_skeleton(w, k)
        elif kind == ARROW:
            update_arrow(w, k)
        elif kind == PLANT:
            update_plant(w, k)
    if w.step % 10 == 0:
        balance(w, daylight(w.step))


@njit(cache=True)
def start_world(w, creatures):
    """The player in the middle, and the creatures that world generation has put on the map."""
    w.occupant[:] = 0
    w.objects = w.arrivals = w.chunks = 0
    w.chunk_known[:] = False
    w.inventory[:] = INITIAL
    w.counts[:] = 0
    w.facing[0], w.facing[1] = 0, 1
    w.sleeping = False
    w.last_health = INITIAL[HEALTH]
    w.hunger = w.thirst = w.fatigue = w.recover = 0
    w.step = 0
    add(w, PLAYER, AREA // 2, AREA // 2, 0)
    for x in range(AREA):
        for y in range(AREA):
            kind = creatures[x, y]
            if kind:
                add(w, kind, x, y, 5 if kind == ZOMBIE else 3)
