"""Action spaces: the package's 17 actions, and the 139 verb-noun actions of the official ELLM code."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from crafter import constants

from envs.crafter.captions import FACING, NEAR_TO_FAR, WHERE, spoken
from envs.crafter.knowledge import knowledge

_K = knowledge()


@dataclass(frozen=True)
class Action:
    """One entry of an action space.

    Attributes:
        name: as people say it ("chop tree", "move left").
        native: the package's action it stands for; "noop" where it means nothing.
        target: thing that must be faced for the native action to be carried out, if any.
        noun: the noun of a verb-noun action, if any.
    """

    name: str
    native: str
    target: str | None = None
    noun: str | None = None


def _verb_noun(verb: str, noun: str) -> Action:
    name = f"{verb} {noun}"
    native = _K.phrases.get(name, "noop")
    return Action(name, native, target=noun if native == "do" else None, noun=noun)


_PLAIN = tuple(Action(name, name.replace(" ", "_")) for name in _K.plain_actions)

ACTION_SPACES: dict[str, tuple[Action, ...]] = {
    "native": tuple(Action(spoken(name), name) for name in constants.actions),
    "verb-noun": (*_PLAIN, *(_verb_noun(v, n) for v in _K.verbs for n in _K.nouns)),
}


def faced_noun(thing: str) -> str:
    """A faced thing, as action nouns name it (a ripe plant is a "plant")."""
    return "plant" if thing == "ripe plant" else thing


def carried_out(action: Action, faced: str) -> str:
    """The native action that an action comes to: itself, or "noop" if its noun is not the one faced."""
    if action.target is not None and faced != action.target:
        return "noop"
    return action.native


# The phrase that a native `do` attempts, by the thing faced; the first phrase for each noun.
_DO_TO = {}
for _phrase, _native in _K.phrases.items():
    if _native == "do":
        _DO_TO.setdefault(_phrase.split(" ", 1)[1], _phrase)
_PHRASE_FOR = {
    native: _K.synonyms.get(phrase, phrase) for phrase, native in _K.phrases.items() if native != "do"
}


def attempted(action: Action, faced: str, held: Container[str], events: Sequence[str]) -> str | None:
    """The paper's *attempt* definition of success: the phrase tried, or None.

    A phrase counts as tried when its noun is faced, or is in the inventory, or when something really
    happened. Moves and noop are no phrases.

    Args:
        action: what the agent chose.
        faced: the noun faced when it chose (``faced_noun``).
        held: items held when it chose.
        events: what really happened (``captions.describe_transition``).
    """
    if action.name == "sleep":
        return "sleep"
    if action.noun is not None:
        phrase, noun = action.name, action.noun
    elif action.native == "do":
        phrase, noun = _DO_TO.get(faced), faced
    else:
        phrase = _PHRASE_FOR.get(action.native)
        noun = phrase.split(" ", 1)[1] if phrase else None
    if phrase is None:
        return None
    phrase = _K.synonyms.get(phrase, phrase)
    item = "sapling" if noun == "plant" else noun.replace(" ", "_")
    return phrase if faced == noun or item in held or phrase in events else None


def go_to(thing: str) -> str:
    """The meaning of a step towards a thing."""
    return f"go to {thing}"


_STEPS = {"move left": "west", "move right": "east", "move up": "north", "move down": "south"}


def _beside(goal: str) -> list[str]:
    """Clauses of which one must hold for an action with the meaning of a goal; the empty one always does."""
    if not goal.startswith("make "):
        return [""]
    thing = max(_K.goals[goal].sees)  # "furnace", where both are needed
    near = [
        WHERE[_K.things.index(thing)][i] for i, offset in enumerate(NEAR_TO_FAR) if max(map(abs, offset)) == 1
    ]
    return [f"You see {thing}", *near]


@functools.cache
def action_meanings(space: tuple[Action, ...]) -> Mapping[str, tuple[tuple[int, str], ...]]:
    """``Language.action_meanings``: clause of any caption -> actions and their meanings where it holds.

    An action that needs a thing to be faced has its meaning where the caption says that it is faced, one that makes
    something where the caption says that the table (for iron: the furnace) is beside the player; a move means a step
    towards what lies that way; others always mean their names. A plant that is not ripe cannot be eaten.
    """
    meanings: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, action in enumerate(space):
        if side := _STEPS.get(action.name):
            for thing, places in zip(_K.things[1:], WHERE[1:], strict=True):
                for clause in places:
                    if side in clause:
                        meanings[clause].append((number, go_to(thing)))
        elif action.native == "do":
            for thing, clause in zip(_K.things, FACING, strict=True):
                phrase = _DO_TO.get(faced_noun(thing)) if action.target is None else action.name
                if phrase and thing != "plant" and action.target in (None, faced_noun(thing)):
                    for said in (clause, f"You are targeting {thing}"):
                        meanings[said].append((number, _K.synonyms.get(phrase, phrase)))
        elif action.native == "sleep" or action.native in _PHRASE_FOR:
            phrase = action.name if action.noun else _PHRASE_FOR.get(action.native, "sleep")
            phrase = _K.synonyms.get(phrase, phrase)
            for clause in _beside(phrase):
                meanings[clause].append((number, phrase))
    return {clause: tuple(pairs) for clause, pairs in meanings.items()}
