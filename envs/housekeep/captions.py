"""The words of the world: clauses of captions, events and goals, and the numbers of clauses.

A caption is a tuple of *clauses* from a closed vocabulary. Those about an object and a place are many (some 24,000 with the
world's own placements), so they are made for the pairs that a protocol can have.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np

from envs.housekeep.homes import MOST_IN_ROOM, MOST_OBJECTS, ROOM, Home, fixed_homes
from envs.housekeep.placements import Placements
from envs.interface import Example, Language, Privileged, Situation

REACH = ROOM - 1  # cells to each side in which receptacles of the player's room can be; doors one further
WINDOW = 2 * REACH + 1  # cells, side of the window that the player sees
DOOR_WINDOW = WINDOW + 2
SIDES = ("west", "east", "north", "south")  # in the order of ``homes.DIRECTIONS``
# The room, receptacles, objects, 4 doors, 4 sides, what is faced, what is in reach, reaching out, what is held.
MAX_CLAUSES = 1 + MOST_IN_ROOM + MOST_OBJECTS + 4 + 4 + 1 + 1 + 1 + 1
WALL, FLOOR = "wall", "floor"
NOTHING_HELD = "you hold nothing"
REACHING = "you reach out"
FIXED = tuple(
    f"{n} fixed" for n in range(1, 6)
)  # names of achievements: misplaced objects set right at one time
ACHIEVEMENTS = ("misplaced object picked up", "object put right", *FIXED, "all tidy")
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
        "You have seen kitchen fridge, kitchen sink, bedroom bed. You hold milk from bedroom bed.",
        ("place milk in kitchen fridge",),
    ),
)


# --- clauses of the agent's caption ---------------------------------------------------------------------------------


def room_clause(room: str) -> str:
    """The player's room."""
    return f"this is the {room}"


def where_clause(thing: str, dx: int, dy: int) -> str:
    """Where a receptacle or a door is, seen from the player: "kitchen fridge: 3 west, 1 north"."""
    parts = [f"{abs(dx)} {'west' if dx < 0 else 'east'}"] if dx else []
    parts += [f"{abs(dy)} {'north' if dy < 0 else 'south'}"] if dy else []
    return f"{thing}: {', '.join(parts)}"


def lies_clause(thing: str, where: str) -> str:
    """Where an object is: "apple: on living room sofa"."""
    return f"{thing}: {where}"


def door(room: str) -> str:
    """A door, by the room behind it."""
    return f"door to {room}"


def side_clause(side: str, thing: str) -> str:
    """What is beside the player."""
    return f"{side} of you: {thing}"


def faced_clause(thing: str) -> str:
    """What the player faces."""
    return f"you face {thing}"


def reach_clause(thing: str) -> str:
    """The object that a grab takes."""
    return f"in reach: {thing}"


def held_clause(thing: str) -> str:
    """What is in the hand."""
    return f"you hold {thing}"


# --- events and goals -----------------------------------------------------------------------------------------------


def pick_up(thing: str, place: str) -> str:
    """Event and goal: "pick up apple from living room sofa"."""
    return f"pick up {thing} from {place}"


def put(thing: str, where: str) -> str:
    """Event and goal: "place apple in kitchen fridge"."""
    return f"place {thing} {where}"


_ARTICLES = re.compile(r"\b(a|an|the|some|your)\b")
_NOT_WORDS = re.compile(r"[^a-z0-9' -]+")
_SYNONYMS = (
    (re.compile(r"^(grab|take|fetch|get|remove|pick) (?!up )"), "pick up "),
    (re.compile(r"^(put away|put|set|store|return) "), "place "),
    (re.compile(r" (into|inside|inside of) "), " in "),
    (re.compile(r" (onto|on top of) "), " on "),
)


def canonical(text: str) -> str:
    """One spelling per goal: lower case, no articles or punctuation, usual synonyms replaced.

    >>> canonical("Put the apple into the kitchen fridge!")
    'place apple in kitchen fridge'
    """
    words = " ".join(_ARTICLES.sub(" ", _NOT_WORDS.sub(" ", text.lower())).split())
    for pattern, usual in _SYNONYMS:
        words = pattern.sub(usual, words)
    return words


# --- the caption that language models read --------------------------------------------------------------------------

_SEEN = "You have seen "


def situation(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    put_where: Iterable[tuple[int, int]],
) -> Situation:
    """Everything seen so far in the episode, what is held, and what the player has put where: the paper's caption.

    Args:
        known: what belongs where.
        home: at the start of the episode.
        visited: rooms in which the player has been, in order of their numbers.
        at: for each object, the receptacle in which it lies; -1 if it is held.
        held: the object in the hand, or -1.
        put_where: objects and receptacles into which the player has put them, in order.
    """
    thing = [known.objects[kind] for kind in home.objects]
    places = seen_places(home, visited)
    sentences = [_SEEN + ", ".join(str(known.places[home.places[p]]) for p in places)]
    sentences += [f"{thing[o]} is {known.where(home.places[p])}" for o, p in enumerate(at) if p in places]
    if held >= 0:
        sentences.append(f"You hold {thing[held]} from {known.places[home.places[home.at[held]]]}")
    else:
        sentences.append("You hold nothing")
    sentences += [f"You have put {thing[o]} {known.where(home.places[p])}" for o, p in put_where]
    return Situation(". ".join(sentences) + ".")


def oracle(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    put_where: Iterable[tuple[int, int]],
) -> Privileged:
    """What somebody with perfect judgement would suggest who reads the paper's caption (arguments as for it).

    Holding nothing: pick up each object seen so far that lies where it lay at the start and does not belong there.
    Holding one that was misplaced at the start: place it in each right receptacle seen so far. An object that was put into
    a right place once leaves the goals (as in the paper). So does the picking up of an object that the player has moved:
    otherwise moving it from one wrong place to the next would be rewarded again and again.
    """
    still = set(home.misplaced).difference(o for o, p in put_where if home.right[o, p])
    places = seen_places(home, visited)
    if held >= 0:
        right = [p for p in places if home.right[held, p]] if held in still else []
        thing = known.objects[home.objects[held]]
        return Privileged(tuple(put(thing, known.where(home.places[p])) for p in right))
    there = [o for o in sorted(still) if at[o] == home.at[o] and at[o] in places]
    return Privileged(
        tuple(
            pick_up(known.objects[home.objects[o]], str(known.places[home.places[home.at[o]]])) for o in there
        )
    )


def seen_places(home: Home, visited: Sequence[int]) -> list[int]:
    """The receptacles of the rooms in which the player has been."""
    return [p for p, room in enumerate(home.place_room) if room in visited]


def clauses_of(caption: str) -> frozenset[str]:
    """Set of clauses of such a caption; each receptacle seen is one.

    >>> sorted(clauses_of("You have seen kitchen sink, kitchen oven. You hold nothing."))
    ['You have seen kitchen oven', 'You have seen kitchen sink', 'You hold nothing']
    """
    clauses = []
    for sentence in caption.rstrip(".").split(". "):
        if sentence.startswith(_SEEN):
            clauses += [_SEEN + place for place in sentence[len(_SEEN) :].split(", ")]
        else:
            clauses.append(sentence)
    return frozenset(clauses)


def to_sentence(clauses: Sequence[str]) -> str:
    """Joins clauses of the agent's caption into text."""
    return ". ".join(clauses) + "." if clauses else ""


# --- numbers --------------------------------------------------------------------------------------------------------


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
        door: ``(rooms, DOOR_WINDOW**2)``.
        side: ``(4, 2 + places + rooms)``: of a wall, the floor, a receptacle, a door.
        faced: the same for what is faced.
        reach, held: ``(objects,)``.
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
        self.door = np.zeros((len(rooms), DOOR_WINDOW**2), np.int32)
        if doors:
            self.door = numbers(
                (
                    where_clause(d, dx, dy) if close else None
                    for d in doors
                    for (dx, dy), close in zip(wide, near, strict=True)
                ),
                self.door.shape,
            )
        things = [WALL, FLOOR, *(p if u else None for p, u in zip(places, place_used, strict=True))]
        things += doors or [None] * len(rooms)
        self.side = numbers((t and side_clause(side, t) for side in SIDES for t in things), (4, len(things)))
        self.faced = numbers((t and faced_clause(t) for t in things), (-1,))
        those = [thing if u else None for thing, u in zip(known.objects, thing_used, strict=True)]
        self.reach = numbers((t and reach_clause(t) for t in those), (-1,))
        self.held = numbers((t and held_clause(t) for t in those), (-1,))
        self.nothing_held, self.reaching = number(NOTHING_HELD), number(REACHING)

        pairs = [(known.objects[o], p) for o, p in np.argwhere(used).tolist()]
        goals = [pick_up(thing, places[p]) for thing, p in pairs] + [
            put(thing, wheres[p]) for thing, p in pairs
        ]
        self.language = Language(
            vocabulary=tuple(vocabulary),
            to_sentence=to_sentence,
            goals=tuple(goals),
            clauses_of=clauses_of,
            canonical=canonical,
            achievements=ACHIEVEMENTS,
            briefing=BRIEFING,
            examples=EXAMPLES,
        )


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
