"""The words of the world: clauses of captions, events and goals.

The agent's caption is a tuple of *clauses* from a closed vocabulary (:mod:`envs.housekeep.vocabulary`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SIDES = ("west", "east", "north", "south")  # in the order of ``homes.DIRECTIONS``
WALL, FLOOR = "wall", "floor"
NOTHING_HELD = "you hold nothing"
REACHING = "you reach out"
UNSEEN = "a room not seen yet"  # the nearest one
FIXED = tuple(f"{n} fixed" for n in range(1, 6))  # achievements: misplaced objects set right at one time
ACHIEVEMENTS = ("misplaced object picked up", "object put right", *FIXED, "all tidy")

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


def way(room: str) -> str:
    """The first door on the way to a room that is not next door."""
    return f"way to {room}"


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

PICK_UP, PLACE, EXPLORE = "pick up", "place", "explore"
_OBJECT = re.compile(r"(pick up|place) (.+?) (?:from|in|on) ")


def pick_up(thing: str, place: str) -> str:
    """Event and goal: "pick up apple from living room sofa"."""
    return f"{PICK_UP} {thing} from {place}"


def put(thing: str, where: str) -> str:
    """Event and goal: "place apple in kitchen fridge"."""
    return f"{PLACE} {thing} {where}"


def explore(room: str) -> str:
    """Event and goal: to go into a room for the first time in the episode: "explore kitchen"."""
    return f"{EXPLORE} {room}"


def verb_and_thing(goal: str) -> tuple[str, str]:
    """Verb and object of a goal about an object; two empty texts for others.

    >>> verb_and_thing("place apple in kitchen fridge"), verb_and_thing("explore kitchen")
    (('place', 'apple'), ('', ''))
    """
    match = _OBJECT.match(goal)
    return (match[1], match[2]) if match else ("", "")


_ARTICLES = re.compile(r"\b(a|an|the|some|your)\b")
_NOT_WORDS = re.compile(r"[^a-z0-9' -]+")
_SYNONYMS = (
    (re.compile(r"^(grab|take|fetch|get|remove|pick) (?!up )"), "pick up "),
    (re.compile(r"^(put away|put|set|store|return) "), "place "),
    (re.compile(r"^go (?:in|into|inside) "), "explore "),
    (re.compile(r" (inside of|into|inside) "), " in "),
    (re.compile(r" (onto|on top of) "), " on "),
    (re.compile(r"^(enter|visit|search|look (?:in|around in)) "), "explore "),
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


def to_sentence(clauses: Sequence[str]) -> str:
    """Joins clauses of the agent's caption into text."""
    return ". ".join(clauses) + "." if clauses else ""
