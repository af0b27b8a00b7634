"""Reads ``crafter.yaml``: everything the code knows about the game, typed."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml
from crafter import constants

from envs.interface import Example

ARTICLES = re.compile(r"\b(a|an|the|some|your|any)\b")
NOT_WORDS = re.compile(r"[^a-z0-9 ]+")


@dataclass(frozen=True)
class Prerequisites:
    """Prerequisites of a goal, all of which must hold: the oracle's knowledge."""

    sees: frozenset[str]  # names of things that must be in view
    has: Mapping[str, int]  # items held, at least this many
    below: Mapping[str, int]  # needs (points) that must be under this
    asleep: bool | None  # None: either


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
    levels: Mapping[str, int]
    dark_below: float
    achievements: tuple[str, ...]
    plain_actions: tuple[str, ...]
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    phrases: Mapping[str, str]
    synonyms: Mapping[str, str]
    goals: Mapping[str, Prerequisites]
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
    spoken = {**{name: name for name in constants.materials}, **data["names"]}
    goals = {
        phrase: Prerequisites(
            sees=frozenset(entry.get("sees", ())),
            has=MappingProxyType(entry.get("has", {})),
            below=MappingProxyType(entry.get("below", {})),
            asleep=entry.get("asleep"),
        )
        for phrase, entry in data["goals"].items()
    }
    return Knowledge(
        view=tuple(data["view"]),
        things=("outside", *(spoken[name] for name in constants.materials), *data["creatures"]),
        unmentioned=frozenset(data["unmentioned"]),
        items=tuple(constants.items),
        needs=tuple(data["needs"]),
        feels_below=data["feels_below"],
        feelings=MappingProxyType(data["feelings"]),
        levels=MappingProxyType(data["levels"]),
        dark_below=data["dark_below"],
        achievements=tuple(constants.achievements),
        plain_actions=tuple(data["plain_actions"]),
        verbs=tuple(data["verbs"]),
        nouns=tuple(data["nouns"]),
        phrases=MappingProxyType(data["phrases"]),
        synonyms=MappingProxyType(data["synonyms"]),
        goals=MappingProxyType(goals),
        phrase_of=MappingProxyType(
            {entry["achievement"]: p for p, entry in data["goals"].items() if "achievement" in entry}
        ),
        protocols=MappingProxyType({k: Protocol(**v) for k, v in data["protocols"].items()}),
        briefing=" ".join(data["briefing"].split()),
        examples=tuple(Example(e["caption"], tuple(e["goals"])) for e in data["examples"]),
    )
