"""Players for tests, and the reference and the compiled world in lockstep.

The test suite plays a few episodes; ``python -m tests.envs.housekeep.players --episodes 1000`` plays that many.
"""

from __future__ import annotations

import argparse
import collections

import numpy as np

from envs.housekeep.compiled import CompiledHousekeep
from envs.housekeep.env import ACTIONS, GRAB, HousekeepEnv
from envs.housekeep.homes import DIRECTIONS, DOOR, FLOOR
from envs.interface import HELD_OUT_SEEDS


def start(protocol="ellm", world_seed=0, **options):
    env = HousekeepEnv(protocol, **options)
    env.reset(options={"world_seed": world_seed})
    return env


def wrong_place(env, thing):
    """A receptacle in which an object neither lies nor belongs."""
    return next(p for p in range(len(env.home.places)) if not env.home.right[thing, p] and env.at[thing] != p)


def right_place(env, thing):
    return int(np.flatnonzero(env.home.right[thing])[0])


def misplaced(env):
    """A misplaced object that is the first in its receptacle."""

    def first(o):
        return env.since[o] == min(env.since[k] for k, at in enumerate(env.at) if at == env.at[o])

    return next(o for o in env.home.misplaced if first(o))


def toward(env, place):
    """The action that brings the player nearer to a receptacle; None if it faces it."""
    target = env.home.cells[place]
    came, queue = {(env.x, env.y): None}, collections.deque([(env.x, env.y)])
    while queue:
        cell = queue.popleft()
        for action, (dx, dy) in enumerate(DIRECTIONS, 1):
            nxt = cell[0] + dx, cell[1] + dy
            if nxt == target:
                if cell == (env.x, env.y):
                    return None if env.facing == (dx, dy) else action
                while came[cell][0] != (env.x, env.y):
                    cell = came[cell][0]
                return came[cell][1]
            if env.home.grid[nxt] == DOOR:
                nxt = nxt[0] + dx, nxt[1] + dy
            if env.home.grid[nxt] == FLOOR and nxt not in came:
                came[nxt] = cell, action
                queue.append(nxt)
    raise AssertionError(f"{target} cannot be reached")


def tidy(env):
    """The action of somebody who knows where everything is and belongs."""
    if env.held >= 0:
        place = int(np.flatnonzero(env.home.right[env.held])[0])
    else:
        wrong = [o for o in range(len(env.at)) if not env.is_right(o)]
        place = env.at[wrong[0]]
        # What lies before it in the receptacle is taken and, if it belongs there, put back behind it.
    action = toward(env, place)
    return GRAB if action is None else action


def act_at(env, place):
    """Walks to a receptacle and grabs or releases there; the last step's result."""
    while (action := toward(env, place)) is not None:
        env.step(action)
    env.step(GRAB)
    return env.step(GRAB)


def choose(env, policy, rng):
    """An action: at random, tidy, or now one and now the other."""
    random = policy == "random" or (policy == "careless" and rng.random() < 0.3)
    if policy == "busy" and env.faced_place >= 0 and rng.random() < 0.7:
        return GRAB
    return int(rng.integers(len(ACTIONS))) if random or policy == "busy" else tidy(env)


POLICIES = ("random", "busy", "careless", "tidy")


def lockstep(protocol, policy, world_seeds, frames, placements=None, caption="map"):
    """Plays the worlds in both, side by side, and compares everything at every frame; counts what happened."""
    options = {"protocol": protocol, "episode_length": frames, "placements": placements, "caption": caption}
    envs = [HousekeepEnv(**options) for _ in world_seeds]
    ours = CompiledHousekeep(len(envs), **options)
    ours._options = [{"world_seed": seed} for seed in world_seeds]
    observations, counts = ours.reset(), collections.Counter()
    for env, seed, found, info in zip(envs, world_seeds, observations, ours.reset_infos, strict=True):
        wanted, wanted_info = env.reset(options={"world_seed": seed})
        assert (wanted == found).all()
        assert wanted_info == info
    rngs = [np.random.default_rng(seed) for seed in world_seeds]
    playing = list(range(len(envs)))
    while playing:
        actions = np.zeros(len(envs), int)
        for i in playing:
            actions[i] = choose(envs[i], policy, rngs[i])
        ours.step_async(actions)
        found, rewards, dones, infos = ours.step_wait()
        for i in list(playing):
            observation, reward, terminated, truncated, info = envs[i].step(int(actions[i]))
            other = infos[i]
            if terminated or truncated:
                found[i] = other.pop("terminal_observation")
                playing.remove(i)
            assert (observation == found[i]).all()
            assert np.float32(reward) == rewards[i]
            assert (terminated or truncated, truncated) == (dones[i], other.pop("TimeLimit.truncated"))
            assert info == other
            counts.update(frames=1, events=len(info["events"]), terminated=terminated, truncated=truncated)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=200)
    options = parser.parse_args()
    total, batch, done = collections.Counter(), 20, 0
    while done < options.episodes:
        protocol = ("homes", "ellm")[done // batch % 4 == 3]
        policy = POLICIES[done // batch % len(POLICIES) if protocol == "homes" else done // batch // 4 % 4]
        first = done + HELD_OUT_SEEDS * (done // batch % 2)
        total += lockstep(protocol, policy, range(first, first + batch), options.frames)
        done += batch
    print(f"{done} episodes in lockstep: {dict(total)}")


if __name__ == "__main__":
    main()
