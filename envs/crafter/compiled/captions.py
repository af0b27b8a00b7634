"""``envs/crafter/captions.py`` compiled: captions, events and possible goals of worlds as numbers.

Clauses are ids into the environment's vocabulary. All that a language model's caption depends on is packed into the bits
of one integer; ``words.py`` turns such integers into text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from crafter import constants

from envs.crafter.actions import Action
from envs.crafter.captions import BESIDE, CELLS, FACING, HELD, MAX_CLAUSES, WHERE, spoken
from envs.crafter.compiled.rules import daylight, start_world, step_world
from envs.crafter.compiled.world import AREA, ARROW, HEALTH, ITEMS, NOOP, PLANT, RIPE
from envs.crafter.jit import jit
from envs.crafter.knowledge import Protocol, knowledge
from envs.crafter.worldgen import COW, SKELETON, ZOMBIE

_K = knowledge()
_THINGS = {name: i for i, name in enumerate(_K.things)}
_WIDTH, _HEIGHT = _K.view
_LEFT, _UP = _WIDTH // 2, _HEIGHT // 2
_N_GOALS = len(_K.goals)
_DARK_BELOW, _FEELS_BELOW = _K.dark_below, _K.feels_below
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
# Bits of a caption: things seen from bit 1 on, the id of the faced thing, items held and needs felt.
FACED_BIT, ITEM_BIT = 20, 26


# --- tables for the compiled code -----------------------------------------


class Tables(NamedTuple):
    """Clauses of a caption style as ids into the environment's vocabulary; 0 for none."""

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
    """Tables of a caption style."""
    ids = {clause: i for i, clause in enumerate(vocabulary)}

    def table(clauses: Any) -> np.ndarray:
        if isinstance(clauses, str):
            return np.int16(ids.get(clauses, 0))
        return np.array([table(part) for part in clauses], np.int16)

    mentioned = [t for t in _K.things[1:] if t not in _K.unmentioned and t != "ripe plant"]
    names = ["plant" if t == "ripe plant" else t for t in _K.things]
    names = [t if t in mentioned else "" for t in names]
    return Tables(
        spatial=caption == "spatial",
        where=table(WHERE),
        beside=table(list(BESIDE.values())),
        facing=table(FACING),
        held=table(HELD),
        dark=ids.get("it is dark", 0),
        asleep=ids.get("you are asleep", 0),
        see_order=np.array([_THINGS[name] for name in sorted(mentioned)], np.int64),
        see=table([f"You see {name}" for name in names]),
        target=table([f"You are targeting {name}" for name in names]),
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
    """Prerequisites of all goals, in a protocol in which a table costs so much wood."""
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
    """Rows of an action space."""
    return Actions(
        native=np.array([constants.actions.index(action.native) for action in space], np.int64),
        target=np.array([-1 if a.target is None else _THINGS[a.target] for a in space], np.int64),
    )


class Rules(NamedTuple):
    """Rules of a protocol with an action space, as numbers."""

    actions: Actions
    goals: Goals
    one_hit: bool
    table_wood: int
    health_reward: bool


def make_rules(protocol: Protocol, space: Sequence[Action]) -> Rules:
    """Rules of a protocol with an action space."""
    return Rules(
        actions=make_actions(space),
        goals=make_goals(protocol.table_wood),
        one_hit=protocol.one_hit,
        table_wood=protocol.table_wood,
        health_reward=protocol.health_reward,
    )


class StepOutputs(NamedTuple):
    """Outputs of the compiled code for each world: its present state, and its last frame."""

    observation: np.ndarray  # (n, MAX_CLAUSES) int16
    caption: np.ndarray  # (n,) int64: all that the paper's caption depends on, in bits
    possible: np.ndarray  # (n,) int64: bits of goals
    faced: np.ndarray  # (n,) int64: the faced thing
    events: np.ndarray  # (n,) int64: bits of achievements, and one for falling asleep
    reward: np.ndarray  # (n,) float64: of the environment
    dead: np.ndarray  # (n,) bool


def make_outputs(n: int) -> StepOutputs:
    """Outputs of ``n`` worlds, empty."""
    caption, possible, faced, events = (np.zeros(n, np.int64) for _ in range(4))
    observation = np.zeros((n, MAX_CLAUSES), np.int16)
    return StepOutputs(observation, caption, possible, faced, events, np.zeros(n), np.zeros(n, np.bool_))


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
def _spatial(w, view, first, tables, out):
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
    if daylight(w.step) < _DARK_BELOW:
        out[n] = tables.dark
        n += 1
    if w.sleeping:
        out[n] = tables.asleep
        n += 1
    out[n:] = 0


@jit
def _paper(seen, faced, w, tables, out):
    """``captions.paper_clauses``; returns all that they depend on, in bits."""
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
        if w.inventory[need] < _FEELS_BELOW:
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
def _observe(w, i, rules, tables, outputs):
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
    out = outputs.observation[i]
    outputs.caption[i] = _paper(seen, faced, w, tables, out)
    if tables.spatial:
        _spatial(w, view, first, tables, out)
    outputs.possible[i] = _possible(w, seen, rules.goals)
    outputs.faced[i] = faced


@jit
def observe(worlds, first, last, rules, tables, outputs):
    """Describes the present states of the worlds from the first to before the last."""
    for i in range(first, last):
        _observe(worlds[i], i, rules, tables, outputs)


@jit
def view_of(worlds, i, view):
    """Writes the view of world ``i``, ``(9, 7)`` thing ids."""
    _view(worlds[i], view)


@jit
def start(worlds, i, creatures):
    """Starts an episode in a world whose map has been generated."""
    start_world(worlds[i], creatures)


@jit
def play(worlds, chosen, rules, tables, outputs):
    """Plays one frame in every world, and describes it."""
    before = np.empty(len(worlds[0].counts), np.int32)
    for i in range(len(worlds)):
        w = worlds[i]
        action = rules.actions.native[chosen[i]]
        target = rules.actions.target[chosen[i]]
        faced = _PLANT if outputs.faced[i] == _RIPE_PLANT else outputs.faced[i]
        if target >= 0 and faced != target:
            action = NOOP
        before[:] = w.counts
        health, asleep = w.inventory[HEALTH], w.sleeping
        step_world(w, action, rules.one_hit, rules.table_wood)
        events, unlocked = np.int64(0), False
        for a in range(len(before)):
            if w.counts[a] > before[a]:
                events |= np.int64(1) << a
                unlocked |= before[a] == 0
        if w.sleeping and not asleep:
            events |= np.int64(1) << len(before)
        outputs.events[i] = events
        reward = (w.inventory[HEALTH] - health) / 10 if rules.health_reward else 0.0
        outputs.reward[i] = reward + 1.0 if unlocked else reward
        outputs.dead[i] = w.inventory[HEALTH] <= 0
        _observe(w, i, rules, tables, outputs)
