"""Housekeep inside the exploration wrapper: what is rewarded, and what stays a goal."""

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.config import PRESETS
from ellm_agent.config import files as config_files
from ellm_agent.goals.base import OracleSuggester
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.goal_exploration import GoalExploration
from envs.housekeep.env import GRAB, HousekeepEnv
from envs.housekeep.homes import DIRECTIONS, FLOOR
from tests.envs.housekeep.players import choose, toward


def no_vectors(texts):
    """Goals are compared by their spelling here, so no vector is looked at."""
    return np.zeros((len(texts), 384), np.float32)


def explore(env, **options):
    goals = frozenset(env.language.goals)
    reward = GoalSimilarity(0.99, env.language.canonical, no_vectors, apart=goals)
    worlds = DummyVecEnv([lambda: env])
    return GoalExploration(worlds, OracleSuggester(), reward, PhraseTable(no_vectors), reopen=True, **options)


@pytest.mark.parametrize("max_active_goals", [None, 1])
@pytest.mark.parametrize("policy", ["busy", "careless"])
def test_rewards_are_bounded_and_what_is_done_is_no_goal(policy, max_active_goals):
    """At most two for each misplaced object, and one for each room, whatever is carried back and forth."""
    env, rng = HousekeepEnv("homes", episode_length=600), np.random.default_rng(0)
    worlds = explore(env, max_active_goals=max_active_goals)
    worlds.set_options([{"world_seed": 5}])
    worlds.reset()
    most = 2 * len(env.home.misplaced) + len(env.home.rooms)
    total, rewarded, done = 0.0, [], False
    while not done:
        before = set(worlds.open[0])
        _, reward, dones, infos = worlds.step(np.array([choose(env, policy, rng)]))
        total, done = total + float(reward[0]), bool(dones[0])
        rewarded += worlds.log(0).reward.events
        reached = before & set(infos[0]["events"])
        if not done:
            assert not reached & set(worlds.open[0])
    assert len(set(rewarded)) == len(rewarded)
    assert total == len(rewarded) <= most
    assert rewarded or max_active_goals


def test_a_mistake_is_mended_without_a_reward():
    env = HousekeepEnv("ellm")
    worlds = explore(env)
    worlds.set_options([{"world_seed": 0}])
    worlds.reset()
    thing = next(o for o in env.home.misplaced if env.at.count(env.at[o]) == 1)  # nothing lies before it
    name = env.name(thing)
    right = int(np.flatnonzero(env.home.right[thing])[0])
    lies = {env.at[o] for o in range(len(env.at)) if o != thing}
    wrong = next(p for p in range(len(env.home.places)) if not env.home.right[thing, p] and p not in lies)

    def act_at(place):
        """The reward for goals of walking to a receptacle, and of grabbing or releasing there."""
        total = 0.0
        for _ in range(100):
            action = toward(env, place)
            total += float(worlds.step(np.array([GRAB if action is None else action]))[1][0])
            if action is None and not env.reaching:
                return total
        raise AssertionError

    picked = f"pick up {name} from {env.place_name(env.at[thing])}"
    assert picked in worlds.open[0]
    assert act_at(env.at[thing]) == 1
    assert picked not in worlds.open[0]
    assert act_at(wrong) == 0
    assert f"pick up {name} from {env.place_name(wrong)}" in worlds.open[0]
    assert act_at(wrong) == 0  # a goal, and no reward
    assert act_at(right) == 1
    assert not any(name in goal for goal in worlds.open[0])


def test_a_step_is_blocked_exactly_where_the_player_stays():
    env, rng, seen = HousekeepEnv("homes", episode_length=2_000), np.random.default_rng(0), set()
    env.reset(options={"world_seed": 3})
    blocked = env.language.blocked
    for _ in range(1_500):
        action = int(rng.integers(1, 5))
        stuck = any(blocked.get(clause, (0, ""))[0] == action for clause in env.clauses())
        before, room = (env.x, env.y), env.room
        free = env.home.grid[env.x + DIRECTIONS[action - 1][0], env.y + DIRECTIONS[action - 1][1]] == FLOOR
        env.act(action)
        assert stuck == ((env.x, env.y) == before and env.room == room)
        seen.add((stuck, bool(free)))
    assert seen == {(True, False), (False, True), (False, False)}  # the last: through a door


def test_the_worlds_settings_are_those_of_the_default_preset_only():
    default, debug = (
        config_files.in_world(PRESETS[name], "housekeep").agent.on_policy for name in ("default", "debug")
    )
    assert (default.gamma, default.gae_lambda, default.rollout, default.learning_rate) == (
        0.99,
        0.9,
        128,
        1e-4,
    )
    assert debug == PRESETS["debug"].agent.on_policy
