"""What ``captions.py`` and ``actions.py`` say of a world, compiled: captions, events and goals as numbers.

Clauses are ids into the environment's vocabulary; what a language model's caption depends on is a handful of bits,
which are put into words only where somebody reads them (``paper_words``).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from crafter import constants

from envs.crafter.actions import Action
from envs.crafter.captions import BESIDE, CELLS, FACING, HELD, WHERE, spoken, to_sentence
from envs.crafter.compiled.rules import daylight, start_world, step_world
from envs.crafter.compiled.world import AREA, ARROW, HEALTH, ITEMS, NOOP, PLANT, RIPE
from envs.crafter.env import MAX_CLAUSES
from envs.crafter.knowledge import knowledge
from envs.crafter.worldgen import COW, SKELETON, ZOMBIE

_K = knowledge()
_THINGS = {name: i for i, name in enumerate(_K.things)}
_WIDTH, _HEIGHT = _K.view
_LEFT, _UP = _WIDTH // 2, _HEIGHT // 2
_N_GOALS = len(_K.goals)
_PLANT, _RIPE_PLANT = _THINGS["plant"], _THINGS["ripe plant"]
_NEEDS = len(_K.needs)
# Cells from near to far as offsets, and thing ids by kind of object.
_NEAR_X = np.array([cell // _HEIGHT - _LEFT for cell in CELLS], np.int64)
_NEAR_Y = np.array([cell % _HEIGHT - _UP for cell in CELLS], np.int64)
_THING_OF = np.zeros(16, np.int64)
for _kind, _name in (
    (COW, "cow"),
    (ZOMBIE, "zombie"),
    (SKELETON, "skeleton"),
    (ARROW, "arrow"),
    (PLANT, "plant"),
):
    _THING_OF[_kind] = _THINGS[_name]
# Where things stand in the bits of a caption: things seen from 1 on, the thing faced, items held and needs felt.
FACED_BIT, ITEM_BIT = 20, 26


# --- tables: what the captioners of captions.py say, as clause ids -----------------------------------------


class Tables(NamedTuple):
    """A captioner as numbers. Ids are into the environment's vocabulary; 0 says nothing."""

    spatial: bool
    where: np.ndarray  # (things, cells near to far)
    beside: np.ndarray  # (4, things), west, east, north, south
    facing: np.ndarray  # (things,)
    held: np.ndarray  # (items, 10)
    dark: int
    asleep: int
    see_order: np.ndarray  # things by name, those that the paper's caption mentions
    see: np.ndarray  # (things,)
    target: np.ndarray  # (things,)
    have: np.ndarray  # (items,)
    feel: np.ndarray  # (needs,)


def make_tables(caption: str, vocabulary: Sequence[str]) -> Tables:
    ids = {clause: i for i, clause in enumerate(vocabulary)}

    def table(clauses: Any) -> np.ndarray:
        if isinstance(clauses, str):
            return np.int16(ids.get(clauses, 0))
        return np.array([table(part) for part in clauses], np.int16)

    mentioned = [t for t in _K.things[1:] if t not in _K.unmentioned and t != "ripe plant"]
    told = ["plant" if t == "ripe plant" else t for t in _K.things]
    told = [t if t in mentioned else "" for t in told]
    return Tables(
        spatial=caption == "spatial",
        where=table(WHERE),
        beside=table(list(BESIDE.values())),
        facing=table(FACING),
        held=table(HELD),
        dark=ids.get("it is dark", 0),
        asleep=ids.get("you are asleep", 0),
        see_order=np.array([_THINGS[name] for name in sorted(mentioned)], np.int64),
        see=table([f"You see {name}" for name in told]),
        target=table([f"You are targeting {name}" for name in told]),
        have=table([f"You have in your inventory {spoken(item)}" for item in ITEMS]),
        feel=table([f"You feel {_K.feelings[need]}" for need in _K.needs]),
    )


class Goals(NamedTuple):
    """Prerequisites as numbers, one row for each goal."""

    sees: np.ndarray  # (goals,) bits of things
    has: np.ndarray  # (goals, items)
    below: np.ndarray  # (goals, items); large where it does not matter
    asleep: np.ndarray  # (goals,) 0, 1, or -1 where it does not matter


def make_goals(table_wood: int) -> Goals:
    rows = list(_K.goals.items())
    has, below = np.zeros((len(rows), len(ITEMS)), np.int32), np.full((len(rows), len(ITEMS)), 99, np.int32)
    for row, (goal, needed) in enumerate(rows):
        for item, n in needed.has.items():
            has[row, ITEMS.index(item)] = table_wood if goal == "place crafting table" else n
        for need, n in needed.below.items():
            below[row, ITEMS.index(need)] = n
    return Goals(
        sees=np.array([sum(1 << _THINGS[t] for t in needed.sees) for _, needed in rows], np.int64),
        has=has,
        below=below,
        asleep=np.array([-1 if needed.asleep is None else needed.asleep for _, needed in rows], np.int8),
    )


class Actions(NamedTuple):
    """An action space as numbers, one row for each action."""

    native: np.ndarray  # index into the package's actions
    target: np.ndarray  # thing that must be faced, or -1


def make_actions(space: Sequence[Action]) -> Actions:
    return Actions(
        native=np.array([constants.actions.index(action.native) for action in space], np.int64),
        target=np.array([-1 if a.target is None else _THINGS[a.target] for a in space], np.int64),
    )


class Moment(NamedTuple):
    """What can be told of each world now. Read by Python; written by ``look``."""

    observation: np.ndarray  # (n, MAX_CLAUSES) int16
    caption: np.ndarray  # (n,) int64: all that the paper's caption depends on, in bits
    possible: np.ndarray  # (n,) int64: bits of goals
    faced: np.ndarray  # (n,) int64: the faced thing
    events: np.ndarray  # (n,) int64: bits of achievements, and one for falling asleep
    reward: np.ndarray  # (n,) float64: of the environment
    dead: np.ndarray  # (n,) bool


def make_moment(n: int) -> Moment:
    integers = [np.zeros(n, np.int64) for _ in range(4)]
    caption, possible, faced, events = integers
    observation = np.zeros((n, MAX_CLAUSES), np.int16)
    return Moment(observation, caption, possible, faced, events, np.zeros(n), np.zeros(n, np.bool_))


# --- compiled -----------------------------------------------------------------------------------------------


@jit
def _view(w, view):
    """Thing ids around the player, ``(9, 7)``; 0 outside the world."""
    for i in range(_WIDTH):
        for j in range(_HEIGHT):
            x, y = w.x[0] + i - _LEFT, w.y[0] + j - _UP
            thing = 0
            if 0 <= x < AREA and 0 <= y < AREA:
                thing = w.material[x, y]
                k = w.occupant[x, y] - 1
                if k > 0:
                    thing = _THING_OF[w.kind[k]]
                    if thing == _PLANT and w.timer[k] > RIPE:
                        thing = _RIPE_PLANT
            view[i, j] = thing


@jit
def _spatial(w, view, first, tables, dark_below, out):
    """``captions.spatial_clauses``"""
    n = 0
    for thing in range(1, len(first)):
        if first[thing] >= 0:
            out[n] = tables.where[thing, first[thing]]
            n += 1
    out[n] = tables.beside[0, view[_LEFT - 1, _UP]]
    out[n + 1] = tables.beside[1, view[_LEFT + 1, _UP]]
    out[n + 2] = tables.beside[2, view[_LEFT, _UP - 1]]
    out[n + 3] = tables.beside[3, view[_LEFT, _UP + 1]]
    out[n + 4] = tables.facing[view[_LEFT + w.facing[0], _UP + w.facing[1]]]
    n += 5
    for item in range(len(w.inventory)):
        if w.inventory[item] or item < _NEEDS:
            out[n] = tables.held[item, w.inventory[item]]
            n += 1
    if daylight(w.step) < dark_below:
        out[n] = tables.dark
        n += 1
    if w.sleeping:
        out[n] = tables.asleep
        n += 1
    out[n:] = 0


@jit
def _paper(seen, faced, w, tables, feels_below, out):
    """``captions.paper_clauses``, and in bits all that they depend on."""
    n = 0
    bits = np.int64(0)
    for thing in tables.see_order:
        visible = (seen >> thing) & 1
        if thing == _PLANT:
            visible |= (seen >> _RIPE_PLANT) & 1
        if visible:
            bits |= np.int64(1) << thing
            if not tables.spatial:
                out[n] = tables.see[thing]
                n += 1
    if not tables.spatial and tables.target[faced]:
        out[n] = tables.target[faced]
        n += 1
    bits |= (np.int64(_PLANT) if faced == _RIPE_PLANT else np.int64(faced)) << FACED_BIT
    for item in range(_NEEDS, len(w.inventory)):
        if w.inventory[item]:
            bits |= np.int64(1) << (ITEM_BIT + item)
            if not tables.spatial:
                out[n] = tables.have[item]
                n += 1
    for need in range(_NEEDS):
        if w.inventory[need] < feels_below:
            bits |= np.int64(1) << (ITEM_BIT + need)
            if not tables.spatial:
                out[n] = tables.feel[need]
                n += 1
    if not tables.spatial:
        out[n:] = 0
    return bits


@jit
def _possible(w, seen, goals):
    """``captions.possible_goals`` as bits."""
    bits = np.int64(0)
    for goal in range(_N_GOALS):
        asleep = goals.asleep[goal]
        holds = (goals.sees[goal] & ~seen) == 0 and (asleep < 0 or asleep == w.sleeping)
        if holds:
            for item in range(len(w.inventory)):
                held = w.inventory[item]
                if held < goals.has[goal, item] or held >= goals.below[goal, item]:
                    holds = False
                    break
        if holds:
            bits |= np.int64(1) << goal
    return bits


@jit
def _look(w, i, tables, goals, dark_below, feels_below, moment):
    view = np.empty((_WIDTH, _HEIGHT), np.int64)
    _view(w, view)
    first = np.full(_RIPE_PLANT + 1, -1, np.int64)
    seen = np.int64(0)
    for rank in range(len(_NEAR_X)):
        thing = view[_LEFT + _NEAR_X[rank], _UP + _NEAR_Y[rank]]
        if first[thing] < 0:
            first[thing] = rank
            seen |= np.int64(1) << thing
    faced = view[_LEFT + w.facing[0], _UP + w.facing[1]]
    out = moment.observation[i]
    moment.caption[i] = _paper(seen, faced, w, tables, feels_below, out)
    if tables.spatial:
        _spatial(w, view, first, tables, dark_below, out)
    moment.possible[i] = _possible(w, seen, goals)
    moment.faced[i] = faced


@jit
def look(worlds, first, last, tables, goals, dark_below, feels_below, moment):
    """Describes the worlds from the first to before the last."""
    for i in range(first, last):
        _look(worlds[i], i, tables, goals, dark_below, feels_below, moment)


@jit
def view_of(worlds, i, view):
    """Writes the view of world ``i``, ``(9, 7)`` thing ids."""
    _view(worlds[i], view)


@jit
def start(worlds, i, creatures):
    """Starts an episode in a world whose map has been generated."""
    start_world(worlds[i], creatures)


@jit
def play(
    worlds,
    chosen,
    actions,
    one_hit,
    table_wood,
    health_reward,
    tables,
    goals,
    dark_below,
    feels_below,
    moment,
):
    """One frame in every world: acts, and describes what came of it."""
    before = np.empty(len(worlds[0].counts), np.int32)
    for i in range(len(worlds)):
        w = worlds[i]
        action = actions.native[chosen[i]]
        target = actions.target[chosen[i]]
        faced = _PLANT if moment.faced[i] == _RIPE_PLANT else moment.faced[i]
        if target >= 0 and faced != target:
            action = NOOP
        before[:] = w.counts
        health, asleep = w.inventory[HEALTH], w.sleeping
        step_world(w, action, one_hit, table_wood)
        events, unlocked = np.int64(0), False
        for a in range(len(before)):
            if w.counts[a] > before[a]:
                events |= np.int64(1) << a
                unlocked |= before[a] == 0
        if w.sleeping and not asleep:
            events |= np.int64(1) << len(before)
        moment.events[i] = events
        reward = (w.inventory[HEALTH] - health) / 10 if health_reward else 0.0
        moment.reward[i] = reward + 1.0 if unlocked else reward
        moment.dead[i] = w.inventory[HEALTH] <= 0
        _look(w, i, tables, goals, dark_below, feels_below, moment)


def paper_words(bits: int) -> tuple[str, ...]:
    """``captions.paper_clauses`` from the bits that ``_paper`` wrote."""
    seen = sorted(_K.things[thing] for thing in range(1, FACED_BIT) if bits >> thing & 1)
    faced = _K.things[bits >> FACED_BIT & 0b111111]
    items = list(enumerate(ITEMS))
    clauses = [f"You see {name}" for name in seen]
    if faced != "outside" and faced not in _K.unmentioned:
        clauses.append(f"You are targeting {faced}")
    told = [item for i, item in items if bits >> (ITEM_BIT + i) & 1]
    clauses += [f"You have in your inventory {spoken(item)}" for item in told if item not in _K.needs]
    clauses += [f"You feel {_K.feelings[need]}" for need in _K.feelings if need in told]
    return tuple(clauses)


_SEEN = (1 << FACED_BIT) - 1
_FACED = 0b111111 << FACED_BIT
_HELD = sum(1 << ITEM_BIT + i for i, item in enumerate(ITEMS) if item not in _K.needs)
_FELT = sum(1 << ITEM_BIT + i for i, item in enumerate(ITEMS) if item in _K.needs)


def paper_caption(bits: int) -> str:
    """``to_sentence`` of ``paper_words``, put together from sentences that are each made once."""
    sentences = (_paper_sentence(bits & part) for part in (_SEEN, _FACED, _HELD, _FELT))
    return " ".join(sentence for sentence in sentences if sentence)


@functools.lru_cache(maxsize=2**14)
def _paper_sentence(bits: int) -> str:
    return to_sentence(paper_words(bits))
