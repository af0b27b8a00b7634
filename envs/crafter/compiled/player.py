"""Rules of the player, compiled: one function for each rule of ``crafter.objects.Player``, with its name."""

from __future__ import annotations

from envs.crafter.compiled.world import (
    AREA,
    COLLECT,
    DEFEAT_SKELETON,
    DEFEAT_ZOMBIE,
    DO,
    DRINK,
    EAT_COW,
    EAT_PLANT,
    ENERGY,
    FIRST_MOVE,
    FOOD,
    HEALTH,
    LAVA,
    MAKE,
    MAXIMUM,
    MOVES,
    N_ITEMS,
    N_MATERIALS,
    PLACE,
    PLANT,
    RIPE,
    SLEEP,
    SWORDS,
    TABLE,
    WAKE_UP,
    WALKABLE_PLAYER,
    WATER,
    add,
    damage_object,
    material_at,
    move,
    object_at,
)
from envs.crafter.jit import jit
from envs.crafter.random_numbers import uniform
from envs.crafter.worldgen import COW, SKELETON, ZOMBIE


@jit
def update_player(w, action, one_hit, table_wood):
    """``Player.update``"""
    x, y = w.x[0] + w.facing[0], w.y[0] + w.facing[1]
    material, obj = material_at(w, x, y), object_at(w, x, y)
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
    for item in range(N_ITEMS):
        w.inventory[item] = max(0, min(w.inventory[item], MAXIMUM[item]))
    _wake_up_when_hurt(w)


@jit
def _move(w, action):
    dx, dy = MOVES[action - FIRST_MOVE]
    w.facing[0], w.facing[1] = dx, dy
    move(w, 0, dx, dy, WALKABLE_PLAYER)
    if w.material[w.x[0], w.y[0]] == LAVA:
        w.inventory[HEALTH] = 0


@jit
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


@jit
def _do_material(w, x, y, material):
    if material == WATER:
        w.thirst = 0
    if not COLLECT[material, 0]:
        return
    for item in range(N_ITEMS):
        if w.inventory[item] < COLLECT[material, 4 + item]:
            return
    w.material[x, y] = COLLECT[material, 0]
    if uniform(w) <= COLLECT[material, 3] / 1000:
        w.inventory[COLLECT[material, 1]] += 1
        w.counts[COLLECT[material, 2]] += 1


@jit
def _price(action, item, table_wood):
    """Price of placing, in units of an item: the package's, but a table's is the protocol's."""
    price = PLACE[action, 3 + item]
    return table_wood if price and PLACE[action, 0] == TABLE else price


@jit
def _place(w, action, x, y, material, obj, table_wood):
    if obj >= 0 or not PLACE[action, 3 + N_ITEMS + material]:
        return
    placed = PLACE[action, 0]
    for item in range(N_ITEMS):
        if w.inventory[item] < _price(action, item, table_wood):
            return
    for item in range(N_ITEMS):
        w.inventory[item] -= _price(action, item, table_wood)
    if placed > 0:
        w.material[x, y] = placed
    else:
        add(w, PLANT, x, y, 1)
    w.counts[PLACE[action, 2]] += 1


@jit
def _make(w, action):
    for material in range(N_MATERIALS):
        if MAKE[action, 3 + N_ITEMS + material] and not _nearby(w, material):
            return
    for item in range(N_ITEMS):
        if w.inventory[item] < MAKE[action, 3 + item]:
            return
    for item in range(N_ITEMS):
        w.inventory[item] -= MAKE[action, 3 + item]
    w.inventory[MAKE[action, 0]] += MAKE[action, 1]
    w.counts[MAKE[action, 2]] += 1


@jit
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


@jit
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


@jit
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


@jit
def _wake_up_when_hurt(w):
    if w.inventory[HEALTH] < w.last_health:
        w.sleeping = False
    w.last_health = w.inventory[HEALTH]
