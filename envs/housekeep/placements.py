"""What belongs where: kinds of room, receptacles in them, objects, and their right and typical wrong places.

``placements.yaml`` holds it as rules that a person can read; :func:`placements` expands and checks them. A *place* is a
receptacle in a room. Knows nothing of homes, captions or agents.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

ANY_ROOM = "any room"
STANDARD = Path(__file__).with_name("placements.yaml")
_SECTIONS = ("receptacles", "rooms", "groups", "categories", "also right")
_PARTS = ("train", "held out", "right", "wrong")
NAME = re.compile(r"[a-z][a-z' -]*[a-z]")  # names are parts of clauses, which commas and full stops separate


class Place(NamedTuple):
    """A receptacle in a room."""

    room: str
    receptacle: str

    def __str__(self) -> str:
        return f"{self.room} {self.receptacle}"


@dataclass(frozen=True, eq=False)
class Placements:
    """What belongs where.

    Attributes:
        rooms: kind of room -> receptacles that may stand in it, in the order of ``places``.
        prepositions: kind of receptacle -> "in" or "on".
        places: every receptacle in every room.
        objects: names.
        held_out: which objects are for evaluation only, ``(objects,)`` bool.
        right: where objects belong, ``(objects, places)`` bool.
        wrong: where they are typically found although they do not belong there, ``(objects, places)`` bool.
        category: of each object; "" if there are none.
        always: how many receptacles of a kind of room, the first ones, stand in every such room.
    """

    rooms: Mapping[str, tuple[str, ...]]
    prepositions: Mapping[str, str]
    places: tuple[Place, ...]
    objects: tuple[str, ...]
    held_out: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    category: tuple[str, ...]
    always: int = 3

    @functools.cached_property
    def of_room(self) -> tuple[tuple[int, int], ...]:
        """For each kind of room, the number of its first place and how many it has."""
        counts = [len(names) for names in self.rooms.values()]
        return tuple((sum(counts[:i]), count) for i, count in enumerate(counts))

    def where(self, place: int) -> str:
        """A place with its preposition: "in kitchen fridge"."""
        return f"{self.prepositions[self.places[place].receptacle]} {self.places[place]}"


@functools.cache
def placements() -> Placements:
    """The world's own placements, read once."""
    return read_placements(STANDARD)


def read_placements(path: Path) -> Placements:
    """Placements from a YAML file in the form of ``placements.yaml``.

    Raises:
        OSError: if it cannot be read.
        ValueError: one line that names what is wrong in it.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"placements {path} are no YAML: {' '.join(str(error).split())}") from error
    try:
        return _expand(data)
    except _Mistake as mistake:
        raise ValueError(f"{mistake} (in {path})") from mistake


class _Mistake(Exception):
    """One line about the file's content."""


def _expand(data: Any) -> Placements:
    _check_keys("the file", data, _SECTIONS)
    prepositions, rooms = _read_rooms(data["receptacles"], data["rooms"])
    floor = _FloorPlan(rooms, prepositions)
    groups = {
        name: floor.numbers(f"group {name!r}", rules)
        for name, rules in _mapping("groups", data["groups"]).items()
    }
    things: dict[str, _Thing] = {}
    for category, parts in _mapping("categories", data["categories"]).items():
        for thing in _read_category(category, parts, floor, groups):
            if thing.name in things:
                raise _Mistake(f"object {thing.name!r} is listed twice")
            things[thing.name] = thing
    for name, rules in _mapping("also right", data["also right"]).items():
        if name not in things:
            raise _Mistake(f"also right names an unknown object: {name!r}")
        things[name].right |= floor.numbers(f"also right, {name!r},", rules)
    right, wrong = (np.zeros((len(things), len(floor.places)), bool) for _ in range(2))
    for i, thing in enumerate(things.values()):
        if not thing.right or not thing.wrong - thing.right:
            raise _Mistake(f"object {thing.name!r} needs at least one right and one wrong place")
        right[i, sorted(thing.right)] = True
        wrong[i, sorted(thing.wrong - thing.right)] = True
    return Placements(
        rooms,
        prepositions,
        floor.places,
        tuple(things),
        np.array([thing.held_out for thing in things.values()]),
        right,
        wrong,
        tuple(thing.category for thing in things.values()),
    )


def _read_rooms(receptacles: Any, rooms: Any) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Receptacles with their prepositions, and rooms with their receptacles."""
    receptacles = _mapping("receptacles", receptacles)
    prepositions = {name: p for p, names in receptacles.items() for name in _names("receptacles", names)}
    for preposition in receptacles:
        if preposition not in ("in", "on"):
            raise _Mistake(f"receptacles stand under {preposition!r}; it must be 'in' or 'on'")
    found = {room: _names(f"room {room!r}", names) for room, names in _mapping("rooms", rooms).items()}
    for room, names in found.items():
        for name in names:
            if name not in prepositions:
                raise _Mistake(f"room {room!r} has an unknown receptacle: {name!r}")
        if len(names) < Placements.always or len(set(names)) < len(names):
            raise _Mistake(f"room {room!r} needs at least {Placements.always} receptacles, each once")
    return prepositions, found


class _FloorPlan:
    """Places by room and receptacle.

    Args:
        rooms: room -> its receptacles.
        receptacles: all that there are.
    """

    def __init__(self, rooms: Mapping[str, Sequence[str]], receptacles: Collection[str]):
        self._rooms, self._receptacles = rooms, receptacles
        self.places = tuple(Place(room, name) for room, names in rooms.items() for name in names)
        self._number = {place: i for i, place in enumerate(self.places)}

    def numbers(self, what: str, rules: Any) -> set[int]:
        """Numbers of the places that rules name, as room -> receptacles."""
        found = set()
        for room, names in _mapping(what, rules).items():
            if room != ANY_ROOM and room not in self._rooms:
                raise _Mistake(f"{what} names an unknown room: {room!r}")
            for name in _names(what, names):
                if name not in self._receptacles:
                    raise _Mistake(f"{what} names an unknown receptacle: {name!r}")
                among = self._rooms if room == ANY_ROOM else [room]
                here = {self._number[Place(r, name)] for r in among if Place(r, name) in self._number}
                if not here:
                    raise _Mistake(f"{what} names {name!r}, which does not stand in {room}")
                found |= here
        return found


@dataclass
class _Thing:
    """An object as it is read."""

    name: str
    category: str
    held_out: bool
    right: set[int]  # numbers of places
    wrong: set[int]


def _read_category(
    category: str, parts: Any, floor: _FloorPlan, groups: Mapping[str, set[int]]
) -> Iterator[_Thing]:
    """The objects of a category, which belong in the same places."""
    what = f"category {category!r}"
    _check_keys(what, parts, _PARTS)
    right, wrong = floor.numbers(f"{what}, right,", parts["right"]), set()
    for rules in _sequence(f"{what}, wrong,", parts["wrong"]):
        if isinstance(rules, str) and rules not in groups:
            raise _Mistake(f"{what} names an unknown group: {rules!r}")
        wrong |= groups[rules] if isinstance(rules, str) else floor.numbers(f"{what}, wrong,", rules)
    for split in ("train", "held out"):
        for name in _names(f"{what}, {split},", parts[split]):
            yield _Thing(name, category, split == "held out", set(right), wrong)


def _check_keys(what: str, value: Any, keys: Sequence[str]) -> None:
    if set(_mapping(what, value)) != set(keys):
        raise _Mistake(
            f"{what} must have exactly the entries {', '.join(keys)}; it has {', '.join(map(str, value))}"
        )


def _mapping(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _Mistake(f"{what} must be a mapping from names")
    return value


def _sequence(what: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise _Mistake(f"{what} must be a list")
    return value


def _names(what: str, value: Any) -> tuple[str, ...]:
    for name in _sequence(what, value):
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise _Mistake(f"{what} names {name!r}; a name is lower-case words")
    return tuple(value)
