"""All clauses that a protocol can have, their numbers, and the ``Language`` made of them.

Clauses about an object and a place are many (some 24,000 with the world's own placements), so they are made for the
pairs that a protocol can have.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

import numpy as np

from envs.housekeep.captions import (
    ACHIEVEMENTS,
    FLOOR,
    NOTHING_HELD,
    REACHING,
    SIDES,
    UNSEEN,
    WALL,
    canonical,
    door,
    explore,
    faced_clause,
    go_to,
    grab_clause,
    held_clause,
    lies_clause,
    pick_up,
    put,
    room_clause,
    side_clause,
    to_sentence,
    way,
    where_clause,
)
from envs.housekeep.homes import MOST_IN_ROOM, MOST_OBJECTS, MOST_ROOMS, ROOM, fixed_homes
from envs.housekeep.placements import Placements
from envs.housekeep.scenes import Reader, clauses_of, judgements, unrewarded
from envs.interface import Example, Language

REACH = ROOM - 1  # cells to each side in which receptacles of the player's room can be; doors one further
WINDOW = 2 * REACH + 1  # cells, side of the window that the player sees
# The room, receptacles, objects, doors or ways to the other rooms, the way to a room not seen yet, 4 sides, what is faced,
# what a grab would do, reaching out, what is held.
MAX_CLAUSES = 1 + MOST_IN_ROOM + MOST_OBJECTS + (MOST_ROOMS - 1) + 1 + 4 + 1 + 1 + 1 + 1
GRAB = 5  # number of the action that grabs or releases; the moves are 1 to 4, in the order of ``SIDES``
MOST_ACHIEVED = 64  # events that an agent observes
CLOSEST = 0.983  # largest cosine of two different goals' vectors, measured (docs/housekeep.md)
BRIEFING = (
    "You tidy a home. Some objects lie where they do not belong. You walk through the rooms, pick up one object at a time, "
    "and place it in or on a receptacle of a room where people usually keep such an object. Objects that lie where they "
    "belong stay there."
)
EXAMPLES = (
    Example(
        "You have seen kitchen fridge, kitchen sink, bedroom bed. milk is on bedroom bed. You hold nothing.",
        ("pick up milk from bedroom bed",),
    ),
    Example(
        "You have seen kitchen fridge, kitchen sink, bedroom bed. You hold milk.",
        ("place milk in kitchen fridge",),
    ),
)


class Words:
    """Texts of a protocol, and the numbers of its clauses in the vocabulary, for the compiled world.

    Args:
        known: what belongs where.
        protocol: "ellm": only what occurs in the fixed homes; "homes": every object in every place.

    Attributes:
        language: of the environments.
        room: ``(rooms,)`` number of the clause about the player's room. Here and below 0 stands for no clause.
        where: ``(places, WINDOW**2)`` a receptacle's clause by offset, x before y, from north-west.
        lies: ``(objects, places)``.
        door: ``(rooms, (WINDOW + 2)**2)``: a door by the room behind it.
        way: the same: the first door on the way to a room.
        unseen: ``((WINDOW + 2)**2,)``: that on the way to the nearest room not seen yet.
        side: ``(4, 2 + places + rooms)``: of a wall, the floor, a receptacle, a door.
        faced: the same for what is faced.
        pick, put: ``(objects, places)``: what a grab would do.
        held: ``(objects,)``.
        nothing_held, reaching: one number each.
    """

    def __init__(self, known: Placements, protocol: str):
        rooms = tuple(known.rooms)
        places, wheres = [str(p) for p in known.places], [known.where(p) for p in range(len(known.places))]
        used = _used_pairs(known, protocol)  # (objects, places)
        thing_used, place_used = used.any(axis=1), used.any(axis=0)
        room_used = {place.room for place, there in zip(known.places, place_used, strict=True) if there}
        doors = [door(room) for room in rooms] if protocol != "ellm" else []
        vocabulary: dict[str, int] = {"": 0}

        def number(clause: str) -> int:
            return vocabulary.setdefault(clause, len(vocabulary))

        def numbers(clauses: Iterable[str | None], shape: tuple[int, ...]) -> np.ndarray:
            found = [0 if clause is None else number(clause) for clause in clauses]
            return np.array(found, np.int32).reshape(shape)

        self.room = numbers((room_clause(r) if r in room_used else None for r in rooms), (-1,))
        offsets = [*itertools.product(range(-REACH, REACH + 1), repeat=2)]
        self.where = numbers(
            (
                where_clause(place, dx, dy) if there and (dx or dy) else None
                for place, there in zip(places, place_used, strict=True)
                for dx, dy in offsets
            ),
            (len(places), WINDOW**2),
        )
        self.lies = numbers(
            (
                lies_clause(thing, where) if there else None
                for thing, row in zip(known.objects, used, strict=True)
                for where, there in zip(wheres, row, strict=True)
            ),
            used.shape,
        )
        wide = [*itertools.product(range(-REACH - 1, REACH + 2), repeat=2)]
        # Doors are in the middle of walls, so never further than half a room sideways.
        near = [max(abs(dx), abs(dy)) > 0 and min(abs(dx), abs(dy)) <= ROOM // 2 for dx, dy in wide]

        def through_doors(names: list[str], rows: int) -> np.ndarray:
            texts = (
                where_clause(name, dx, dy) if close else None
                for name in names
                for (dx, dy), close in zip(wide, near, strict=True)
            )
            return numbers(texts if names else [None] * (rows * len(wide)), (rows, len(wide)))

        self.door = through_doors(doors, len(rooms))
        self.way = through_doors([way(room) for room in rooms] if doors else [], len(rooms))
        self.unseen = through_doors([way(UNSEEN)] if doors else [], 1)[0]
        things = [WALL, FLOOR, *(p if u else None for p, u in zip(places, place_used, strict=True))]
        things += doors or [None] * len(rooms)
        self.side = numbers((t and side_clause(side, t) for side in SIDES for t in things), (4, len(things)))
        self.faced = numbers((t and faced_clause(t) for t in things), (-1,))
        those = [thing if u else None for thing, u in zip(known.objects, thing_used, strict=True)]
        self.held = numbers((t and held_clause(t) for t in those), (-1,))
        self.nothing_held, self.reaching = number(NOTHING_HELD), number(REACHING)

        pairs = [(known.objects[o], p) for o, p in np.argwhere(used).tolist()]
        picks = [pick_up(thing, places[p]) for thing, p in pairs]
        puts = [put(thing, wheres[p]) for thing, p in pairs]
        self.pick, self.put = (np.zeros(used.shape, np.int32) for _ in range(2))
        self.pick[used] = numbers(map(grab_clause, picks), (-1,))
        self.put[used] = numbers(map(grab_clause, puts), (-1,))
        meanings = {grab_clause(goal): ((GRAB, goal),) for goal in (*picks, *puts)}
        meanings |= {
            where_clause(place, dx, dy): _moves(dx, dy, place)
            for place, there in zip(places, place_used, strict=True)
            for dx, dy in offsets
            if there and (dx or dy)
        }
        behind = [(door(name), name) for name in rooms] + [(way(name), name) for name in (*rooms, UNSEEN)]
        for sign, name in behind if doors else ():
            meanings |= {where_clause(sign, dx, dy): _moves(dx, dy, name) for dx, dy in wide if dx or dy}
        # A step against a wall leads nowhere; one against a receptacle only turns to it.
        blocked = {
            side_clause(side, thing): (action, go_to(thing) if thing in places else "")
            for action, side in enumerate(SIDES, start=1)
            for thing in things
            if thing and thing != FLOOR and thing not in doors
        }
        explorations = [explore(room) for room in rooms] if doors else []
        # To reach a place: go to it, or into its room. To explore a room: go there, or where the next such room is.
        supporting = {
            goal: (go_to(room), go_to(UNSEEN)) for goal, room in zip(explorations, rooms, strict=False)
        }
        supporting |= {
            goal: (go_to(places[p]), *([go_to(known.places[p].room)] if doors else []))
            for goals in (picks, puts)
            for goal, (_, p) in zip(goals, pairs, strict=True)
        }
        most_places = MOST_IN_ROOM * (1 if protocol == "ellm" else MOST_ROOMS)
        self.language = Language(
            vocabulary=tuple(vocabulary),
            to_sentence=to_sentence,
            goals=(*picks, *puts, *explorations),
            clauses_of=clauses_of,
            canonical=canonical,
            achievements=ACHIEVEMENTS,
            briefing=BRIEFING,
            examples=EXAMPLES,
            action_meanings={clause: pairs for clause, pairs in meanings.items() if clause in vocabulary},
            blocked=blocked,
            supporting=supporting,
            candidates=Reader(known).candidates,
            most_candidates=max(most_places, MOST_OBJECTS) + MOST_ROOMS - 1,
            most_achieved=MOST_ACHIEVED,
            closest=CLOSEST,
            judgements=judgements(known, used),
            unrewarded=unrewarded,
        )


def _moves(dx: int, dy: int, thing: str) -> tuple[tuple[int, str], ...]:
    """The moves that lead to something, and what they mean."""
    directions = [(1, dx < 0), (2, dx > 0), (3, dy < 0), (4, dy > 0)]
    return tuple((action, go_to(thing)) for action, leads in directions if leads)


@functools.lru_cache(maxsize=8)
def words(known: Placements, protocol: str) -> Words:
    """The words of a protocol, made once."""
    return Words(known, protocol)


def _used_pairs(known: Placements, protocol: str) -> np.ndarray:
    """Which object can lie in which place, ``(objects, places)`` bool."""
    if protocol != "ellm":
        return np.ones_like(known.right)
    used = np.zeros_like(known.right)
    for home in fixed_homes(known):
        used[np.ix_(home.objects, home.places)] = True
    return used
