"""Rules of the creatures, of their balance, and of a frame, compiled. The player's rules are in ``player.py``.

One function for each rule, named as the package names it, in the package's order. Each draws the same random numbers
from the same generator, so that all fields of a world are equal to the package's at every frame (the tests compare them
in lockstep).
"""

from __future__ import annotations

import numpy as np

from envs.crafter.compiled.player import update_player
from envs.crafter.compiled.world import (
    AREA,
    ARROW,
    CHUNK,
    CHUNKS,
    DAYLIGHT,
    FURNACE,
    HEALTH,
    INITIAL,
    MOVES,
    PLANT,
    PLAYER,
    SLOTS,
    TABLE,
    VIEW,
    WALKABLE,
    WALKABLE_ARROW,
    add,
    compact,
    damage_object,
    distance,
    is_free,
    material_at,
    move,
    object_at,
    remove,
    toward,
)
from envs.crafter.jit import jit
from envs.crafter.random_numbers import randint, uniform
from envs.crafter.worldgen import COW, GRASS, PATH, SKELETON, ZOMBIE

# --- creatures, arrows and plants -----------------------------------------------------------------------------------------


@jit
def _random_move(w, k):
    dx, dy = MOVES[randint(w, 4)]
    move(w, k, dx, dy, WALKABLE)


@jit
def update_cow(w, k):
    """``Cow.update``"""
    if w.health[k] <= 0:
        remove(w, k)
    if uniform(w) < 0.5:
        _random_move(w, k)


@jit
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


@jit
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


@jit
def _shoot(w, k):
    dx, dy = toward(w, k, True)
    if w.timer[k] > 0 or (dx == 0 and dy == 0):
        return
    x, y = w.x[k] + dx, w.y[k] + dy
    if is_free(w, x, y, WALKABLE_ARROW):
        arrow = add(w, ARROW, x, y, 0)
        w.dx[arrow], w.dy[arrow] = dx, dy
        w.timer[k] = 4


@jit
def update_arrow(w, k):
    """``Arrow.update``"""
    x, y = w.x[k] + w.dx[k], w.y[k] + w.dy[k]
    material, obj = material_at(w, x, y), object_at(w, x, y)
    if obj >= 0:
        damage_object(w, obj, 2)
        remove(w, k)
    elif not WALKABLE_ARROW[material]:
        remove(w, k)
        if material == TABLE or material == FURNACE:
            w.material[x, y] = PATH
    else:
        move(w, k, w.dx[k], w.dy[k], WALKABLE_ARROW)


@jit
def update_plant(w, k):
    """``Plant.update``"""
    w.timer[k] += 1
    for dx, dy in MOVES:
        neighbour = object_at(w, w.x[k] + dx, w.y[k] + dy)
        if neighbour >= 0 and w.kind[neighbour] in (ZOMBIE, SKELETON, COW):
            damage_object(w, k, 1)
            break
    if w.health[k] <= 0:
        remove(w, k)


# --- the balance of creatures -----------------------------------------------------------------------------


@jit
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


@jit
def _targets(kind, space, light):
    """Least and most creatures of a kind in a chunk."""
    if kind == ZOMBIE:
        return (0 if space < 50 else int(3.5 - 3 * light)), int(3.5 - 3 * light)
    if kind == SKELETON:
        return (0 if space < 6 else 1), 2
    return (0 if space < 30 else 1), int(1.5 + light)


@jit
def _lives_in(w, k, kind, x0, x1, y0, y1):
    return not w.removed[k] and w.kind[k] == kind and x0 <= w.x[k] < x1 and y0 <= w.y[k] < y1


@jit
def _nth_cell(w, material, x0, x1, y0, y1, n):
    for x in range(x0, x1):
        for y in range(y0, y1):
            if w.material[x, y] == material:
                if n == 0:
                    return x, y
                n -= 1
    return -1, -1


@jit
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


@jit
def balance(w, light):
    """``Env._balance_chunk`` for all chunks, in the order in which they were first entered."""
    for c in range(w.chunks):
        chunk = w.chunk_order[c]
        _balance_object(w, chunk, ZOMBIE, GRASS, 6, 0, 0.3, 0.4, 5, light)
        _balance_object(w, chunk, SKELETON, PATH, 7, 7, 0.1, 0.1, 3, light)
        _balance_object(w, chunk, COW, GRASS, 5, 5, 0.01, 0.1, 3, light)


@jit
def daylight(step):
    """``Env._update_time``"""
    if step < len(DAYLIGHT):
        return DAYLIGHT[step]
    return 1 - abs(np.cos(np.pi * ((step / 300) % 1 + 0.3))) ** 3


# --- a frame ----------------------------------------------------------------------------------------------


@jit
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


@jit
def start_world(worlds, i, creatures):
    """The player in the middle, and the creatures that world generation has put on the map; all else is still 0."""
    w = worlds[i]
    w.inventory[:] = INITIAL
    w.facing[1] = 1  # south
    w.last_health = INITIAL[HEALTH]
    add(w, PLAYER, AREA // 2, AREA // 2, 0)
    for x in range(AREA):
        for y in range(AREA):
            kind = creatures[x, y]
            if kind:
                add(w, kind, x, y, 5 if kind == ZOMBIE else 3)
