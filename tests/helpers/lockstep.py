"""Plays episodes in the compiled worlds and in the package's at once, and compares every field at every frame.

The test suite plays a few; ``python -m tests.helpers.lockstep --episodes 100`` plays that many of each policy and protocol,
compares every new world with that of the package's own world generation, and prints what it has compared.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import tyro
from crafter import constants, engine, objects
from crafter import worldgen as package_worldgen

from envs.crafter import random_numbers, worldgen
from envs.crafter.compiled import CompiledCrafter
from envs.crafter.compiled import world as rules
from envs.crafter.env import CrafterTextEnv

KINDS = {
    objects.Player: rules.PLAYER,
    objects.Cow: worldgen.COW,
    objects.Zombie: worldgen.ZOMBIE,
    objects.Skeleton: worldgen.SKELETON,
    objects.Arrow: rules.ARROW,
    objects.Plant: rules.PLANT,
}
TIMERS = {objects.Zombie: "cooldown", objects.Skeleton: "reload", objects.Plant: "grown"}


def assert_same_step(wanted, found):
    """A step of one vectorised environment equals that of another."""
    for a, b in zip(wanted[:3], found[:3], strict=True):
        assert a.tolist() == b.tolist()
    for a, b in zip(wanted[3], found[3], strict=True):
        assert (a["situation"], a["events"]) == (b["situation"], b["events"])
        assert a.get("success") == b.get("success")


def assert_same_world(game, w):
    """Every field of the package's game equals that of a compiled world."""
    world, player = game._world, game._player
    assert (world._mat_map == w["material"]).all()
    assert tuple(player.inventory.values()) == tuple(w["inventory"])
    assert tuple(player.achievements.values()) == tuple(w["counts"])
    assert (player.sleeping, *player.facing) == (w["sleeping"], *w["facing"])
    for name in ("hunger", "thirst", "fatigue", "recover", "last_health"):
        assert getattr(player, f"_{name}") == w[name], name
    assert game._step == w["step"]
    assert [_key(chunk) for chunk in world._chunks] == w["chunk_order"][: w["chunks"]].tolist()

    alive = [k for k in range(w["objects"]) if not w["removed"][k]]
    ours = [tuple(int(w[name][k]) for name in ("kind", "x", "y", "health", "timer")) for k in alive]
    assert ours == [_fields(obj) for obj in world.objects]
    arrows = [k for k in alive if w["kind"][k] == rules.ARROW]
    theirs = [obj for obj in world.objects if isinstance(obj, objects.Arrow)]
    assert [(w["dx"][k], w["dy"][k]) for k in arrows] == [tuple(obj.facing) for obj in theirs]
    occupied = {(int(w["x"][k]), int(w["y"][k])): k + 1 for k in alive}
    assert {
        tuple(cell): w["occupant"][tuple(cell)] for cell in np.argwhere(w["occupant"]).tolist()
    } == occupied

    _, key, position, *_ = world.random.get_state()
    assert position == w["mt_position"]
    assert (key == w["mt"]).all()


def _key(chunk):
    x, _, y, _ = chunk
    return x // rules.CHUNK * rules.CHUNKS + y // rules.CHUNK


def _fields(obj):
    kind = next(number for cls, number in KINDS.items() if isinstance(obj, cls))
    timer = next((getattr(obj, name) for cls, name in TIMERS.items() if isinstance(obj, cls)), 0)
    health = 0 if isinstance(obj, objects.Player) else obj.health
    return kind, int(obj.pos[0]), int(obj.pos[1]), health, timer


def _jit():
    from numba import njit

    @njit
    def uniform(worlds):
        return random_numbers.uniform(worlds[0])

    @njit
    def randint(worlds, n):
        return random_numbers.randint(worlds[0], n)

    @njit
    def compact(worlds):
        rules.compact(worlds[0])

    @njit
    def remove(worlds, k):
        rules.remove(worlds[0], k)

    @njit
    def add(worlds, kind, x, y, health):
        return rules.add(worlds[0], kind, x, y, health)

    @njit
    def move_to(worlds, x, y):
        w = worlds[0]
        rules.move(w, 0, x - w.x[0], y - w.y[0], rules.WALKABLE_PLAYER)

    return {
        "uniform": uniform,
        "randint": randint,
        "compact": compact,
        "remove": remove,
        "add": add,
        "move_to": move_to,
    }


JITTED = _jit()


def endow(game, w, items):
    """Gives both players the same things."""
    for item, n in items.items():
        game._player.inventory[item] = n
        w["inventory"][rules.ITEMS.index(item)] = n
    game._last_health = game._player.health  # the gift is no reward


RICH = dict.fromkeys(["wood", "stone", "coal", "iron", "sapling", "wood_pickaxe", "iron_pickaxe"], 9)
POLICIES = ("random", "persistent", "rich", "immortal", "sleepy")


def choose(policy, rng, last, actions):
    """An action of a policy: the policies differ in what of the game they reach."""
    n = len(actions)
    if policy == "camper":
        return int(rng.choice([i for i, action in enumerate(actions) if "move" not in action.native]))
    if policy == "random" or (policy == "immortal" and rng.random() < 0.5):
        return int(rng.integers(n))
    if policy == "sleepy" and rng.random() < 0.7:
        return next(i for i, action in enumerate(actions) if action.native == "sleep")
    if rng.random() < 0.3:  # otherwise goes on as before: walks far, and acts on what it meets
        useful = [i for i, action in enumerate(actions) if action.native != "noop"]
        return int(rng.choice(useful))
    return last


def lockstep(protocol, policy, seed, frames):
    """Plays one episode in both, comparing all fields at each frame; returns the frames played."""
    theirs = CrafterTextEnv(protocol)
    ours = CompiledCrafter(1, protocol=protocol)
    ours.set_options({"world_seed": seed})
    obs, info = theirs.reset(options={"world_seed": seed})
    assert (ours.reset()[0] == obs).all()
    assert ours.reset_infos[0] == info
    rng, action = np.random.default_rng(seed), 0
    for frame in range(frames):
        w = ours.records[0]
        assert_same_world(theirs.game, w)
        if policy == "rich" and frame == 0:
            endow(theirs.game, w, RICH)
        if policy == "camper" and frame % 40 == 0:
            JITTED["compact"](ours.records)
        if policy in ("immortal", "sleepy", "camper"):
            endow(theirs.game, w, {"health": 9, **({"energy": 3} if frame % 150 == 0 else {})})
        action = choose(policy, rng, action, theirs.actions)
        if frame + 1 >= theirs.episode_length:
            return frame
        obs, reward, terminated, _, info = theirs.step(action)
        our_obs, our_rewards, our_dones, our_infos = ours.step(np.array([action]))
        assert np.float32(reward) == our_rewards[0]
        assert terminated == our_dones[0]
        last = our_infos[0].pop("terminal_observation") if terminated else our_obs[0]
        assert (obs == last).all()
        assert our_infos[0].pop("TimeLimit.truncated") is False
        assert our_infos[0] == info
        if terminated:
            return frame + 1
    return frames


@dataclass
class Options:
    """Which episodes to play."""

    episodes: int = 100
    """Episodes of each policy in each protocol."""
    frames: int = 1_000
    """Frames of an episode, at most (the ellm protocol's end after 400)."""
    first_seed: int = 1_000
    """World seed of the first episode."""


def assert_same_map(seed):
    """The compiled world generation makes the map and the creatures that the package makes."""
    world = engine.World((rules.AREA, rules.AREA), constants.materials, (rules.CHUNK, rules.CHUNK))
    world.reset(seed=seed)
    player = objects.Player(world, (rules.AREA // 2, rules.AREA // 2))
    world.add(player)
    package_worldgen.generate_world(world, player)
    ours = CompiledCrafter(1)
    ours.set_options({"world_seed": seed})
    ours.reset()
    w = ours.records[0]
    assert (world._mat_map == w["material"]).all()
    alive = range(w["objects"])
    assert [(w["kind"][k], w["x"][k], w["y"][k]) for k in alive] == [
        _fields(obj)[:3] for obj in world.objects
    ]
    _, key, position, *_ = world.random.get_state()
    assert position == w["mt_position"]
    assert (key == w["mt"]).all()


def main(options: Options) -> None:
    """Plays and prints; stops with an error at the first difference."""
    started, total = time.monotonic(), 0
    for protocol in ("crafter", "ellm"):
        for policy in (*POLICIES, "camper"):
            frames = 0
            for episode in range(options.episodes):
                seed = options.first_seed + episode
                if policy == "random" and protocol == "crafter":
                    assert_same_map(seed)
                frames += lockstep(protocol, policy, seed, options.frames)
            total += frames
            print(f"{protocol:8}{policy:11}{options.episodes:6} episodes{frames:9,} frames equal", flush=True)
    seconds = time.monotonic() - started
    print(f"all fields equal at each of {total:,} frames ({seconds:,.0f} s)", file=sys.stderr)


if __name__ == "__main__":
    main(tyro.cli(Options))
