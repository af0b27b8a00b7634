"""Homes: rooms, walls, doors, receptacles, and objects of which some are misplaced. Made from a generator of random numbers.

A home is a board of 3x3 slots for rooms. Each room is 5x5 cells, with a wall around it that neighbours share. Receptacles
stand along the walls; in front of doors and in corners none stands, so each can be reached from the middle of the room. Knows nothing of captions.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from envs.housekeep.placements import Placements
from envs.housekeep.tasks import FIXED_HOMES
from envs.interface import HELD_OUT_SEEDS

ROOM = 5  # cells, inner side of a room
BOARD = 3  # rooms that fit beside each other
SIDE = BOARD * (ROOM + 1) + 1  # cells, side of the map
MOST_ROOMS, MOST_IN_ROOM, MOST_OBJECTS = 7, 8, 10
FEWEST_IN_ROOM, FEWEST_OBJECTS = 5, 7
MISPLACED = (3, 5)  # fewest and most misplaced objects
TOGETHER = 2  # objects that lie together at the start, at most
EXTRA_DOOR = 0.5  # probability of a door between neighbours that are connected otherwise
DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # west, east, north, south
WALL, DOOR, FLOOR = -2, -1, 0  # cells of the map; a receptacle is its number + 1
TRIES = 10_000  # homes without enough objects for them are made anew
# The four fixed homes of protocol ``ellm``: a room, and the seed of its generator. Chosen, among those with five different
# kinds of misplaced object, for few right receptacles (docs/housekeep.md).
ELLM_HOMES = dict(zip(FIXED_HOMES, (41, 147, 268, 175), strict=True))
ELLM_MISPLACED = (5, 5)

_MIDDLE = ROOM // 2
# Cells along the walls of a room, without corners.
_SPOTS = [(i, j) for i in range(ROOM) for j in range(ROOM) if (i in (0, ROOM - 1)) != (j in (0, ROOM - 1))]
_BEFORE_DOOR = {
    (-1, 0): (0, _MIDDLE),
    (1, 0): (ROOM - 1, _MIDDLE),
    (0, -1): (_MIDDLE, 0),
    (0, 1): (_MIDDLE, ROOM - 1),
}


@dataclass(frozen=True, eq=False)
class Home:
    """A home at the start of an episode. Rooms, places and objects are numbered within it.

    Attributes:
        grid: ``(SIDE, SIDE)`` int8, by x and y: ``WALL``, ``DOOR``, ``FLOOR``, or a receptacle's number + 1.
        room_at: ``(SIDE, SIDE)`` int8: the room of a cell, -1 for walls and doors.
        rooms: kind of each room, an index into ``Placements.rooms``.
        corners: north-western cell of each room, (x, y).
        neighbours: ``(rooms, 4)`` int8: the room behind the door in each direction, -1 without a door.
        places: kind of each receptacle, an index into ``Placements.places``; ordered by room.
        cells: of the receptacles, (x, y).
        place_room: the room in which each stands.
        objects: kind of each object, an index into ``Placements.objects``.
        at: where each lies, a number of a receptacle.
        right: ``(objects, places)`` bool: where each belongs.
        start: cell of the player, (x, y).
    """

    grid: np.ndarray
    room_at: np.ndarray
    rooms: tuple[int, ...]
    corners: tuple[tuple[int, int], ...]
    neighbours: np.ndarray
    places: tuple[int, ...]
    cells: tuple[tuple[int, int], ...]
    place_room: tuple[int, ...]
    objects: tuple[int, ...]
    at: tuple[int, ...]
    right: np.ndarray
    start: tuple[int, int]

    @functools.cached_property
    def misplaced(self) -> tuple[int, ...]:
        """Numbers of the objects that do not lie where they belong."""
        return tuple(o for o, place in enumerate(self.at) if not self.right[o, place])

    def doors(self, room: int) -> list[tuple[int, int, int]]:
        """Doors of a room, in the order of ``DIRECTIONS``: cell, and the room behind it."""
        x, y = (corner + _MIDDLE for corner in self.corners[room])
        away = _MIDDLE + 1
        behind = zip(DIRECTIONS, self.neighbours[room].tolist(), strict=True)
        return [(x + away * dx, y + away * dy, other) for (dx, dy), other in behind if other >= 0]

    def unseen(self, visited: Collection[int]) -> list[int]:
        """The rooms behind doors of the rooms in which a player has been, and in which it has not been."""
        behind = {other for room in visited for other in self.neighbours[room].tolist() if other >= 0}
        return sorted(behind - {*visited})

    def ways(self, here: int, visited: Collection[int]) -> dict[int, int]:
        """The rooms to which a player knows a way, the nearest first -> the direction of its first door.

        The player knows the doors of the rooms in which it has been, and which rooms are behind them.

        Args:
            here: the player's room.
            visited: rooms in which it has been, its own among them.
        """
        first: dict[int, int] = {}
        rooms = [here]
        for room in rooms:  # it grows: breadth-first search
            for direction, other in enumerate(self.neighbours[room].tolist() if room in visited else ()):
                if other >= 0 and other != here and other not in first:
                    first[other] = direction if room == here else first[room]
                    rooms.append(other)
        return first


def home_of(
    known: Placements, protocol: str, world_seed: int, fixed: int | None = None
) -> tuple[Home, tuple[int, int]]:
    """The home of a world seed under a protocol, and the player's first cell.

    Args:
        known: what belongs where.
        protocol: "ellm" or "homes".
        world_seed: of the episode.
        fixed: number of the fixed home, whatever the world seed; None: the world seed chooses it.
    """
    if protocol != "ellm":
        home = new_home(known, world_seed)
        return home, home.start
    homes = fixed_homes(known)
    home, number = homes[world_seed % len(homes) if fixed is None else fixed], world_seed // len(homes)
    (x, y), inner = home.corners[0], ROOM - 2
    return home, (x + 1 + number % inner, y + 1 + number // inner % inner)


def new_home(known: Placements, world_seed: int) -> Home:
    """The home of a world seed under protocol ``homes``: with held-out objects from ``HELD_OUT_SEEDS`` on."""
    objects = known.held_out == (world_seed >= HELD_OUT_SEEDS)
    return make_home(known, np.random.RandomState(world_seed), objects)


@functools.lru_cache(maxsize=8)
def fixed_homes(known: Placements) -> tuple[Home, ...]:
    """The four homes of protocol ``ellm``: one room, training objects, five of them misplaced.

    Raises:
        ValueError: if there are no such rooms, or too few objects for them.
    """
    names = list(known.rooms)
    homes = []
    for room, seed in ELLM_HOMES.items():
        if room not in names:
            raise ValueError(f"the placements have no {room}, which protocol ellm needs")
        random = np.random.RandomState(seed)
        homes.append(make_home(known, random, ~known.held_out, [names.index(room)], ELLM_MISPLACED))
    return tuple(homes)


def make_home(
    known: Placements,
    random: np.random.RandomState,
    objects: np.ndarray,
    rooms: Sequence[int] | None = None,
    misplaced: tuple[int, int] = MISPLACED,
) -> Home:
    """A home.

    Args:
        known: what belongs where.
        random: makes all choices.
        objects: which may lie in it, ``(objects,)`` bool.
        rooms: kinds of its rooms; None: 1 to 7 different ones.
        misplaced: how many objects are misplaced, at least and at most.

    Raises:
        ValueError: if too few objects belong anywhere in such homes.
    """
    candidates = np.flatnonzero(objects)
    most = min(MOST_ROOMS, len(known.rooms))
    n_rooms = random.randint(1, most + 1) if rooms is None else len(rooms)
    for _ in range(TRIES):
        kinds = random.permutation(len(known.rooms))[:n_rooms].tolist() if rooms is None else rooms
        places, place_room = _furniture(known, random, kinds)
        right, wrong = (table[np.ix_(candidates, places)] for table in (known.right, known.wrong))
        chosen = _objects(random, right, wrong, misplaced)
        if chosen is not None:
            break
    else:
        raise ValueError(f"in {TRIES} homes there were never enough objects; the placements hold too few")
    rows, at = chosen
    slots, neighbours = _floor_plan(random, n_rooms)
    grid, room_at = np.full((SIDE, SIDE), WALL, np.int8), np.full((SIDE, SIDE), -1, np.int8)
    corners = tuple((column * (ROOM + 1) + 1, row * (ROOM + 1) + 1) for column, row in slots)
    cells = []
    for room, (x, y) in enumerate(corners):
        grid[x : x + ROOM, y : y + ROOM], room_at[x : x + ROOM, y : y + ROOM] = FLOOR, room
        spots = list(_SPOTS)
        for direction, neighbour in zip(DIRECTIONS, neighbours[room], strict=True):
            if neighbour >= 0:
                i, j = _BEFORE_DOOR[direction]
                spots.remove((i, j))
                grid[x + i + direction[0], y + j + direction[1]] = DOOR
        order = random.permutation(len(spots))
        for k in range(place_room.count(room)):
            i, j = spots[order[k]]
            cells.append((x + i, y + j))
            grid[x + i, y + j] = len(cells)
    x, y = corners[random.randint(n_rooms)]  # the player starts in the middle of a room, away from the walls
    start = x + 1 + random.randint(ROOM - 2), y + 1 + random.randint(ROOM - 2)
    return Home(
        grid,
        room_at,
        tuple(kinds),
        corners,
        neighbours,
        tuple(places),
        tuple(cells),
        tuple(place_room),
        tuple(candidates[rows].tolist()),
        tuple(at),
        right[rows],
        start,
    )


def _furniture(
    known: Placements, random: np.random.RandomState, kinds: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Kinds of the receptacles in rooms of some kinds, and the room of each."""
    places, place_room = [], []
    for room, kind in enumerate(kinds):
        first, count = known.of_room[kind]
        always = min(known.always, count)
        wanted = min(random.randint(FEWEST_IN_ROOM, MOST_IN_ROOM + 1), count)
        others = always + random.permutation(count - always)[: wanted - always]
        places += [*range(first, first + always), *(first + np.sort(others)).tolist()]
        place_room += [room] * (len(places) - len(place_room))
    return places, place_room


def _objects(
    random: np.random.RandomState, right: np.ndarray, wrong: np.ndarray, misplaced: tuple[int, int]
) -> tuple[list[int], list[int]] | None:
    """Objects of a home, as rows of ``right``, and where they lie; None if there are too few for it.

    Args:
        random: makes all choices.
        right: which object belongs in which of the home's receptacles.
        wrong: in which it is typically misplaced.
        misplaced: how many are misplaced, at least and at most.
    """
    n_wrong = random.randint(misplaced[0], misplaced[1] + 1)
    n = random.randint(FEWEST_OBJECTS, MOST_OBJECTS + 1)
    here = right.any(axis=1)
    movable = np.flatnonzero(here & wrong.any(axis=1))
    if len(movable) < n_wrong or here.sum() < n:
        return None
    rows = random.permutation(movable)[:n_wrong].tolist()
    others = random.permutation(np.flatnonzero(here)).tolist()
    rows += [row for row in others if row not in rows][: n - n_wrong]
    at: list[int] = []
    for number, row in enumerate(rows):
        allowed = np.flatnonzero((wrong if number < n_wrong else right)[row]).tolist()
        allowed = [place for place in allowed if at.count(place) < TOGETHER]
        if not allowed:
            return None
        at.append(allowed[random.randint(len(allowed))])
    order = random.permutation(n).tolist()  # so that an object's number says nothing
    return [rows[k] for k in order], [at[k] for k in order]


def _floor_plan(random: np.random.RandomState, n_rooms: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Slots of the rooms on the board (column, row), and the neighbours behind their doors, ``(n_rooms, 4)``."""
    slots = [(random.randint(BOARD), random.randint(BOARD))]
    neighbours = np.full((n_rooms, 4), -1, np.int8)
    while len(slots) < n_rooms:
        free = sorted({slot for room in slots for slot in _beside(room) if slot and slot not in slots})
        slot = free[random.randint(len(free))]
        old = [slots.index(other) for other in _beside(slot) if other in slots]
        connected = old[random.randint(len(old))]
        room = len(slots)
        slots.append(slot)
        for other in old:
            if other == connected or random.random_sample() < EXTRA_DOOR:
                direction = _beside(slot).index(slots[other])
                neighbours[room, direction], neighbours[other, direction ^ 1] = other, room
    return slots, neighbours


def _beside(slot: tuple[int, int]) -> list[tuple[int, int] | None]:
    """The slots in the four directions; None beyond the board."""
    found = [(slot[0] + dx, slot[1] + dy) for dx, dy in DIRECTIONS]
    return [s if 0 <= s[0] < BOARD and 0 <= s[1] < BOARD else None for s in found]
