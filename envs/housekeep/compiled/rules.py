"""Rules and the agent's captions, compiled. Words are numbers here; ``vec_env.py`` turns them into text.

Numba keeps compiled functions by the file that they are in. So this file holds all constants that they use, and
``vec_env.py`` checks them against those of the reference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

ROOM, SIDE = 5, 19  # cells: inner side of a room, side of the map
MOST_ROOMS, MOST_PLACES, MOST_OBJECTS, MAX_CLAUSES = 7, 56, 10, 34
DOOR, FLOOR = -1, 0  # cells of the map
DX, DY = (-1, 1, 0, 0), (0, 0, -1, 1)
GRAB = 5
RIGHT, WRONG = 1.0, -0.1  # rewards
NOTHING, PICK, PUT, EXPLORE = 0, 1, 2, 3  # events

# Truth values are 0 or 1: Numba has no arrays of booleans in records.
# A home and the state of its episode. Rooms, places and objects are numbered within the home.
HOME = np.dtype(
    [
        ("grid", np.int8, (SIDE, SIDE)),  # a wall, DOOR, FLOOR, or a receptacle's number + 1
        ("room_at", np.int8, (SIDE, SIDE)),
        ("neighbours", np.int8, (MOST_ROOMS, 4)),  # rooms behind doors, or -1
        ("corner", np.int8, (MOST_ROOMS, 2)),
        ("room_kind", np.int16, MOST_ROOMS),
        ("first_place", np.int8, MOST_ROOMS + 1),  # of each room; the last entries are the number of places
        ("place_kind", np.int16, MOST_PLACES),
        ("cell", np.int8, (MOST_PLACES, 2)),
        ("objects", np.int8),  # how many
        ("object_kind", np.int16, MOST_OBJECTS),
        ("right", np.uint8, (MOST_OBJECTS, MOST_PLACES)),
        ("misplaced", np.uint8, MOST_OBJECTS),  # at the start
        # From here on: what changes.
        ("x", np.int8),
        ("y", np.int8),
        ("direction", np.int8),
        ("reaching", np.uint8),
        ("looking", np.int32),  # steps against the faced receptacle
        ("room", np.int8),
        ("visited", np.uint8, MOST_ROOMS),
        ("at", np.int8, MOST_OBJECTS),  # -1: held
        ("since", np.int32, MOST_OBJECTS),  # frame in which it was put there
        ("held", np.int8),
        ("was_put", np.uint8, (MOST_OBJECTS, MOST_PLACES)),  # where the player has put it in this episode
        ("picked", np.uint8, MOST_OBJECTS),
        ("frame", np.int32),
        ("picks", np.int32),
        ("right_picks", np.int32),
        ("puts", np.int32),
        ("right_puts", np.int32),
        ("most_fixed", np.int8),
        ("all_tidy", np.uint8),
    ],
    align=True,
)


class Numbers(NamedTuple):
    """Numbers of clauses: the tables of ``vocabulary.Words``."""

    room: np.ndarray
    where: np.ndarray
    lies: np.ndarray
    door: np.ndarray
    way: np.ndarray
    unseen: np.ndarray
    side: np.ndarray
    faced: np.ndarray
    pick: np.ndarray
    put: np.ndarray
    held: np.ndarray
    nothing_held: int
    reaching: int


class Outputs(NamedTuple):
    """Of each home: its present state, and its last frame."""

    observation: np.ndarray  # (n, MAX_CLAUSES) int32
    event: np.ndarray  # (n, 3) int16: NOTHING; PICK or PUT, the object, the receptacle; or EXPLORE, the room
    reward: np.ndarray  # (n,) float64
    changed: np.ndarray  # (n,) bool: whether what the paper's caption says has changed


@njit(cache=True)
def _faced(h):
    return h.grid[h.x + DX[h.direction], h.y + DY[h.direction]] - 1


@njit(cache=True)
def _in_reach(h, place):
    """The object that a grab takes from the faced receptacle, or -1."""
    count = 0
    for o in range(h.objects):
        count += place >= 0 and h.at[o] == place
    for o in range(h.objects):
        if place >= 0 and h.at[o] == place:
            before = 0
            for other in range(h.objects):
                before += h.at[other] == place and h.since[other] < h.since[o]
            if before == h.looking % count:
                return o
    return -1


@njit(cache=True)
def _is_right(h, o):
    return h.at[o] >= 0 and h.right[o, h.at[o]] == 1


@njit(cache=True)
def _step(h, action, i, out):
    h.frame += 1
    out.event[i, 0] = NOTHING
    out.reward[i] = 0.0
    out.changed[i] = False
    if 1 <= action <= 4:
        _move(h, action - 1, i, out)
    place = _faced(h)
    thing = _in_reach(h, place)
    grabs = action == GRAB and place >= 0 and (h.held >= 0 or thing >= 0)
    reached = h.reaching == 1
    if grabs and reached and h.held >= 0:
        _put(h, h.held, place, i, out)
    elif grabs and reached:
        _pick_up(h, thing, place, i, out)
    h.reaching = grabs and not reached
    tidy = h.held < 0
    for o in range(h.objects):
        tidy = tidy and _is_right(h, o)
    h.all_tidy = tidy


@njit(cache=True)
def _move(h, direction, i, out):
    again = h.direction == direction
    h.direction = direction
    x, y = h.x + DX[direction], h.y + DY[direction]
    if h.grid[x, y] == DOOR:
        x += DX[direction]
        y += DY[direction]
    if h.grid[x, y] == FLOOR:
        h.x, h.y = x, y
        h.room = h.room_at[x, y]
        again = False
        if not h.visited[h.room]:
            h.visited[h.room] = True
            _note(i, out, EXPLORE, h.room, 0)
    h.looking = h.looking + 1 if again else 0


@njit(cache=True)
def _note(i, out, event, thing, place):
    out.event[i, 0], out.event[i, 1], out.event[i, 2] = event, thing, place
    out.changed[i] = True


@njit(cache=True)
def _pick_up(h, thing, place, i, out):
    h.picks += 1
    if _is_right(h, thing):
        out.reward[i] = WRONG
    else:
        h.right_picks += 1
        if h.misplaced[thing] and not h.picked[thing]:
            out.reward[i] = RIGHT
    h.picked[thing] = True
    h.held = thing
    h.at[thing] = -1
    h.looking = 0
    _note(i, out, PICK, thing, place)


@njit(cache=True)
def _put(h, thing, place, i, out):
    still_open = h.misplaced[thing] == 1
    for p in range(MOST_PLACES):
        if h.was_put[thing, p] and h.right[thing, p]:
            still_open = False
    h.held = -1
    h.at[thing] = place
    h.since[thing] = h.frame
    h.was_put[thing, place] = True
    h.looking = 0
    h.puts += 1
    if h.right[thing, place]:
        h.right_puts += 1
        if still_open:
            out.reward[i] = RIGHT
    else:
        out.reward[i] = WRONG
    fixed = 0
    for o in range(h.objects):
        if h.misplaced[o] and _is_right(h, o):
            fixed += 1
    h.most_fixed = max(h.most_fixed, fixed)
    _note(i, out, PUT, thing, place)


@njit(cache=True)
def _thing(h, direction, places):
    """Number of what is beside the player, as an index into ``Numbers.side``: wall, floor, a receptacle or a door."""
    code = h.grid[h.x + DX[direction], h.y + DY[direction]]
    if code > 0:
        return 2 + h.place_kind[code - 1]
    if code == DOOR:
        return 2 + places + h.room_kind[h.neighbours[h.room, direction]]
    return 1 if code == FLOOR else 0


@njit(cache=True)
def _offset(h, direction):
    """The door in a direction, as an index into ``Numbers.door``: its offset from the player in the wider window."""
    reach, window = ROOM, 2 * ROOM + 1
    dx = h.corner[h.room, 0] + ROOM // 2 + (ROOM // 2 + 1) * DX[direction] - h.x
    dy = h.corner[h.room, 1] + ROOM // 2 + (ROOM // 2 + 1) * DY[direction] - h.y
    return (dx + reach) * window + dy + reach


@njit(cache=True)
def _describe_map(h, numbers, out, n):
    """``HousekeepEnv._map``, as numbers from ``out[n]`` on; returns the next free index."""
    first = np.full(MOST_ROOMS, -1, np.int8)  # direction of the first door on the way to each room
    rooms = np.empty(MOST_ROOMS, np.int8)  # the nearest first
    rooms[0], known, done = h.room, 1, 0
    unseen = -1
    while done < known:
        room = rooms[done]
        done += 1
        if not h.visited[room]:
            if unseen < 0:
                unseen = room
            continue
        for direction in range(4):
            other = h.neighbours[room, direction]
            if other >= 0 and other != h.room and first[other] < 0:
                first[other] = direction if room == h.room else first[room]
                rooms[known] = other
                known += 1
    for room in range(MOST_ROOMS):
        if first[room] >= 0:
            beside = False
            for direction in range(4):
                beside = beside or h.neighbours[h.room, direction] == room
            if not beside:
                out[n] = numbers.way[h.room_kind[room], _offset(h, first[room])]
                n += 1
    if unseen >= 0:
        out[n] = numbers.unseen[_offset(h, first[unseen])]
        n += 1
    return n


@njit(cache=True)
def _describe(h, numbers, remembers, out):
    """``HousekeepEnv.clauses``, as numbers."""
    places = len(numbers.where)
    reach, window = ROOM - 1, 2 * ROOM - 1
    out[0] = numbers.room[h.room_kind[h.room]]
    n = 1
    first, end = h.first_place[h.room], h.first_place[h.room + 1]
    for p in range(first, end):
        dx, dy = h.cell[p, 0] - h.x, h.cell[p, 1] - h.y
        out[n] = numbers.where[h.place_kind[p], (dx + reach) * window + dy + reach]
        n += 1
    for o in range(h.objects):
        if first <= h.at[o] < end:
            out[n] = numbers.lies[h.object_kind[o], h.place_kind[h.at[o]]]
            n += 1
    for direction in range(4):
        other = h.neighbours[h.room, direction]
        if other >= 0:
            out[n] = numbers.door[h.room_kind[other], _offset(h, direction)]
            n += 1
    if remembers:
        n = _describe_map(h, numbers, out, n)
    for direction in range(4):
        out[n] = numbers.side[direction, _thing(h, direction, places)]
        n += 1
    out[n] = numbers.faced[_thing(h, h.direction, places)]
    n += 1
    place = _faced(h)
    thing = _in_reach(h, place)
    if place >= 0 and h.held >= 0:
        out[n] = numbers.put[h.object_kind[h.held], h.place_kind[place]]
        n += 1
    elif thing >= 0:
        out[n] = numbers.pick[h.object_kind[thing], h.place_kind[place]]
        n += 1
    if h.reaching:
        out[n] = numbers.reaching
        n += 1
    out[n] = numbers.held[h.object_kind[h.held]] if h.held >= 0 else numbers.nothing_held
    out[n + 1 :] = 0


@njit(cache=True)
def describe(
    homes: np.ndarray, first: int, last: int, numbers: Numbers, remembers: bool, out: Outputs
) -> None:
    """Describes the present states of the homes from the first to before the last; ``remembers``: with caption "map"."""
    for i in range(first, last):
        _describe(homes[i], numbers, remembers, out.observation[i])


@njit(cache=True)
def play(
    homes: np.ndarray, first: int, actions: np.ndarray, numbers: Numbers, remembers: bool, out: Outputs
) -> None:
    """Plays one frame in the homes from the first on, one for each action, and describes them."""
    for k in range(len(actions)):
        i = first + k
        _step(homes[i], actions[k], i, out)
        _describe(homes[i], numbers, remembers, out.observation[i])
