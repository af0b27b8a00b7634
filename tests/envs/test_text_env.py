"""A new world takes its language and three short methods; the base class does the rest. So does the registry."""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs import registry
from envs.interface import HELD_OUT_SEEDS, Language, Privileged, Situation, World
from envs.text_env import Outcome, TextEnv

LANGUAGE = Language(
    vocabulary=("", *(f"door {n}" for n in range(9)), "it is open"),
    to_sentence=lambda clauses: ". ".join(clauses) + ".",
    goals=("open door", "go home"),
    achievements=("open door",),
)


class Corridor(TextEnv):
    """Walk along a corridor, and open the door with the world's number."""

    def start_episode(self, world_seed):
        self.door, self.cell = world_seed % 9, 0

    def act(self, action):
        self.cell = min(self.cell + action, 8)
        opened = action == 0 and self.cell == self.door
        return Outcome(float(opened), opened and self.door > 0, ("open door",) if opened else (), "open door")

    def clauses(self):
        return (f"door {self.cell}", "it is open") if self.cell == self.door else (f"door {self.cell}",)


class CorridorWorld(World):
    name, title = "corridor", "Corridor"

    def make_env(self, protocol=None, caption=None, episode_length=None, **options):
        return Corridor(LANGUAGE, ("open", "walk"), max_clauses=2, episode_length=episode_length or 20)


CORRIDOR = CorridorWorld()


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(registry, "WORLDS", dict(registry.WORLDS))
    registry.register("corridor", f"{__name__}:CORRIDOR")
    yield registry.get("corridor")
    registry.get.cache_clear()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checkers_pass(world):
    check_env(world.make_env())
    sb3_check_env(world.make_env())


def test_an_episode_by_hand(world):
    env = world.make_env(episode_length=5)
    observation, info = env.reset(options={"world_seed": 11})  # door 2
    assert observation.tolist() == [1, 0]
    assert info == {"situation": Situation("door 0."), "privileged": Privileged(()), "world_seed": 11}
    assert env.step(1)[1:4] == (0.0, False, False)
    observation, reward, terminated, truncated, info = env.step(1)
    assert observation.tolist() == [3, 10]
    assert info["situation"].caption == "door 2. it is open."
    assert info["events"] == ()
    assert "unlocked" not in info
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert (info["events"], info["attempt"], info["unlocked"]) == (
        ("open door",),
        "open door",
        ("open door",),
    )
    _, info = env.reset(options={"world_seed": 4})
    *_, info = env.step(1)
    assert env.unlocked == ()


def test_time_runs_out_unless_the_episode_has_terminated(world):
    env = world.make_env(episode_length=2)
    env.reset(options={"world_seed": 1})
    assert env.step(1)[2:4] == (False, False)
    assert env.step(1)[2:4] == (False, True)
    env.reset(options={"world_seed": 1})
    env.step(1)
    assert env.step(0)[2:4] == (True, False)  # solved in the last frame


def test_world_seeds_are_drawn_below_the_held_out_ones(world):
    env = world.make_env()
    seeds = [env.reset(seed=3 if i == 0 else None)[1]["world_seed"] for i in range(50)]
    assert len(set(seeds)) == 50
    assert max(seeds) < HELD_OUT_SEEDS
    assert env.reset(seed=3)[1]["world_seed"] == seeds[0]


def test_episodes_resume(world):
    env, other = world.make_env(), world.make_env()
    env.reset(seed=5)
    for action in (1, 1, 1):
        observation, *_, info = env.step(action)
    again, resumed = other.resume_episode(json.loads(json.dumps(env.episode())))
    assert again.tolist() == observation.tolist()
    assert resumed["situation"] == info["situation"]
    for _ in range(60):
        ours, theirs = env.step(1), other.step(1)
        assert ours[0].tolist() == theirs[0].tolist()
        assert ours[1:] == theirs[1:]
        if ours[3]:
            assert env.reset()[1] == other.reset()[1]  # also the next worlds are the same


def test_what_is_no_unfinished_episode_is_refused(world):
    env = world.make_env()
    env.reset(seed=5, options={"world_seed": 2})
    good = env.episode()
    for part in ({"actions": [2]}, {"actions": [1] * 20}, {"actions": [1, 1, 0]}, {"world_seed": -1}):
        with pytest.raises(ValueError):  # noqa: PT011 (the messages are for people)
            env.resume_episode(good | part)


def test_the_registry_makes_parallel_worlds(world):
    assert world is CORRIDOR
    worlds = world.make_vec(3, protocol="default", episode_length=4)
    worlds.seed(0)
    worlds.reset()
    for _ in range(4):
        _, _, dones, infos = worlds.step(np.ones(3, int))
    assert dones.all()
    assert all(info["TimeLimit.truncated"] and info["unlocked"] == () for info in infos)
    assert worlds.get_attr("language", 0)[0] is world.language() is LANGUAGE


def test_more_clauses_than_fit_are_refused():
    env = Corridor(LANGUAGE, ("open", "walk"), max_clauses=1, episode_length=9)
    with pytest.raises(ValueError, match=r"^the caption has 2 clauses; max_clauses is 1$"):
        env.reset(options={"world_seed": 0})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"episode_length": 0}, "episode_length is 0"), ({"render_mode": "human"}, "render_mode is 'human'")],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Corridor(LANGUAGE, ("open", "walk"), **{"max_clauses": 2, "episode_length": 9, **options})


def test_stepping_before_reset_is_refused(world):
    with pytest.raises(RuntimeError, match="before reset"):
        world.make_env().step(0)


def test_unknown_worlds_and_options_are_named(world):
    with pytest.raises(ValueError, match=r"^world is 'corridr'; did you mean 'corridor'"):
        registry.get("corridr")
    world.check({"protocol": "default", "caption": "spatial", "task": None})
    with pytest.raises(ValueError, match=r"^protocol is 'x'; choose one of default$"):
        world.check({"protocol": "x"})


def test_names_and_tasks_are_known_without_the_game():
    """The command line's help must not import the game or Numba."""
    code = (
        "import envs.registry, envs.crafter.world, sys; world = envs.registry.get('crafter');"
        "assert 'plant row' in world.tasks(); world.check({'protocol': 'ellm', 'task': 'survival'});"
        "print([name for name in ('crafter', 'numba', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert isinstance(gym.spec("ellm/PlantRow-v0").entry_point, str)
