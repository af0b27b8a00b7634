"""What belongs where: kinds of room, receptacles in them, objects, and their right and typical wrong places.

``placements.yaml`` holds it as rules that a person can read; :func:`placements` expands and checks them. A *place* is a
receptacle in a room. Knows nothing of homes, captions or agents.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
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
    receptacles = _mapping("receptacles", data["receptacles"])
    prepositions = {name: p for p, names in receptacles.items() for name in _names("receptacles", names)}
    for preposition in receptacles:
        if preposition not in ("in", "on"):
            raise _Mistake(f"receptacles stand under {preposition!r}; it must be 'in' or 'on'")
    rooms = {
        room: _names(f"room {room!r}", names) for room, names in _mapping("rooms", data["rooms"]).items()
    }
    for room, names in rooms.items():
        for name in names:
            if name not in prepositions:
                raise _Mistake(f"room {room!r} has an unknown receptacle: {name!r}")
        if len(names) < Placements.always or len(set(names)) < len(names):
            raise _Mistake(f"room {room!r} needs at least {Placements.always} receptacles, each once")
    places = tuple(Place(room, name) for room, names in rooms.items() for name in names)
    number = {place: i for i, place in enumerate(places)}

    def expand(what: str, rules: Any) -> set[int]:
        """Numbers of the places that rules name, as room -> receptacles."""
        found = set()
        for room, names in _mapping(what, rules).items():
            if room != ANY_ROOM and room not in rooms:
                raise _Mistake(f"{what} names an unknown room: {room!r}")
            for name in _names(what, names):
                if name not in prepositions:
                    raise _Mistake(f"{what} names an unknown receptacle: {name!r}")
                among = rooms if room == ANY_ROOM else [room]
                here = {number[Place(r, name)] for r in among if Place(r, name) in number}
                if not here:
                    raise _Mistake(f"{what} names {name!r}, which does not stand in {room}")
                found |= here
        return found

    groups = {
        name: expand(f"group {name!r}", rules) for name, rules in _mapping("groups", data["groups"]).items()
    }
    objects: list[str] = []
    held_out: list[bool] = []
    category: list[str] = []
    right_of: list[set[int]] = []
    wrong_of: list[set[int]] = []
    for name, parts in _mapping("categories", data["categories"]).items():
        what = f"category {name!r}"
        _check_keys(what, parts, _PARTS)
        right, wrong = expand(f"{what}, right,", parts["right"]), set()
        for rules in _sequence(f"{what}, wrong,", parts["wrong"]):
            if isinstance(rules, str) and rules not in groups:
                raise _Mistake(f"{what} names an unknown group: {rules!r}")
            wrong |= groups[rules] if isinstance(rules, str) else expand(f"{what}, wrong,", rules)
        for split in ("train", "held out"):
            for thing in _names(f"{what}, {split},", parts[split]):
                if thing in objects:
                    raise _Mistake(f"object {thing!r} is listed twice")
                objects.append(thing)
                held_out.append(split == "held out")
                category.append(name)
                right_of.append(set(right))
                wrong_of.append(wrong)
    for thing, rules in _mapping("also right", data["also right"]).items():
        if thing not in objects:
            raise _Mistake(f"also right names an unknown object: {thing!r}")
        right_of[objects.index(thing)] |= expand(f"also right, {thing!r},", rules)
    for thing, right, wrong in zip(objects, right_of, wrong_of, strict=True):
        if not right or not wrong - right:
            raise _Mistake(f"object {thing!r} needs at least one right and one wrong place")
    right_matrix = np.zeros((len(objects), len(places)), bool)
    wrong_matrix = np.zeros_like(right_matrix)
    for i, (right, wrong) in enumerate(zip(right_of, wrong_of, strict=True)):
        right_matrix[i, sorted(right)] = True
        wrong_matrix[i, sorted(wrong - right)] = True
    return Placements(
        rooms,
        prepositions,
        places,
        tuple(objects),
        np.array(held_out),
        right_matrix,
        wrong_matrix,
        tuple(category),
    )


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
