"""``envs/crafter/captions.py`` compiled: captions, events and possible goals of worlds as numbers.

An observation holds ids of clauses. The caption that language models read, events and possible goals are bits of
integers, which ``words.py`` turns into text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from crafter import constants

from envs.crafter.actions import Action
from envs.crafter.captions import (
    ASLEEP,
    BESIDE,
    BRIGHTNESS,
    CELLS,
    DETAILED_HELD,
    FACING,
    HELD,
    LAST_ACTION,
    LEVELS,
    LIGHT,
    LOOKS,
    WHERE,
    detailed_vocabulary,
    full_vocabulary,
    needed_items,
    paper_clause,
    paper_vocabulary,
    spatial_vocabulary,
)
from envs.crafter.compiled.rules import daylight, step_world
from envs.crafter.compiled.world import AREA, ARROW, HEALTH, NOOP, PLANT, RIPE
from envs.crafter.jit import jit
from envs.crafter.knowledge import Protocol, knowledge
from envs.crafter.worldgen import COW, SKELETON, ZOMBIE

_K = knowledge()
_THINGS = {name: i for i, name in enumerate(_K.things)}
_WIDTH, _HEIGHT = _K.view
_LEFT, _UP = _WIDTH // 2, _HEIGHT // 2
_NEEDS, _ITEMS, _GOALS = len(_K.needs), len(_K.items), len(_K.goals)
_DARK_BELOW = _K.dark_below
_PLANT, _RIPE_PLANT = _THINGS["plant"], _THINGS["ripe plant"]
# Cells from near to far as offsets, and thing ids by kind of object.
_NEAR_X, _NEAR_Y = CELLS // _HEIGHT - _LEFT, CELLS % _HEIGHT - _UP
_THING_OF = np.zeros(16, np.int64)
for _kind, _name in zip(
    (COW, ZOMBIE, SKELETON, ARROW, PLANT), ("cow", "zombie", "skeleton", "arrow", "plant")
):
    _THING_OF[_kind] = _THINGS[_name]

# Clauses as ids into the environment's vocabulary; 0 for none. The two vocabularies begin alike.
_id_of = {clause: i for i, clause in enumerate(("", *spatial_vocabulary()))}
_full_id_of = {clause: i for i, clause in enumerate(("", *full_vocabulary()))}
_ids = np.vectorize(lambda clause: _id_of.get(clause, 0), otypes=[np.int16])
_full_ids = np.vectorize(lambda clause: _full_id_of.get(clause, 0), otypes=[np.int16])
_WHERE = _ids(WHERE)  # (things, cells near to far)
_WEST, _EAST, _NORTH, _SOUTH = _ids(list(BESIDE.values()))  # each (things,)
_FACING = _ids(FACING)  # (things,)
_HELD = _ids(HELD)  # (items, 10)
_DARK, _ASLEEP = _ids(["it is dark", "you are asleep"])
_FULL_HELD = _full_ids(LEVELS)  # (items, 10)
_FULL_DARK, _FULL_ASLEEP = _full_ids(["it is dark", "you are asleep"])
_LOOKS_WEST, _LOOKS_EAST, _LOOKS_NORTH, _LOOKS_SOUTH = _full_ids(LOOKS)
_LIGHT = _full_ids(LIGHT)  # (levels,)
_LAST_ACTION = _full_ids(LAST_ACTION)  # (actions,)
PAPER_STYLE, SPATIAL_STYLE, FULL_STYLE = range(3)
STYLES = {"paper": PAPER_STYLE, "spatial": SPATIAL_STYLE, "full": FULL_STYLE}

# The language model's caption: bit n of an integer is clause n of its vocabulary, in the captioner's order; 0 for none.
DETAILED = detailed_vocabulary()
# The paper's caption from it: each clause as an id into the environment's vocabulary; 0 for none.
_paper_ids = {clause: i for i, clause in enumerate(("", *paper_vocabulary()))}
_PAPER = np.array([_paper_ids[paper_clause(clause)] for clause in DETAILED], np.int16)


def _bits(clauses: Iterable[str]) -> np.ndarray:
    return np.array([1 << DETAILED.index(c) if c in DETAILED else 0 for c in clauses], np.int64)


_SEE = _bits(f"You see {name}" for name in _K.things)  # (things,)
_TARGET = _bits(f"You are targeting {name}" for name in _K.things)  # (things,)
_DETAILED_HELD = np.stack([_bits(row) for row in DETAILED_HELD])  # (items, 10)
(_DETAILED_ASLEEP,) = _bits([ASLEEP])

# Prerequisites of goals, one row for each goal; what must be held depends on the protocol.
_SEES = np.array([sum(1 << _THINGS[name] for name in goal.sees) for goal in _K.goals.values()], np.int64)
_BELOW = np.array([[goal.below.get(item, 99) for item in _K.items] for goal in _K.goals.values()])
_yields = [_K.yields.get(goal) for goal in _K.goals]
_ITEM = np.array(
    [_K.items.index(result) if result in _K.items else -1 for result in _yields]
)  # that is given, or -1
_THING = np.array([-1 if result is None or result in _K.items else _THINGS[result] for result in _yields])
_KEY = np.array(
    [_K.items.index(_K.keys[goal]) if goal in _K.keys else -1 for goal in _K.goals]
)  # items, or -1
_goal_counts = {goal: _K.achievements.index(name) for name, goal in _K.phrase_of.items()}
_COUNTS = np.array([_goal_counts.get(goal, -1) for goal in _K.goals])  # achievements, or -1
_AWAKE_OR_ASLEEP = np.array([-1 if g.asleep is None else g.asleep for g in _K.goals.values()])  # -1: either


class Rules(NamedTuple):
    """Rules of a protocol with an action space and a caption style, as numbers."""

    native: np.ndarray  # (actions,) index into the package's actions
    target: np.ndarray  # (actions,) bits of the faced things without which nothing is done, or 0
    has: np.ndarray  # (goals, items) what must be held
    one_hit: bool
    table_wood: int
    health_reward: bool
    style: int  # of the caption that the agent observes, see STYLES


def make_rules(protocol: Protocol, space: Sequence[Action], caption: str) -> Rules:
    """Rules of a protocol with an action space and a caption style."""
    has = [needed_items(goal, protocol.table_wood) for goal in _K.goals]
    targets = [
        [action.target, "ripe plant"] if action.target == "plant" else [action.target] for action in space
    ]
    return Rules(
        native=np.array([constants.actions.index(action.native) for action in space]),
        target=np.array([_bits(f"You are targeting {name}" for name in names).sum() for names in targets]),
        has=np.array([[items.get(item, 0) for item in _K.items] for items in has]),
        one_hit=protocol.one_hit,
        table_wood=protocol.table_wood,
        health_reward=protocol.health_reward,
        style=STYLES[caption],
    )


class StepOutputs(NamedTuple):
    """Outputs of the compiled code for each world: its present state, and its last frame."""

    observation: np.ndarray  # (n, clauses) int16
    caption: np.ndarray  # (n,) int64: the language model's caption, in bits (``DETAILED``)
    possible: np.ndarray  # (n,) int64: bits of goals
    needed: np.ndarray  # (n,) int64: bits of goals
    events: np.ndarray  # (n,) int64: bits of achievements, and one for falling asleep
    reward: np.ndarray  # (n,) float64: of the environment
    dead: np.ndarray  # (n,) bool


def make_outputs(n: int, clauses: int) -> StepOutputs:
    """Outputs of ``n`` worlds with captions of so many clauses at most, empty."""
    caption, possible, needed, events = (np.zeros(n, np.int64) for _ in range(4))
    observation = np.zeros((n, clauses), np.int16)
    return StepOutputs(observation, caption, possible, needed, events, np.zeros(n), np.zeros(n, np.bool_))


# --- compiled -----------------------------------------------------------------------------------------------


@jit
def view_of(worlds, i, view):
    """Writes the thing ids around the player of world ``i``, ``(9, 7)``; 0 outside the world."""
    w = worlds[i]
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
def _spatial(w, view, first, full, out):
    """``captions.spatial_clauses`` and ``captions.full_clauses``"""
    n = 0
    for thing in range(1, len(first)):
        if first[thing] >= 0:
            out[n] = _WHERE[thing, first[thing]]
            n += 1
    out[n] = _WEST[view[_LEFT - 1, _UP]]
    out[n + 1] = _EAST[view[_LEFT + 1, _UP]]
    out[n + 2] = _NORTH[view[_LEFT, _UP - 1]]
    out[n + 3] = _SOUTH[view[_LEFT, _UP + 1]]
    out[n + 4] = _FACING[view[_LEFT + w.facing[0], _UP + w.facing[1]]]
    n += 5
    for item in range(_ITEMS):
        if w.inventory[item] or item < _NEEDS:
            held = _FULL_HELD if full else _HELD
            out[n] = held[item, w.inventory[item]]
            n += 1
    light = daylight(w.step)
    if light < _DARK_BELOW:
        out[n] = _FULL_DARK if full else _DARK
        n += 1
    if w.sleeping:
        out[n] = _FULL_ASLEEP if full else _ASLEEP
        n += 1
    if full:
        if w.facing[0]:
            out[n] = _LOOKS_WEST if w.facing[0] < 0 else _LOOKS_EAST
        else:
            out[n] = _LOOKS_NORTH if w.facing[1] < 0 else _LOOKS_SOUTH
        out[n + 1] = _LIGHT[min(BRIGHTNESS - 1, int(BRIGHTNESS * light))]
        out[n + 2] = _LAST_ACTION[w.last_action]
        n += 3
    out[n:] = 0


@jit
def _detailed(w, first, faced):
    """``captions.detailed_clauses``, as bits."""
    bits = _TARGET[faced]
    for thing in range(len(first)):
        if first[thing] >= 0:
            bits |= _SEE[thing]
    for item in range(_ITEMS):
        bits |= _DETAILED_HELD[item, w.inventory[item]]
    if w.sleeping:
        bits |= _DETAILED_ASLEEP
    return bits


@jit
def _paper(bits, out):
    """``captions.paper_clauses``, as ids, of a language model's caption."""
    n = 0
    for clause in range(len(_PAPER)):
        # Clauses that are one in the paper's caption are neighbours.
        if bits >> clause & 1 and _PAPER[clause] and not (n and out[n - 1] == _PAPER[clause]):
            out[n] = _PAPER[clause]
            n += 1
    out[n:] = 0


@jit
def _possible(w, seen, has):
    """``captions.possible_goals`` as bits."""
    bits = np.int64(0)
    for goal in range(_GOALS):
        asleep = _AWAKE_OR_ASLEEP[goal]
        holds = (_SEES[goal] & ~seen) == 0 and (asleep < 0 or asleep == w.sleeping)
        if holds:
            for item in range(_ITEMS):
                held = w.inventory[item]
                if held < has[goal, item] or held >= _BELOW[goal, item]:
                    holds = False
                    break
        if holds:
            bits |= np.int64(1) << goal
    return bits


@jit
def _needed(w, seen, has):
    """``captions.needed_goals`` as bits."""
    bits = np.int64(0)
    for goal in range(_GOALS):
        item, thing = _ITEM[goal], _THING[goal]
        if item < 0 and thing < 0:
            continue
        required, missing, wanted = 0, 0, False
        for other in range(_GOALS):
            if _COUNTS[other] < 0:
                continue
            done = w.counts[_COUNTS[other]] > 0
            if item >= 0:
                required += has[other, item]
                missing += 0 if done else has[other, item]
            elif _SEES[other] >> thing & 1:
                required += 1
                wanted |= not done and _holds(w, has[other])
        if item >= 0:
            wanted = w.inventory[item] < missing
        else:
            wanted &= (seen >> thing & 1) == 0
        if wanted and w.counts[_COUNTS[goal]] < required:
            bits |= np.int64(1) << goal
    for goal in range(_GOALS):
        if _KEY[goal] >= 0 and w.inventory[_KEY[goal]] and w.counts[_COUNTS[goal]] == 0:
            bits |= _lacking(w, goal, seen, has)
    return bits


@jit
def _lacking(w, goal, seen, has):
    """``captions._lacking`` as bits."""
    bits = np.int64(0)
    wanted = has[goal].copy()
    first = True
    for of in range(_GOALS):
        if _THING[of] < 0 or not _SEES[goal] & ~seen & (np.int64(1) << _THING[of]):
            continue
        wanted += has[of]
        if first and _holds(w, has[goal] + has[of]):
            bits |= np.int64(1) << of
        first = False
    for of in range(_GOALS):
        if _ITEM[of] >= 0 and w.inventory[_ITEM[of]] < wanted[_ITEM[of]]:
            bits |= np.int64(1) << of
    return bits


@jit
def _holds(w, needed):
    missing = 0
    for item in range(_ITEMS):
        missing += w.inventory[item] < needed[item]
    return missing == 0


@jit
def _observe(worlds, i, rules, outputs):
    w, view = worlds[i], np.empty((_WIDTH, _HEIGHT), np.uint8)
    view_of(worlds, i, view)
    first = np.full(_RIPE_PLANT + 1, -1, np.int64)
    seen = np.int64(0)
    for rank in range(len(_NEAR_X)):
        thing = view[_LEFT + _NEAR_X[rank], _UP + _NEAR_Y[rank]]
        if first[thing] < 0:
            first[thing] = rank
            seen |= np.int64(1) << thing
    outputs.caption[i] = _detailed(w, first, view[_LEFT + w.facing[0], _UP + w.facing[1]])
    if rules.style == PAPER_STYLE:
        _paper(outputs.caption[i], outputs.observation[i])
    else:
        _spatial(w, view, first, rules.style == FULL_STYLE, outputs.observation[i])
    outputs.possible[i] = _possible(w, seen, rules.has)
    outputs.needed[i] = _needed(w, seen, rules.has)


@jit
def observe(worlds, first, last, rules, outputs):
    """Describes the present states of the worlds from the first to before the last."""
    for i in range(first, last):
        _observe(worlds, i, rules, outputs)


@jit
def play(worlds, chosen, rules, outputs):
    """Plays one frame in every world, and describes it."""
    before = np.empty(len(worlds[0].counts), np.int32)
    for i in range(len(worlds)):
        w = worlds[i]
        action = rules.native[chosen[i]]
        target = rules.target[chosen[i]]
        if target and not outputs.caption[i] & target:
            action = NOOP
        w.last_action = action
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
        _observe(worlds, i, rules, outputs)
