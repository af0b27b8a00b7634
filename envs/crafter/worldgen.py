"""``crafter.worldgen``, compiled: the same worlds from the same generator, about fifteen times as fast.

The generator of random numbers ends in the same state as the package's. The tests compare worlds with the package's own.
"""

from __future__ import annotations

import math

import numpy as np
from crafter import constants, objects
from opensimplex.constants import GRADIENTS3
from opensimplex.internals import _noise3

from envs.crafter.jit import jit
from envs.crafter.random_numbers import GENERATOR, randint, uniform

_ID = {name: i for i, name in enumerate([None, *constants.materials])}
WATER, GRASS, STONE, PATH = _ID["water"], _ID["grass"], _ID["stone"], _ID["path"]
SAND, TREE, LAVA = _ID["sand"], _ID["tree"], _ID["lava"]
COAL, IRON, DIAMOND = _ID["coal"], _ID["iron"], _ID["diamond"]
NOTHING, COW, ZOMBIE, SKELETON = range(4)


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
    _, key, position, *_ = random.get_state()
    generator = np.zeros(1, GENERATOR)
    generator["mt"], generator["mt_position"] = key, position
    creatures = np.zeros(materials.shape, np.uint8)
    _generate(generator, player_x, player_y, materials, creatures)
    random.set_state(("MT19937", generator["mt"][0], generator["mt_position"][0]))
    return creatures


@jit
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


@jit(error_model="numpy")
def _generate(generators, px, py, materials, creatures):
    """Both passes over the map, with the one generator of an array."""
    generator = generators[0]
    perm, gradients = _permutation(randint(generator, 2**31 - 1))
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
            materials[x, y], tunnels[x, y] = _material(
                x, y, start, water, mountain, perm, gradients, generator
            )
    for x in range(materials.shape[0]):
        for y in range(materials.shape[1]):
            distance = math.sqrt((x - px) ** 2 + (y - py) ** 2)
            creatures[x, y] = _creature(materials[x, y], tunnels[x, y], distance, generator)


@jit(error_model="numpy")
def _simplex(perm, gradients, x, y, z, size):
    return _noise3(x / size, y / size, float(z), perm, gradients)


@jit(error_model="numpy")
def _field(perm, gradients, shape, z, size):
    field = np.empty(shape)
    for x in range(shape[0]):
        for y in range(shape[1]):
            field[x, y] = _simplex(perm, gradients, x, y, z, size)
    return field


@jit(error_model="numpy")
def _material(x, y, start, water, mountain, perm, gradients, generator):
    """``_set_material``: the material of a cell, and whether it is a tunnel."""
    if start > 0.5:
        return GRASS, False
    if mountain > 0.15:
        if _simplex(perm, gradients, x, y, 6, 7) > 0.15 and mountain > 0.3:  # cave
            return PATH, False
        if _simplex(perm, gradients, 2 * x, y / 5, 7, 3) > 0.4:  # horizontal tunnel
            return PATH, True
        if _simplex(perm, gradients, x / 5, 2 * y, 7, 3) > 0.4:  # vertical tunnel
            return PATH, True
        if _simplex(perm, gradients, x, y, 1, 8) > 0 and uniform(generator) > 0.85:
            return COAL, False
        if _simplex(perm, gradients, x, y, 2, 6) > 0.4 and uniform(generator) > 0.75:
            return IRON, False
        if mountain > 0.18 and uniform(generator) > 0.994:
            return DIAMOND, False
        if mountain > 0.3 and _simplex(perm, gradients, x, y, 6, 5) > 0.35:
            return LAVA, False
        return STONE, False
    if 0.25 < water <= 0.35 and _simplex(perm, gradients, x, y, 4, 9) > -0.2:
        return SAND, False
    if water > 0.3:
        return WATER, False
    if _simplex(perm, gradients, x, y, 5, 7) > 0 and uniform(generator) > 0.8:
        return TREE, False
    return GRASS, False


@jit(error_model="numpy")
def _creature(material, tunnel, distance, generator):
    """``_set_object``: the kind of creature that the map puts in a cell."""
    if material == GRASS and distance > 3 and uniform(generator) > 0.985:
        return COW
    if material in (GRASS, SAND, PATH) and distance > 10 and uniform(generator) > 0.993:
        return ZOMBIE
    if tunnel and uniform(generator) > 0.95:
        return SKELETON
    return NOTHING
