"""``crafter.worldgen``, compiled: the same worlds from the same generator, about fifteen times as fast.

The package's generator of random numbers is kept in step: uniform numbers are drawn ahead, the
compiled code says how many it used, and the generator is moved on by as many. The tests hold every
world against the package's own.
"""

from __future__ import annotations

import math
import types

import numpy as np
from crafter import constants, objects
from numba import njit
from opensimplex import internals
from opensimplex.constants import GRADIENTS3

_ID = {name: i for i, name in enumerate([None, *constants.materials])}
WATER, GRASS, STONE, PATH = _ID["water"], _ID["grass"], _ID["stone"], _ID["path"]
SAND, TREE, LAVA = _ID["sand"], _ID["tree"], _ID["lava"]
COAL, IRON, DIAMOND = _ID["coal"], _ID["iron"], _ID["diamond"]
NOTHING, COW, ZOMBIE, SKELETON = range(4)
_GRADIENTS = GRADIENTS3.astype(np.float64)
_DRAWS_PER_CELL = 6  # uniform numbers that the two passes can use in one cell, at most


def generate_world(world, player) -> None:
    """Fills an empty world, as ``crafter.worldgen.generate_world`` does.

    Args:
        world: the package's ``World``, just reset; its generator moves on as the package's would.
        player: the package's ``Player``, already in it.
    """
    x, y = int(player.pos[0]), int(player.pos[1])
    creatures = generate_map(world.random, x, y, world._mat_map)
    for cell in np.argwhere(creatures):
        kind = creatures[cell[0], cell[1]]
        if kind == COW:
            world.add(objects.Cow(world, cell))
        else:
            cls = objects.Zombie if kind == ZOMBIE else objects.Skeleton
            world.add(cls(world, cell, player))


def generate_map(
    random: np.random.RandomState, player_x: int, player_y: int, materials: np.ndarray
) -> np.ndarray:
    """Fills a map and says where creatures live.

    Args:
        random: the world's generator; moves on as the package's would.
        player_x: cell of the player.
        player_y: cell of the player.
        materials: ``(width, height)`` uint8, filled in place with the package's material ids.

    Returns:
        ``(width, height)`` uint8: NOTHING, COW, ZOMBIE or SKELETON. They are to be added by columns.
    """
    perm, gradients = _permutation(random.randint(0, 2**31 - 1))
    before = random.get_state()
    uniforms = random.random_sample(_DRAWS_PER_CELL * materials.size)
    creatures = np.zeros(materials.shape, np.uint8)
    used = _generate(perm, gradients, uniforms, player_x, player_y, materials, creatures)
    random.set_state(before)
    random.random_sample(used)
    return creatures


@njit(cache=True)
def _permutation(seed):
    """``opensimplex.internals._init``: a shuffle by a 64-bit congruential generator that overflows."""
    permutation, gradients = np.zeros(256, np.int64), np.zeros(256, np.int64)
    source = np.arange(256)
    state = np.int64(seed)
    for _ in range(3):
        state = state * np.int64(6364136223846793005) + np.int64(1442695040888963407)
    for i in range(255, -1, -1):
        state = state * np.int64(6364136223846793005) + np.int64(1442695040888963407)
        r = (state + 31) % (i + 1)
        permutation[i] = source[r]
        gradients[i] = permutation[i] % (len(GRADIENTS3) // 3) * 3
        source[r] = source[i]
    return permutation, gradients


@njit
def _extrapolate3(perm, gradients, x, y, z, dx, dy, dz):
    """``opensimplex.internals._extrapolate3``, without slices and tests for negative indices."""
    byte = np.uint64(0xFF)
    k = np.uint64(perm[np.uint64(x) & byte] + y) & byte
    k = np.uint64(perm[k] + z) & byte
    k = np.uint64(gradients[k])
    one, two = np.uint64(1), np.uint64(2)
    return _GRADIENTS[k] * dx + _GRADIENTS[k + one] * dy + _GRADIENTS[k + two] * dz


# The package's own formula around it. It is compiled into what calls it and has no cache of its own: the package's is
# for the same code with other globals.
_noise3 = njit(error_model="numpy")(
    types.FunctionType(
        internals._noise3.py_func.__code__, {**vars(internals), "_extrapolate3": _extrapolate3}
    )
)


@njit(cache=True, error_model="numpy")
def _generate(perm, gradients, uniforms, px, py, materials, creatures):
    """Both passes over the map; returns how many of the uniform numbers were used."""
    used = 0
    tunnels = np.zeros(materials.shape, np.bool_)
    # What every cell needs, one field after the other: neighbours take the same branches.
    starts = _field(perm, gradients, materials.shape, 8, 3)
    waters = _field(perm, gradients, materials.shape, 3, 15)
    waters_fine = _field(perm, gradients, materials.shape, 3, 5)
    mountains = _field(perm, gradients, materials.shape, 0, 15)
    mountains_fine = _field(perm, gradients, materials.shape, 0, 5)
    for x in range(materials.shape[0]):
        for y in range(materials.shape[1]):
            start = 4 - math.sqrt((x - px) ** 2 + (y - py) ** 2)
            start += 2 * starts[x, y]
            start = 1 / (1 + math.exp(-start))
            water = waters[x, y] + 0.15 * waters_fine[x, y] + 0.1
            water -= 2 * start
            mountain = mountains[x, y] + 0.3 * mountains_fine[x, y]
            mountain /= 1.3
            mountain -= 4 * start + 0.3 * water
            used = _set_material(
                x, y, start, water, mountain, perm, gradients, uniforms, used, materials, tunnels
            )
    for x in range(materials.shape[0]):
        for y in range(materials.shape[1]):
            used = _set_object(x, y, px, py, uniforms, used, materials, tunnels, creatures)
    return used


@njit(cache=True, error_model="numpy")
def _simplex(perm, gradients, x, y, z, size):
    return _noise3(x / size, y / size, float(z), perm, gradients)


@njit(cache=True, error_model="numpy")
def _field(perm, gradients, shape, z, size):
    field = np.empty(shape)
    for x in range(shape[0]):
        for y in range(shape[1]):
            field[x, y] = _simplex(perm, gradients, x, y, z, size)
    return field


@njit(cache=True, error_model="numpy")
def _set_material(x, y, start, water, mountain, perm, gradients, uniforms, used, materials, tunnels):
    if start > 0.5:
        material = GRASS
    elif mountain > 0.15:
        material = 0
        if _simplex(perm, gradients, x, y, 6, 7) > 0.15 and mountain > 0.3:  # cave
            material = PATH
        elif (
            _simplex(perm, gradients, 2 * x, y / 5, 7, 3) > 0.4  # horizontal tunnel
            or _simplex(perm, gradients, x / 5, 2 * y, 7, 3) > 0.4  # vertical tunnel
        ):
            material = PATH
            tunnels[x, y] = True
        if not material and _simplex(perm, gradients, x, y, 1, 8) > 0:
            used += 1
            if uniforms[used - 1] > 0.85:
                material = COAL
        if not material and _simplex(perm, gradients, x, y, 2, 6) > 0.4:
            used += 1
            if uniforms[used - 1] > 0.75:
                material = IRON
        if not material and mountain > 0.18:
            used += 1
            if uniforms[used - 1] > 0.994:
                material = DIAMOND
        if not material:
            deep = mountain > 0.3 and _simplex(perm, gradients, x, y, 6, 5) > 0.35
            material = LAVA if deep else STONE
    elif 0.25 < water <= 0.35 and _simplex(perm, gradients, x, y, 4, 9) > -0.2:
        material = SAND
    elif water > 0.3:
        material = WATER
    else:  # grassland
        material = GRASS
        if _simplex(perm, gradients, x, y, 5, 7) > 0:
            used += 1
            if uniforms[used - 1] > 0.8:
                material = TREE
    materials[x, y] = material
    return used


@njit(cache=True, error_model="numpy")
def _set_object(x, y, px, py, uniforms, used, materials, tunnels, creatures):
    material = materials[x, y]
    if material != GRASS and material != PATH and material != SAND:
        return used
    distance = math.sqrt((x - px) ** 2 + (y - py) ** 2)
    if distance > 3 and material == GRASS:
        used += 1
        if uniforms[used - 1] > 0.985:
            creatures[x, y] = COW
            return used
    if distance > 10:
        used += 1
        if uniforms[used - 1] > 0.993:
            creatures[x, y] = ZOMBIE
            return used
    if material == PATH and tunnels[x, y]:
        used += 1
        if uniforms[used - 1] > 0.95:
            creatures[x, y] = SKELETON
    return used
