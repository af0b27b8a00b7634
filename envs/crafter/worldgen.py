"""``crafter.worldgen``, compiled: the same worlds from the same generator, about fifteen times as fast.

The generator of random numbers ends in the same state as the package's: uniform numbers are drawn ahead, the compiled
code returns how many it used, and the generator is moved on by as many. The tests compare worlds with the package's own.
"""

from __future__ import annotations

import math

import numpy as np
from crafter import constants, objects
from opensimplex.constants import GRADIENTS3, NORM_CONSTANT3, SQUISH_CONSTANT3, STRETCH_CONSTANT3

from envs.crafter.jit import jit

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


# --- OpenSimplex noise in three dimensions -------------------------------------------------------------------------


@jit(error_model="numpy")
def _noise(perm, gradients, x, y, z):
    """``opensimplex.internals._noise3``, shorter: in [-1, 1].

    Space is a honeycomb of stretched cubes, each of two tetrahedra and an octahedron between them. The value is the sum
    of what the corners of the point's region add, and two corners beyond it. Corners, the order of the sum and the order
    of the subtractions are the package's, so that all bits are equal.
    """
    stretch = (x + y + z) * STRETCH_CONSTANT3
    xs, ys, zs = x + stretch, y + stretch, z + stretch
    xb, yb, zb = math.floor(xs), math.floor(ys), math.floor(zs)  # the cube
    xi, yi, zi = xs - xb, ys - yb, zs - zb  # the place in it, each in [0, 1)
    squish = (xb + yb + zb) * SQUISH_CONSTANT3
    p = (perm, gradients, xb, yb, zb, x - (xb + squish), y - (yb + squish), z - (zb + squish))
    inside = xi + yi + zi
    if inside <= 1:  # the tetrahedron at (0, 0, 0)
        value = _corner(p, 0, 0, 0) + _corner(p, 1, 0, 0) + _corner(p, 0, 1, 0) + _corner(p, 0, 0, 1)
        first, second, late = _beyond_near(xi, yi, zi, 1 - inside)
    elif inside >= 2:  # the tetrahedron at (1, 1, 1)
        value = _corner(p, 1, 1, 0) + _corner(p, 1, 0, 1) + _corner(p, 0, 1, 1) + _corner(p, 1, 1, 1)
        first, second, late = _beyond_far(xi, yi, zi, 3 - inside)
    else:  # the octahedron
        value = _corner(p, 1, 0, 0) + _corner(p, 0, 1, 0) + _corner(p, 0, 0, 1)
        value = value + _corner(p, 1, 1, 0) + _corner(p, 1, 0, 1) + _corner(p, 0, 1, 1)
        first, second, late = _beyond_middle(xi + yi, xi + zi, yi + zi)
    value += _corner(p, first[0], first[1], first[2])
    value += _corner(p, second[0], second[1], second[2], late)
    return value / NORM_CONSTANT3


@jit(error_model="numpy")
def _corner(p, i, j, k, late=False):
    """Contribution of a corner of the cube. late: subtract the corner after the squish, not before (rounding differs)."""
    perm, gradients, xb, yb, zb, dx, dy, dz = p
    squish = (i + j + k) * SQUISH_CONSTANT3
    if late:
        dx, dy, dz = dx - squish - i, dy - squish - j, dz - squish - k
    else:
        dx, dy, dz = dx - i - squish, dy - j - squish, dz - k - squish
    near = 2 - dx * dx - dy * dy - dz * dz
    if near <= 0:
        return 0.0
    byte = np.uint64(0xFF)  # unsigned: no test for negative indices
    row = np.uint64(perm[np.uint64(xb + i) & byte] + (yb + j)) & byte
    row = np.uint64(perm[row] + (zb + k)) & byte
    row = np.uint64(gradients[row])
    one, two = np.uint64(1), np.uint64(2)
    near *= near
    return near * near * (_GRADIENTS[row] * dx + _GRADIENTS[row + one] * dy + _GRADIENTS[row + two] * dz)


# The two corners beyond the point's region that reach it, and `late` for the second. A corner of the cube is written in
# bits, 1 for x, 2 for y and 4 for z; a and b are those that are closest to the point.


@jit(error_model="numpy")
def _bits(corner):
    return corner & 1, corner >> 1 & 1, corner >> 2 & 1


@jit(error_model="numpy")
def _beyond_near(xi, yi, zi, rest):
    a, b, a_score, b_score = 1, 2, xi, yi
    if a_score >= b_score and zi > b_score:
        b, b_score = 4, zi
    elif a_score < b_score and zi > a_score:
        a, a_score = 4, zi
    if rest > a_score or rest > b_score:  # (0, 0, 0) is one of the two closest
        closest = b if b_score > a_score else a
        if closest == 1:
            return (1, -1, 0), (1, 0, -1), False
        if closest == 2:
            return (-1, 1, 0), (0, 1, -1), False
        return (-1, 0, 1), (0, -1, 1), False
    x, y, z = _bits(a | b)
    return (x, y, z), (2 * x - 1, 2 * y - 1, 2 * z - 1), False


@jit(error_model="numpy")
def _beyond_far(xi, yi, zi, rest):
    a, b, a_score, b_score = 6, 5, xi, yi
    if a_score <= b_score and zi < b_score:
        b, b_score = 3, zi
    elif a_score > b_score and zi < a_score:
        a, a_score = 3, zi
    if rest < a_score or rest < b_score:  # (1, 1, 1) is one of the two closest
        closest = b if b_score < a_score else a
        if closest == 3:
            return (2, 1, 0), (1, 2, 0), False
        if closest == 5:
            return (2, 0, 1), (1, 0, 2), False
        return (0, 2, 1), (0, 1, 2), False
    x, y, z = _bits(a & b)
    return (x, y, z), (2 * x, 2 * y, 2 * z), False


@jit(error_model="numpy")
def _beyond_middle(xy, xz, yz):
    a, a_score = (3, xy - 1) if xy > 1 else (4, 1 - xy)
    b, b_score = (5, xz - 1) if xz > 1 else (2, 1 - xz)
    c, c_score = (6, yz - 1) if yz > 1 else (1, 1 - yz)
    if a_score <= b_score and a_score < c_score:
        a = c
    elif a_score > b_score and b_score < c_score:
        b = c
    a_far, b_far = a == 3 or a == 5 or a == 6, b == 3 or b == 5 or b == 6
    if a_far and b_far:
        x, y, z = _bits(a & b)
        return (1, 1, 1), (2 * x, 2 * y, 2 * z), False
    if not a_far and not b_far:
        x, y, z = _bits(a | b)
        return (0, 0, 0), (2 * x - 1, 2 * y - 1, 2 * z - 1), False
    far, near = (a, b) if a_far else (b, a)
    x, y, z = _bits(far)
    i, j, k = _bits(near)
    return (2 * x - 1, 2 * y - 1, 2 * z - 1), (2 * i, 2 * j, 2 * k), True


# --- the map ---------------------------------------------------------------------------------------------------------


@jit(error_model="numpy")
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


@jit(error_model="numpy")
def _simplex(perm, gradients, x, y, z, size):
    return _noise(perm, gradients, x / size, y / size, float(z))


@jit(error_model="numpy")
def _field(perm, gradients, shape, z, size):
    field = np.empty(shape)
    for x in range(shape[0]):
        for y in range(shape[1]):
            field[x, y] = _simplex(perm, gradients, x, y, z, size)
    return field


@jit(error_model="numpy")
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


@jit(error_model="numpy")
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
