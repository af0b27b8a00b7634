"""Reads ``crafter.yaml``: everything the code knows about the game, typed."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from crafter import constants

from envs.interface import Example

ARTICLES = re.compile(r"\b(a|an|the|some|your|any)\b")
NOT_WORDS = re.compile(r"[^a-z0-9 ]+")


@dataclass(frozen=True)
class Prerequisites:
    """Prerequisites of a goal, all of which must hold: the oracle's knowledge."""

    sees: frozenset[str] = frozenset()  # names of things that must be in view
    has: Mapping[str, int] = field(default_factory=dict)  # items held, at least this many
    below: Mapping[str, int] = field(default_factory=dict)  # needs (points) that must be under this
    asleep: bool | None = None  # None: either


@dataclass(frozen=True)
class Protocol:
    """The rules of one protocol. ``crafter``: the package's own; ``ellm``: the paper's changes."""

    actions: str  # "native" (17) or "verb-noun" (139)
    episode_length: int  # frames
    health_reward: bool
    one_hit: bool  # every creature dies in one hit
    table_wood: int  # wood a crafting table costs


@dataclass(frozen=True)
class Knowledge:
    """The content of ``crafter.yaml``, field by field (comments there say what each means)."""

    view: tuple[int, int]
    things: tuple[str, ...]  # by thing id; id 0 is outside the world
    unmentioned: frozenset[str]
    items: tuple[str, ...]  # by inventory position, the package's order
    needs: tuple[str, ...]
    feels_below: int
    feelings: Mapping[str, str]
    tired: str
    levels: Mapping[str, int]
    dark_below: float
    achievements: tuple[str, ...]
    plain_actions: tuple[str, ...]
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    phrases: Mapping[str, str]
    synonyms: Mapping[str, str]
    goals: Mapping[str, Prerequisites]
    yields: Mapping[str, str]  # goal -> item or thing that it gives, where recipes need it
    keys: Mapping[str, str]  # goal -> of the items that it takes the one that is hardest to get, for some
    phrase_of: Mapping[str, str]  # achievement -> goal phrase
    protocols: Mapping[str, Protocol]
    briefing: str  # for prompts
    examples: tuple[Example, ...]  # for prompts of the open form


def canonical(text: str) -> str:
    """One spelling per goal: lower case, no articles or punctuation, synonyms replaced.

    >>> canonical("Attack the cow!")
    'eat cow'
    """
    words = " ".join(ARTICLES.sub(" ", NOT_WORDS.sub(" ", text.lower())).split())
    return knowledge().synonyms.get(words, words)


@functools.cache
def knowledge() -> Knowledge:
    """The game's knowledge, read once."""
    data = yaml.safe_load(Path(__file__).with_name("crafter.yaml").read_text(encoding="utf-8"))
    names, creatures, goals = data.pop("names"), data.pop("creatures"), data.pop("goals")
    computed = {
        "things": ("outside", *(names.get(name, name) for name in constants.materials), *creatures),
        "unmentioned": frozenset(data["unmentioned"]),
        "items": tuple(constants.items),
        "achievements": tuple(constants.achievements),
        "phrase_of": _frozen({goal["achievement"]: p for p, goal in goals.items() if "achievement" in goal}),
        "goals": _frozen({phrase: _prerequisites(**goal) for phrase, goal in goals.items()}),
        "yields": _frozen({phrase: goal["yields"] for phrase, goal in goals.items() if "yields" in goal}),
        "keys": _frozen({phrase: goal["key"] for phrase, goal in goals.items() if "key" in goal}),
        "protocols": _frozen({name: Protocol(**rules) for name, rules in data["protocols"].items()}),
        "briefing": " ".join(data["briefing"].split()),
        "examples": tuple(Example(e["caption"], tuple(e["goals"])) for e in data["examples"]),
    }
    return Knowledge(**{**{name: _frozen(value) for name, value in data.items()}, **computed})


def _prerequisites(
    achievement: str = "", yields: str = "", key: str = "", sees: Sequence[str] = (), **others: Any
) -> Prerequisites:
    return Prerequisites(frozenset(sees), **{name: _frozen(value) for name, value in others.items()})


def _frozen(value: Any) -> Any:
    """A list as a tuple, a dictionary as one that cannot be changed."""
    if isinstance(value, dict):
        return MappingProxyType(value)
    return tuple(value) if isinstance(value, list) else value
