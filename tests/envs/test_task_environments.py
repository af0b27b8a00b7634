"""Task environments: registered, played by either backend, equal in both."""

from __future__ import annotations

import json
import pickle
import sys

import gymnasium as gym
import numpy as np
import pytest
from crafter import constants
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.crafter.compiled import CompiledCrafter
from envs.crafter.env import CrafterTextEnv
from envs.crafter.tasks import tasks
from tests.envs.test_compiled import set_cell
from tests.helpers.lockstep import assert_same_step, assert_same_world, endow

TASKS = tasks().by_name


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_a_registered_environment(name):
    env = gym.make(f"ellm/{''.join(word.capitalize() for word in name.split())}-v0").unwrapped
    task = TASKS[name]
    assert isinstance(env, CrafterTextEnv)
    assert env.task is task
    assert env.episode_length == 400
    assert task.spec in type(env).__doc__
    assert all(step in type(env).__doc__ for step in task.after)
    assert ("must happen first" in type(env).__doc__) == task.in_order
    assert env.reset(seed=0)[1]["situation"].instruction == task.steps[0]


@pytest.mark.parametrize("name", ["PlantRow", "WorkAndSleep", "Survival"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checkers_pass(name):
    env = gym.make(f"ellm/{name}-v0", render_mode="rgb_array", task_reward="each", protocol="ellm")
    check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)


def test_environments_cross_process_borders():
    """SB3's SubprocVecEnv sends classes to its workers."""
    cls = type(gym.make("ellm/PlantRow-v0").unwrapped)
    pickle.dumps(cls)  # refuses a class that cannot be imported by its name
    assert getattr(sys.modules[cls.__module__], cls.__name__) is cls
    assert cls(episode_length=9).episode_length == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "plant rows"}, "^task is 'plant rows'; choose one of chop tree, .*, survival$"),
        ({"task": "PlantRow"}, "^task is 'PlantRow'; choose one of "),
        ({"task": "plant row", "task_reward": "all"}, "^task_reward is 'all'; choose one of last, each$"),
        ({"task_reward": "first"}, "^task_reward is 'first'; choose one of last, each$"),
        ({"task": "plant row", "episode_length": 0}, "^episode_length is 0; it must be at least 1 frame$"),
    ],
)
@pytest.mark.parametrize("backend", [CrafterTextEnv, lambda **arguments: CompiledCrafter(1, **arguments)])
def test_bad_arguments_are_named_in_one_line(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        backend(**arguments)


def test_a_task_lasts_400_frames_unless_told_otherwise():
    for protocol in ("crafter", "ellm"):
        assert CrafterTextEnv(protocol, task="mine coal").episode_length == 400
        assert CrafterTextEnv(protocol, task="mine coal", episode_length=77).episode_length == 77
    assert CrafterTextEnv("crafter").episode_length == 10_000
    assert CompiledCrafter(1, task="mine coal").episode_length == 400


class Both:
    """The same world in both backends, which must tell the same at every frame."""

    def __init__(self, **arguments):
        self.theirs, self.ours = CrafterTextEnv(**arguments), CompiledCrafter(1, **arguments)
        _, info = self.theirs.reset(options={"world_seed": 4})
        self.ours.set_options({"world_seed": 4})
        self.ours.reset()
        assert self.ours.reset_infos[0] == info
        for dx in range(-4, 5):  # a meadow: nothing interferes
            for dy in range(-4, 5):
                if (dx, dy) != (0, 0):
                    set_cell(self.theirs, self.ours, dx, dy, "grass")
        self.see()

    def see(self):
        """Looks again at what the test has changed."""
        self.theirs.describe()
        self.ours.describe(0)

    def give(self, **items):
        endow(self.theirs.game, self.ours.records[0], items)
        self.see()

    def put(self, thing, dx=0, dy=1):
        set_cell(self.theirs, self.ours, dx, dy, thing)
        self.see()

    def act(self, *names):
        """Plays actions; reward, terminated, truncated and info of the last frame."""
        for name in names:
            index = constants.actions.index(name)
            _, reward, terminated, truncated, info = self.theirs.step(index)
            _, rewards, dones, (ours,) = self.ours.step(np.array([index]))
            assert rewards[0] == np.float32(reward)
            assert dones[0] == (terminated or truncated)
            assert ours["TimeLimit.truncated"] == truncated
            assert {key: ours.get(key) for key in info} == info
            assert set(ours) - set(info) <= {"TimeLimit.truncated", "terminal_observation"}
            if not dones[0]:
                assert_same_world(self.theirs.game, self.ours.records[0])
        return reward, terminated, truncated, info


AROUND = ["move_left", "move_down", "move_down", "move_down", "move_up"]  # to face the cell west of the first


@pytest.mark.parametrize(
    ("name", "item", "action"),
    [("plant row", "sapling", "place_plant"), ("make workshop", "wood", "place_table")],
)
def test_a_row_is_built_in_the_real_game(name, item, action):
    both = Both(task=name)
    both.give(**{item: 9})
    reward, terminated, _, info = both.act(action)
    assert (reward, terminated, info["events"]) == (0, False, (TASKS[name].goal,))
    reward, terminated, _, info = both.act("move_left", action)  # facing west: two columns away
    assert (reward, terminated, info["events"]) == (0, False, (TASKS[name].goal,))
    both = Both(task=name)
    both.give(**{item: 9})
    both.act(action, *AROUND)
    reward, terminated, truncated, info = both.act(action)
    assert (reward, terminated, truncated) == (1, True, False)
    assert info["success"] is True
    assert info["events"] == (TASKS[name].goal,)


def test_an_episode_ends_when_it_is_solved_and_says_so_then_only():
    both = Both(task="deforestation", task_reward="each", episode_length=50)
    for chops in range(1, 5):
        both.put("tree")  # one that is chopped is gone
        reward, terminated, truncated, info = both.act("do")
        assert (reward, terminated, truncated) == (1, False, False)
        assert set(info) == {"situation", "privileged", "world_seed", "events", "attempt"}
        assert info["situation"].instruction == ("chop tree" if chops < 4 else "deforestation")
        assert both.act("noop")[0] == 0
    both.put("tree")
    reward, terminated, truncated, info = both.act("do")
    assert (reward, terminated, truncated) == (1, True, False)
    assert info["success"] is True
    assert info["unlocked"] == ("collect_wood",)
    assert info["situation"].instruction == "deforestation"
    assert both.ours.reset_infos[0]["situation"].instruction == "chop tree"  # the next episode


def test_the_games_own_reward_is_left_out():
    """A first achievement, and lost health, are worth nothing to another task."""
    both = Both(task="make iron sword")
    both.put("tree")
    reward, _, _, info = both.act("do")
    assert info["events"] == ("chop tree",)
    assert reward == 0
    plain = CrafterTextEnv()
    plain.reset(options={"world_seed": 4})
    for env in (plain, both.theirs):
        env.game._player.health = 5
    assert plain.step(0)[1] == pytest.approx(-0.4)
    assert both.theirs.step(0)[1] == 0


def test_time_runs_out_on_a_task():
    both = Both(task="eat cow", episode_length=3)
    both.act("noop", "noop")
    reward, terminated, truncated, info = both.act("noop")
    assert (reward, terminated, truncated) == (0, False, True)
    assert info["success"] is False


@pytest.mark.parametrize("dies", [False, True])
def test_survival_is_rewarded_in_every_frame(dies):
    both = Both(task="survival", episode_length=4)
    rewards = [both.act("noop")[0] for _ in range(3)]
    if dies:
        both.give(health=0)
    reward, terminated, truncated, info = both.act("noop")
    assert rewards == [0.25] * 3
    assert (reward, terminated, truncated) == ((0, True, False) if dies else (0.25, False, True))
    assert info["success"] is not dies


def both_backends(n_envs, **arguments):
    """Worlds of the package, and the compiled ones."""
    return DummyVecEnv([lambda: CrafterTextEnv(**arguments)] * n_envs), CompiledCrafter(n_envs, **arguments)


def busy(rng, n, last):
    """Actions that go on as before, mostly: they reach trees, water and cows, and act on them."""
    drawn = rng.choice([1, 2, 3, 4, 5, 5, 6, 7, 8, 10], size=n)
    return np.where(rng.random(n) < 0.4, drawn, last)


@pytest.mark.parametrize("task_reward", ["last", "each"])
@pytest.mark.parametrize("name", ["work and sleep", "place plant", "survival"])
def test_backends_are_equal_over_episodes(name, task_reward):
    theirs, ours = both_backends(4, task=name, task_reward=task_reward, episode_length=80)
    for worlds in (theirs, ours):
        worlds.seed(5)
    assert (theirs.reset() == ours.reset()).all()
    rng, actions = np.random.default_rng(1), np.zeros(4, int)
    instructions, successes, total = set(), [], 0.0
    for _ in range(170):
        actions = busy(rng, 4, actions)
        expected, got = theirs.step(actions), ours.step(actions)
        for a, b in zip(expected[:3], got[:3], strict=True):
            assert (a == b).all()
            assert a.dtype == b.dtype
        total += float(got[1].sum())
        for a, b, done in zip(expected[3], got[3], expected[2], strict=True):
            assert ("success" in a) == done
            if done:
                assert (a.pop("terminal_observation") == b.pop("terminal_observation")).all()
                successes.append(a["success"])
            assert a == b
            instructions.add(a["situation"].instruction)
        assert theirs.reset_infos == ours.reset_infos
    assert total > 0
    assert len(successes) >= 8
    assert set(successes) == ({True} if name == "survival" else {True, False})  # who dies: see above
    if name != "survival":
        assert instructions >= set(TASKS[name].after)


@pytest.mark.parametrize("task_reward", ["last", "each"])
def test_either_backend_resumes_a_task(task_reward):
    arguments = {"task": "deforestation", "task_reward": task_reward, "episode_length": 60}
    first = CompiledCrafter(2, **arguments)
    first.seed(3)
    first.reset()
    # Real actions alone lead there: what a test puts into a world is not played again.
    rng, actions, steps = np.random.default_rng(0), np.zeros(2, int), [0, 0]
    while max(steps) < 2:
        actions = busy(rng, 2, actions)
        _, _, dones, infos = first.step(actions)
        steps = [
            0 if done else n + ("chop tree" in info["events"])
            for n, done, info in zip(steps, dones, infos, strict=True)
        ]
    state = json.loads(json.dumps(first.env_method("episode")))
    others = both_backends(2, **arguments)
    for other in others:
        other.seed(99)
        other.reset()
        other.step(actions)
        for i, episode in enumerate(state):
            ((_, info),) = other.env_method("resume_episode", episode, indices=i)
            assert info["situation"].instruction == ("chop tree" if steps[i] < 4 else "deforestation")
            assert info["situation"] == infos[i]["situation"]
    assert [env.progress.step for env in others[0].envs] == steps
    ended = 0
    for _ in range(80):
        actions = busy(rng, 2, actions)
        wanted = first.step(actions)
        for other in others:
            assert_same_step(wanted, other.step(actions))
        ended += int(wanted[2].sum())
    assert ended


@pytest.mark.parametrize("backend", ["compiled", "package"])
def test_a_task_that_was_solved_on_the_way_is_no_episode_under_way(backend):
    theirs, ours = both_backends(1, task="chop grass")
    worlds = ours if backend == "compiled" else theirs
    worlds.set_options({"world_seed": 4})
    worlds.reset()
    (start,) = worlds.env_method("episode")
    swing = constants.actions.index("do")
    swings, done = 0, False
    while not done:  # each finds a sapling with a chance of 1 in 10
        _, rewards, (done,), infos = worlds.step(np.array([swing]))
        swings += 1
    assert (rewards[0], infos[0]["success"]) == (1, True)
    assert swings > 1
    worlds.env_method("resume_episode", start | {"actions": [swing] * (swings - 1)}, indices=0)
    for more in (0, 1):
        with pytest.raises(ValueError, match="ended before"):
            worlds.env_method("resume_episode", start | {"actions": [swing] * (swings + more)}, indices=0)
