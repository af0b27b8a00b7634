"""All clauses that a protocol can have, their numbers, and the ``Language`` made of them.

Clauses about an object and a place are many (some 24,000 with the world's own placements), so they are made for the
pairs that a protocol can have.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Sequence

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
OFFSETS = tuple(itertools.product(range(-REACH, REACH + 1), repeat=2))  # of receptacles
WIDE_OFFSETS = tuple(itertools.product(range(-REACH - 1, REACH + 2), repeat=2))  # of doors
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
        names = _Names(known, protocol)
        self._numbers: dict[str, int] = {"": 0}
        self.room = self._table(room_clause(room) if there else None for room, there in names.rooms.items())
        self.where = self._table(
            (
                where_clause(place, dx, dy) if there and (dx or dy) else None
                for place, there in names.places.items()
                for dx, dy in OFFSETS
            ),
            (len(names.places), len(OFFSETS)),
        )
        self.lies = self._table(
            (
                lies_clause(thing, where) if there else None
                for thing, row in zip(names.things, names.used, strict=True)
                for where, there in zip(names.wheres, row, strict=True)
            ),
            names.used.shape,
        )
        self.door = self._through_doors(names.doors, len(names.rooms))
        self.way = self._through_doors(
            [way(room) for room in names.rooms] if names.doors else [], len(names.rooms)
        )
        self.unseen = self._through_doors([way(UNSEEN)] if names.doors else [], 1)[0]
        beside = names.beside
        self.side = self._table((t and side_clause(s, t) for s in SIDES for t in beside), (4, len(beside)))
        self.faced = self._table(thing and faced_clause(thing) for thing in beside)
        self.held = self._table(
            held_clause(thing) if there else None for thing, there in names.things.items()
        )
        self.nothing_held, self.reaching = map(self._number, (NOTHING_HELD, REACHING))
        self.pick, self.put = (np.zeros(names.used.shape, np.int32) for _ in range(2))
        self.pick[names.used] = self._table(map(grab_clause, names.picks))
        self.put[names.used] = self._table(map(grab_clause, names.puts))
        self.language = _language(names, known, tuple(self._numbers))

    def _number(self, clause: str) -> int:
        """A clause's number; a new one is added to the vocabulary."""
        return self._numbers.setdefault(clause, len(self._numbers))

    def _table(self, clauses: Iterable[str | None], shape: tuple[int, ...] = (-1,)) -> np.ndarray:
        """Numbers of clauses, 0 for None."""
        found = [0 if clause is None else self._number(clause) for clause in clauses]
        return np.array(found, np.int32).reshape(shape)

    def _through_doors(self, signs: Sequence[str], rows: int) -> np.ndarray:
        """Numbers of clauses about where doors are, ``(rows, offsets)``: zeros where there are no signs of any."""
        # Doors are in the middle of walls, so never further than half a room sideways.
        near = [max(abs(dx), abs(dy)) > 0 and min(abs(dx), abs(dy)) <= ROOM // 2 for dx, dy in WIDE_OFFSETS]
        texts = (
            where_clause(sign, dx, dy) if close else None
            for sign in signs
            for (dx, dy), close in zip(WIDE_OFFSETS, near, strict=True)
        )
        shape = (rows, len(WIDE_OFFSETS))
        return self._table(texts, shape) if signs else np.zeros(shape, np.int32)


class _Names:
    """What clauses of a protocol name, in the order of the tables' rows.

    Args:
        known: what belongs where.
        protocol: which of it there can be.

    Attributes:
        used: which object can lie in which place, ``(objects, places)`` bool.
        rooms, places, things: name -> whether it can occur.
        wheres: "in kitchen fridge", one for each place.
        doors: one for each room; none in homes of one room.
        beside: what can be beside the player: wall, floor, places, doors; None for one that cannot occur.
        pairs: objects and places of the used pairs, ``picks`` and ``puts`` their goals.
        explorations: goals to come into a room, one for each door.
    """

    def __init__(self, known: Placements, protocol: str):
        self.one_room = protocol == "ellm"
        self.used = _used_pairs(known, protocol)
        self.things = dict(zip(known.objects, self.used.any(axis=1).tolist(), strict=True))
        self.places = dict(zip(map(str, known.places), self.used.any(axis=0).tolist(), strict=True))
        self.room_of = {str(place): place.room for place in known.places}
        occurring = {self.room_of[place] for place, there in self.places.items() if there}
        self.rooms = {room: room in occurring for room in known.rooms}
        self.wheres = [known.where(p) for p in range(len(known.places))]
        self.doors = [] if self.one_room else list(map(door, self.rooms))
        self.beside: list[str | None] = [
            WALL,
            FLOOR,
            *(p if there else None for p, there in self.places.items()),
        ]
        self.beside += self.doors or [None] * len(self.rooms)
        places = list(self.places)
        self.pairs = [(known.objects[o], places[p]) for o, p in np.argwhere(self.used).tolist()]
        self.picks = [pick_up(thing, place) for thing, place in self.pairs]
        where = dict(zip(places, self.wheres, strict=True))
        self.puts = [put(thing, where[place]) for thing, place in self.pairs]
        self.explorations = list(map(explore, self.rooms)) if self.doors else []


def _language(names: _Names, known: Placements, vocabulary: tuple[str, ...]) -> Language:
    """The language of a protocol: its goals, and what actions mean for them."""
    # A step against a wall leads nowhere; one against a receptacle only turns to it.
    blocked = {
        side_clause(side, thing): (action, go_to(thing) if thing in names.places else "")
        for action, side in enumerate(SIDES, start=1)
        for thing in names.beside
        if thing and thing != FLOOR and thing not in names.doors
    }
    # To reach a place: go to it, or into its room. To explore a room: go there, or where the next such room is.
    supporting = {
        goal: (go_to(room), go_to(UNSEEN))
        for goal, room in zip(names.explorations, names.rooms, strict=False)
    }
    supporting |= {
        goal: (go_to(place), *([go_to(names.room_of[place])] if names.doors else []))
        for goals in (names.picks, names.puts)
        for goal, (_, place) in zip(goals, names.pairs, strict=True)
    }
    most_places = MOST_IN_ROOM * (1 if names.one_room else MOST_ROOMS)
    return Language(
        vocabulary=vocabulary,
        to_sentence=to_sentence,
        goals=(*names.picks, *names.puts, *names.explorations),
        clauses_of=clauses_of,
        canonical=canonical,
        achievements=ACHIEVEMENTS,
        briefing=BRIEFING,
        examples=EXAMPLES,
        action_meanings=_meanings(names, frozenset(vocabulary)),
        blocked=blocked,
        supporting=supporting,
        candidates=Reader(known).candidates,
        most_candidates=max(most_places, MOST_OBJECTS) + MOST_ROOMS - 1,
        most_achieved=MOST_ACHIEVED,
        closest=CLOSEST,
        judgements=judgements(known, names.used),
        unrewarded=unrewarded,
    )


def _meanings(names: _Names, vocabulary: Collection[str]) -> dict[str, tuple[tuple[int, str], ...]]:
    """What actions mean where the agent reads a clause: grabs, and moves to places, doors and ways behind them."""
    meanings = {grab_clause(goal): ((GRAB, goal),) for goal in (*names.picks, *names.puts)}
    meanings |= {
        where_clause(place, dx, dy): _moves(dx, dy, place)
        for place, there in names.places.items()
        for dx, dy in OFFSETS
        if there and (dx or dy)
    }
    behind = [(door(name), name) for name in names.rooms]
    behind += [(way(name), name) for name in (*names.rooms, UNSEEN)]
    for sign, name in behind if names.doors else ():
        meanings |= {where_clause(sign, dx, dy): _moves(dx, dy, name) for dx, dy in WIDE_OFFSETS if dx or dy}
    return {clause: pairs for clause, pairs in meanings.items() if clause in vocabulary}


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
