"""The words of the world: clauses of captions, events and goals, and the numbers of clauses.

A caption is a tuple of *clauses* from a closed vocabulary. Those about an object and a place are many (some 24,000 with the
world's own placements), so they are made for the pairs that a protocol can have.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from envs.housekeep.homes import MOST_IN_ROOM, MOST_OBJECTS, MOST_ROOMS, ROOM, Home, fixed_homes
from envs.housekeep.placements import Placements
from envs.interface import Example, Judgements, Language, Privileged, Situation, Statement

REACH = ROOM - 1  # cells to each side in which receptacles of the player's room can be; doors one further
WINDOW = 2 * REACH + 1  # cells, side of the window that the player sees
DOOR_WINDOW = WINDOW + 2
SIDES = ("west", "east", "north", "south")  # in the order of ``homes.DIRECTIONS``
# The room, receptacles, objects, 4 doors, 4 sides, what is faced, what a grab would do, reaching out, what is held.
MAX_CLAUSES = 1 + MOST_IN_ROOM + MOST_OBJECTS + 4 + 4 + 1 + 1 + 1 + 1
GRAB = 5  # number of the action that grabs or releases; the moves are 1 to 4, in the order of ``SIDES``
MOST_ACHIEVED = 64  # events that an agent observes
CLOSEST = 0.983  # largest cosine of two different goals' vectors, measured (docs/housekeep.md)
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
QUESTIONS = (
    "Here are questions about where people keep things in a tidy home. Answer each with Yes or No.\n"
    'Do people usually keep "spoon" on the living room sofa? No\n'
    'Do people usually keep "mixing bowl" in the kitchen dishwasher? Yes\n'
    'Do people usually keep "sock" in the bedroom dresser? Yes'
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


def grab_clause(goal: str) -> str:
    """What grab or release would do: "grab: pick up apple from kitchen fridge"."""
    return f"grab: {goal}"


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


def go_to(thing: str) -> str:
    """Meaning of a move: "go to kitchen fridge", "go to bathroom"."""
    return f"go to {thing}"


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

_SEEN, _HOLD, _PUT = "You have seen ", "You hold ", "You have put "


def situation(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    put_where: Iterable[tuple[int, int]],
    instruction: str | None = None,
) -> Situation:
    """Everything seen so far in the episode, what is held, and what the player has put where: the paper's caption.

    Args:
        known: what belongs where.
        home: at the start of the episode.
        visited: rooms in which the player has been, in order of their numbers.
        at: for each object, the receptacle in which it lies; -1 if it is held.
        held: the object in the hand, or -1.
        put_where: objects and receptacles into which the player has put them, in order.
        instruction: the task, if there is one.
    """
    thing = [known.objects[kind] for kind in home.objects]
    places = seen_places(home, visited)
    sentences = [_SEEN + ", ".join(str(known.places[home.places[p]]) for p in places)]
    sentences += [f"{thing[o]} is {known.where(home.places[p])}" for o, p in enumerate(at) if p in places]
    if held >= 0:
        sentences.append(f"{_HOLD}{thing[held]} from {known.places[home.places[home.at[held]]]}")
    else:
        sentences.append("You hold nothing")
    sentences += [f"{_PUT}{thing[o]} {known.where(home.places[p])}" for o, p in put_where]
    return Situation(". ".join(sentences) + ".", instruction)


def oracle(
    known: Placements,
    home: Home,
    visited: Sequence[int],
    at: Sequence[int],
    held: int,
    put_where: Iterable[tuple[int, int]],
) -> Privileged:
    """What somebody with perfect judgement would suggest who reads the paper's caption (arguments as for it).

    Holding nothing: pick up each object seen so far that lies where it does not belong. Holding one that was misplaced at
    the start: place it in each right receptacle seen so far. An object that was put into a right place once leaves the
    goals (as in the paper). So does the picking up of an object that the player has moved: otherwise moving it from one
    wrong place to the next would be rewarded again and again.

    Bad goals: pick up what lies right; place it where it does not belong.
    """
    put_where = list(put_where)
    places = seen_places(home, visited)
    if held >= 0:
        thing = known.objects[home.objects[held]]
        goals = {p: put(thing, known.where(home.places[p])) for p in places}
        done = any(o == held and home.right[o, p] for o, p in put_where)
        wanted = held in home.misplaced and not done
        return Privileged(
            tuple(goal for p, goal in goals.items() if wanted and home.right[held, p]),
            bad=tuple(goal for p, goal in goals.items() if not home.right[held, p]),
        )
    moved = {o for o, _ in put_where}
    goals = {
        o: pick_up(known.objects[home.objects[o]], str(known.places[home.places[p]]))
        for o, p in enumerate(at)
        if p in places
    }
    return Privileged(
        tuple(goal for o, goal in goals.items() if not home.right[o, at[o]] and o not in moved),
        bad=tuple(goal for o, goal in goals.items() if home.right[o, at[o]]),
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


class Reader:
    """Reads the caption that language models read, and the goals and statements in it.

    Args:
        known: what there is.
    """

    def __init__(self, known: Placements):
        self._where = {str(place): known.where(i) for i, place in enumerate(known.places)}
        self._place = {where: place for place, where in self._where.items()}

    def candidates(self, caption: str) -> tuple[str, ...]:
        """What could be done: holding an object, place it in each receptacle seen; else pick up each object seen."""
        seen, lying, held, _ = self._read(caption)
        if held:
            return tuple(put(held.thing, self._where[place]) for place in seen)
        return tuple(pick_up(s.thing, self._place[s.where]) for s in lying)

    def statements(self, caption: str) -> tuple[Statement, ...]:
        """That objects belong where they lie, lay or were put, and that the held one belongs in each receptacle seen."""
        seen, lying, held, were_put = self._read(caption)
        if not held:
            return (*lying, *were_put)
        return (held, *(Statement(held.thing, self._where[place]) for place in seen), *were_put)

    def goals(self, caption: str, judge: Callable[[Statement], bool | None]) -> tuple[str, ...]:
        """The goals of somebody who judges so: the rules of :func:`oracle`."""
        seen, lying, held, were_put = self._read(caption)
        if not held:
            moved = {s.thing for s in were_put}
            wrong = [s for s in lying if s.thing not in moved and judge(s) is False]
            return tuple(pick_up(s.thing, self._place[s.where]) for s in wrong)
        done = any(s.thing == held.thing and judge(s) for s in were_put)
        if done or judge(held) is not False:
            return ()
        there = [self._where[place] for place in seen]
        return tuple(put(held.thing, where) for where in there if judge(Statement(held.thing, where)))

    def _read(self, caption: str) -> tuple[list[str], list[Statement], Statement | None, list[Statement]]:
        """Receptacles seen; objects and where they lie; the held one and where it lay at first; what was put where."""
        seen: list[str] = []
        lying, were_put, held = [], [], None
        for sentence in caption.rstrip(".").split(". "):
            if sentence.startswith(_SEEN):
                seen = [place for place in sentence[len(_SEEN) :].split(", ") if place in self._where]
            elif sentence.startswith(_PUT):
                were_put += self._split(sentence[len(_PUT) :], " ")
            elif sentence.startswith(_HOLD):
                thing, _, place = sentence[len(_HOLD) :].rpartition(" from ")
                held = Statement(thing, self._where[place]) if place in self._where else None
            else:
                lying += self._split(sentence, " is ")
        return seen, lying, held, were_put

    def _split(self, text: str, between: str) -> list[Statement]:
        """The object and the place of a sentence; nothing if there is no such place."""
        for match in re.finditer(f"{between}(?=(in|on) )", text):
            if text[match.end() :] in self._place:
                return [Statement(text[: match.start()], text[match.end() :])]
        return []


def judgements(known: Placements, used: np.ndarray) -> Judgements:
    """The closed form of this world: one question for each object and receptacle.

    Args:
        known: what there is.
        used: which object can lie in which place, ``(objects, places)`` bool.
    """
    reader = Reader(known)
    pairs = np.argwhere(used).tolist()
    return Judgements(
        all=tuple(Statement(known.objects[o], known.where(p)) for o, p in pairs),
        of=reader.statements,
        goals=reader.goals,
        question=question,
        instructions=QUESTIONS,
    )


def question(statement: Statement) -> str:
    """The question about an object and a place.

    >>> question(Statement("apple", "in kitchen fridge"))
    'Do people usually keep "apple" in the kitchen fridge?'
    """
    preposition, _, place = statement.where.partition(" ")
    return f'Do people usually keep "{statement.thing}" {preposition} the {place}?'


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
        for name in rooms if doors else ():
            meanings |= {
                where_clause(door(name), dx, dy): _moves(dx, dy, name) for dx, dy in wide if dx or dy
            }
        # To reach a place: go to it, or into its room.
        supporting = {
            goal: (go_to(places[p]), *([go_to(known.places[p].room)] if doors else []))
            for goals in (picks, puts)
            for goal, (_, p) in zip(goals, pairs, strict=True)
        }
        most_places = MOST_IN_ROOM * (1 if protocol == "ellm" else MOST_ROOMS)
        self.language = Language(
            vocabulary=tuple(vocabulary),
            to_sentence=to_sentence,
            goals=(*picks, *puts),
            clauses_of=clauses_of,
            canonical=canonical,
            achievements=ACHIEVEMENTS,
            briefing=BRIEFING,
            examples=EXAMPLES,
            action_meanings={clause: pairs for clause, pairs in meanings.items() if clause in vocabulary},
            supporting=supporting,
            candidates=Reader(known).candidates,
            most_candidates=max(most_places, MOST_OBJECTS),
            most_achieved=MOST_ACHIEVED,
            closest=CLOSEST,
            judgements=judgements(known, used),
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
