"""Captions of Crafter states and of what happened between two of them. Pure functions.

A caption is a tuple of *clauses*, short phrases from a closed vocabulary; ``to_sentence`` joins them
into the text that people and language models read.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from crafter import constants

from envs.crafter.knowledge import Prerequisites, knowledge
from envs.crafter.state import CrafterState

_K = knowledge()
_LEFT, _UP = _K.view[0] // 2, _K.view[1] // 2
_OFFSETS = [(x - _LEFT, y - _UP) for x in range(_K.view[0]) for y in range(_K.view[1])]
# Cells of the view from near to far (ties in a fixed order); the player's own cell is left out.
_NEAR_TO_FAR = sorted(
    (i for i, offset in enumerate(_OFFSETS) if offset != (0, 0)),
    key=lambda i: (abs(_OFFSETS[i][0]) + abs(_OFFSETS[i][1]), i),
)
CELLS = np.array(_NEAR_TO_FAR)
NEAR_TO_FAR = [_OFFSETS[i] for i in _NEAR_TO_FAR]  # (dx, dy)
_SIDES = {"west": (-1, 0), "east": (1, 0), "north": (0, -1), "south": (0, 1)}
_GROUPS = ("You see", "You are targeting", "You have in your inventory", "You feel")
ASLEEP = "You are asleep"  # in the language model's caption
_MOST_HELD = 9
SPATIAL_CLAUSES = 41  # at most: 18 things, 4 sides, the faced thing, 16 counts, darkness and sleep
BRIGHTNESS = 10  # levels of daylight in the full caption


def spoken(name: str) -> str:
    """``wood_pickaxe`` as people say it."""
    return name.replace("_", " ")


# --- state captions -----------------------------------------------------------------------------


def detailed_clauses(state: CrafterState) -> tuple[str, ...]:
    """The language model's caption: the paper's, and what a person would also be told.

    Of items of which some goal needs more than one it says how many are held, up to the most that a goal needs ("wood:
    2 or more"). It tells a ripe plant from a growing one, and that the player is tired or asleep.
    """
    clauses = [f"You see {name}" for name in sorted(_visible_names(state) - _K.unmentioned)]
    if state.faced not in _K.unmentioned and state.faced != "outside":
        clauses.append(f"You are targeting {state.faced}")
    clauses += [DETAILED_HELD[i][n] for i, n in enumerate(state.inventory) if i >= len(_K.needs)]
    clauses += [DETAILED_HELD[i][n] for i, n in enumerate(state.inventory) if i < len(_K.needs)]
    if state.asleep:
        clauses.append(ASLEEP)
    return tuple(clause for clause in clauses if clause)


def paper_clauses(state: CrafterState) -> tuple[str, ...]:
    """The paper's caption: names only (what is seen, targeted, held and felt).

    A sapling in the ground is called "plant", ripe or not; sand and arrows are left out.
    """
    return _names_only(detailed_clauses(state))


def _names_only(clauses: Iterable[str]) -> tuple[str, ...]:
    """Detailed clauses without their details."""
    return tuple(dict.fromkeys(clause for clause in map(paper_clause, clauses) if clause))


def paper_clause(clause: str) -> str:
    """A detailed clause as the paper's caption has it; "" where that says nothing of the kind.

    >>> paper_clause("You have in your inventory wood: 2 or more")
    'You have in your inventory wood'
    """
    if clause in (ASLEEP, f"You feel {_K.tired}"):
        return ""
    return clause.partition(":")[0].replace("ripe plant", "plant")


def spatial_clauses(state: CrafterState) -> tuple[str, ...]:
    """The default caption: where the nearest of each thing is, what is on each side, what is faced,
    how much is held, how each need stands, whether it is dark or the player sleeps.

    The whole view is described at night and during sleep, too (the package's pictures are then noisy or black).
    """
    return tuple(_spatial(state, HELD))


def full_clauses(state: CrafterState) -> tuple[str, ...]:
    """The spatial caption with the needs in all their levels, the side that the player looks to, how light it is in ten
    levels, and the player's last action.
    """
    clauses = _spatial(state, LEVELS)
    clauses.append(LOOKS[list(_SIDES.values()).index(state.facing)])
    clauses.append(LIGHT[min(BRIGHTNESS - 1, int(BRIGHTNESS * state.daylight))])
    clauses.append(LAST_ACTION[constants.actions.index(state.last_action)])
    return tuple(clauses)


def _spatial(state: CrafterState, held: Sequence[Sequence[str]]) -> list[str]:
    flat = state.view.ravel()[CELLS]
    things, first = np.unique(flat, return_index=True)
    clauses = [
        WHERE[thing][cell] for thing, cell in zip(things.tolist(), first.tolist(), strict=True) if thing
    ]
    for side, (dx, dy) in _SIDES.items():
        clauses.append(BESIDE[side][state.view[_LEFT + dx, _UP + dy]])
    dx, dy = state.facing
    clauses.append(FACING[state.view[_LEFT + dx, _UP + dy]])
    clauses += [held[i][n] for i, n in enumerate(state.inventory) if n or i < len(_K.needs)]
    if state.daylight < _K.dark_below:
        clauses.append("it is dark")
    if state.asleep:
        clauses.append("you are asleep")
    return clauses


def _place(dx: int, dy: int) -> str:
    parts = []
    if dx:
        parts.append(f"{abs(dx)} {'west' if dx < 0 else 'east'}")
    if dy:
        parts.append(f"{abs(dy)} {'north' if dy < 0 else 'south'}")
    return ", ".join(parts)


def _level(points: int) -> str:
    return next(level for level, bound in _K.levels.items() if points <= bound)


def _held_clause(item: str, count: int) -> str:
    if item in _K.needs:
        return f"{item}: {_level(count)}"
    return f"{spoken(item)}: {count}" if count else ""


def needed_items(goal: str, table_wood: int) -> Mapping[str, int]:
    """Items that must be held for a goal, where a crafting table costs so much wood."""
    return {"wood": table_wood} if goal == "place crafting table" else _K.goals[goal].has


def _most_needed(item: str) -> int:
    """The most of an item that a goal needs, in any protocol."""
    needed = (needed_items(goal, rules.table_wood) for goal in _K.goals for rules in _K.protocols.values())
    return max(items.get(item, 1) for items in needed)


def _detailed_held(item: str, count: int) -> str:
    if item in _K.needs:
        if count < _K.feels_below:
            return f"You feel {_K.feelings[item]}"
        return f"You feel {_K.tired}" if item == "energy" and count < _MOST_HELD else ""
    if not count:
        return ""
    most = _most_needed(item)
    amount = "" if most == 1 else f": {count}" if count < most else f": {most} or more"
    return f"You have in your inventory {spoken(item)}{amount}"


# Clause tables, so that captioning a frame is a few dozen look-ups.
WHERE = [[f"{thing}: {_place(*_OFFSETS[cell])}" for cell in _NEAR_TO_FAR] for thing in _K.things]
BESIDE = {side: [f"{side} of you: {thing}" for thing in _K.things] for side in _SIDES}
FACING = [f"you face {thing}" for thing in _K.things]
HELD = [[_held_clause(item, n) for n in range(_MOST_HELD + 1)] for item in _K.items]
LEVELS = [
    [f"{item}: {n} of {_MOST_HELD}" for n in range(_MOST_HELD + 1)] if item in _K.needs else row
    for item, row in zip(_K.items, HELD, strict=True)
]
LOOKS = [f"you look {side}" for side in _SIDES]
LIGHT = [f"daylight: {n} of {BRIGHTNESS}" for n in range(BRIGHTNESS)]
LAST_ACTION = [f"just now: {spoken(action)}" for action in constants.actions]
DETAILED_HELD = [[_detailed_held(item, n) for n in range(_MOST_HELD + 1)] for item in _K.items]


def _visible_names(state: CrafterState) -> frozenset[str]:
    """Names of all things in view, the player's own cell left out."""
    present = np.bincount(state.view.ravel()[CELLS], minlength=len(_K.things)) > 0
    return frozenset(name for name, there in zip(_K.things[1:], present[1:], strict=True) if there)


@functools.cache
def detailed_vocabulary() -> tuple[str, ...]:
    """Every clause that ``detailed_clauses`` can give, in its order."""
    names = sorted(set(_K.things[1:]) - _K.unmentioned)
    needs = len(_K.needs)
    return (
        *(f"You see {name}" for name in names),
        *(f"You are targeting {name}" for name in names),
        *dict.fromkeys(clause for row in DETAILED_HELD[needs:] for clause in row if clause),
        *dict.fromkeys(clause for row in DETAILED_HELD[:needs] for clause in row if clause),
        ASLEEP,
    )


@functools.cache
def paper_vocabulary() -> tuple[str, ...]:
    """Every clause that ``paper_clauses`` can give, in its order."""
    return _names_only(detailed_vocabulary())


@functools.cache
def spatial_vocabulary() -> tuple[str, ...]:
    """Every clause that ``spatial_clauses`` can give."""
    return _spatial_vocabulary(HELD)


@functools.cache
def full_vocabulary() -> tuple[str, ...]:
    """Every clause that ``full_clauses`` can give."""
    return (*_spatial_vocabulary(LEVELS), *LOOKS, *LIGHT, *LAST_ACTION)


def _spatial_vocabulary(held: Sequence[Sequence[str]]) -> tuple[str, ...]:
    clauses = [clause for row in WHERE[1:] for clause in row]
    clauses += [clause for row in BESIDE.values() for clause in row]
    clauses += FACING
    clauses += [clause for row in held for clause in row if clause]
    clauses += ["it is dark", "you are asleep"]
    return tuple(dict.fromkeys(clauses))


class CaptionStyle(NamedTuple):
    """A style of the caption that the agent observes."""

    clauses: Callable[[CrafterState], tuple[str, ...]]
    vocabulary: Callable[[], tuple[str, ...]]  # every clause that it can give
    most_clauses: int  # in one caption


CAPTIONS = {
    "paper": CaptionStyle(paper_clauses, paper_vocabulary, SPATIAL_CLAUSES),
    "spatial": CaptionStyle(spatial_clauses, spatial_vocabulary, SPATIAL_CLAUSES),
    "full": CaptionStyle(full_clauses, full_vocabulary, SPATIAL_CLAUSES + 3),
}


def to_sentence(clauses: Sequence[str]) -> str:
    """Joins clauses into text; neighbours with the same opening share it.

    >>> to_sentence(("You see cow", "You see tree", "You feel hungry"))
    'You see cow, tree. You feel hungry.'
    """
    sentences: list[str] = []
    opening = ""
    for clause in clauses:
        group = next((g for g in _GROUPS if clause.startswith(g + " ")), "")
        if group and group == opening:
            sentences[-1] += ", " + clause[len(group) + 1 :]
        else:
            sentences.append(clause)
        opening = group
    return "".join(f"{sentence}. " for sentence in sentences).rstrip()


_TARGETING = re.compile(r"(?:^| )You are targeting [^.]*\.")


def drop_target(caption: str) -> str:
    """The language model's caption without what the player faces, which changes with every turn.

    >>> drop_target("You see grass, tree. You are targeting tree. You feel hungry.")
    'You see grass, tree. You feel hungry.'
    """
    return _TARGETING.sub("", caption).lstrip()


def names_only(caption: str) -> str:
    """The language model's caption as the paper has it.

    >>> names_only("You see ripe plant. You have in your inventory wood: 2 or more. You are asleep.")
    'You see plant. You have in your inventory wood.'
    """
    clauses = itertools.chain.from_iterable(map(_clauses_of, caption.rstrip(".").split(". ")))
    return to_sentence(_names_only(clauses))


def clauses_of(caption: str) -> frozenset[str]:
    """Set of clauses of a language model's or a paper's caption: the inverse of ``to_sentence``.

    >>> sorted(clauses_of("You see grass, tree. You feel hungry."))
    ['You feel hungry', 'You see grass', 'You see tree']
    """
    return frozenset().union(*map(_clauses_of, caption.rstrip(".").split(". ")))


@functools.lru_cache(maxsize=2**14)
def _clauses_of(sentence: str) -> tuple[str, ...]:
    opening = next((group for group in _GROUPS if sentence.startswith(group + " ")), "")
    rest = sentence[len(opening) + 1 :] if opening else sentence
    return tuple(f"{opening} {name}".strip() for name in rest.split(", "))


# --- transition captions --------------------------------------------------------------------------


def describe_transition(before: CrafterState, after: CrafterState) -> tuple[str, ...]:
    """Events between two states: phrases for all that really happened; an empty tuple if nothing did.

    The game's counters are part of the state; each rises exactly when its effect came about (wood
    was gained, a creature died by the player's hand, something was placed, made or eaten, the player
    woke up rested), also where clamping hides the change in the inventory (drinking when full).
    """
    events = [
        _K.phrase_of[name]
        for name, was, now in zip(_K.achievements, before.counts, after.counts, strict=True)
        if now > was
    ]
    if after.asleep and not before.asleep:
        events.append("sleep")
    return tuple(events)


# --- the oracle's knowledge -------------------------------------------------------------------------


def possible_goals(state: CrafterState, table_wood: int) -> tuple[str, ...]:
    """Goals whose prerequisites hold in this state, in the order of ``crafter.yaml``.

    Args:
        state: the state asked about.
        table_wood: wood that a crafting table costs in this protocol.
    """
    held = tuple(min(n, _MOST_HELD) for n in state.inventory)
    return _possible(_visible_names(state), held, state.asleep, table_wood)


def needed_goals(state: CrafterState, table_wood: int) -> tuple[str, ...]:
    """Goals whose result is still needed for recipes that were not carried out in this episode.

    An item is needed if those recipes require more of it than is held; a thing (a crafting table), if all items for one of
    those recipes are held and the thing is not in view. Never oftener than all recipes together require: what is spent
    twice is not needed twice. But who holds the item that is hardest to get (iron) needs whatever that recipe lacks, however
    often it was got before: see :func:`_lacking`.

    Args:
        state: the state asked about.
        table_wood: wood that a crafting table costs in this protocol.
    """
    counts = dict(zip(_K.achievements, state.counts, strict=True))
    held = dict(zip(_K.items, state.inventory, strict=True))
    count_of = {goal: counts[name] for name, goal in _K.phrase_of.items()}
    items = {goal: needed_items(goal, table_wood) for goal in count_of}
    seen = _visible_names(state)
    needed = []
    for goal, result in _K.yields.items():
        if result in held:
            required = {other: items[other].get(result, 0) for other in count_of}
            missing = held[result] < sum(n for other, n in required.items() if not count_of[other])
        else:
            required = {other: int(result in _K.goals[other].sees) for other in count_of}
            missing = result not in seen and any(
                n and not count_of[other] and all(held[item] >= k for item, k in items[other].items())
                for other, n in required.items()
            )
        if missing and count_of[goal] < sum(required.values()):
            needed.append(goal)
    for goal, key in _K.keys.items():
        if held[key] and not count_of[goal]:
            needed += _lacking(goal, held, seen, table_wood)
    return tuple(goal for goal in _K.yields if goal in needed)


def _lacking(goal: str, held: Mapping[str, int], seen: frozenset[str], table_wood: int) -> list[str]:
    """What is missing to carry out a recipe here: items, also for the things of which none is in view, and the first of
    these things, once all for it and for the recipe is held.
    """
    recipe, sees = Counter(_K.goals[goal].has), _K.goals[goal].sees
    costs = {
        of: Counter(needed_items(of, table_wood)) for of, thing in _K.yields.items() if thing in sees - seen
    }
    wanted = sum(costs.values(), recipe)
    lacking = [of for of, item in _K.yields.items() if item in held and held[item] < wanted[item]]
    for of, cost in itertools.islice(costs.items(), 1):
        lacking += [of] if all(held[item] >= n for item, n in (recipe + cost).items()) else []
    return lacking


@functools.lru_cache(maxsize=2**14)
def _possible(
    seen: frozenset[str], inventory: tuple[int, ...], asleep: bool, table_wood: int
) -> tuple[str, ...]:
    held = dict(zip(_K.items, inventory, strict=True))

    def holds(goal: str, needed: Prerequisites) -> bool:
        return (
            needed.sees <= seen
            and all(held[item] >= n for item, n in needed_items(goal, table_wood).items())
            and all(held[need] < n for need, n in needed.below.items())
            and needed.asleep in (None, asleep)
        )

    return tuple(goal for goal, needed in _K.goals.items() if holds(goal, needed))
