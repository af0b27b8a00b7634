"""The compiled world against the reference: every field at every frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.housekeep.compiled import CompiledHousekeep
from envs.housekeep.env import HousekeepEnv
from envs.interface import HELD_OUT_SEEDS
from tests.envs.housekeep.players import POLICIES, lockstep


@pytest.mark.parametrize("protocol", ["ellm", "homes"])
@pytest.mark.parametrize("policy", POLICIES)
def test_lockstep(protocol, policy):
    counts = lockstep(protocol, policy, [1, 2, 3, HELD_OUT_SEEDS + 4], frames=150)
    assert counts["frames"] > 100
    if policy != "random":
        assert counts["events"] > 10
    if policy == "tidy":
        assert counts["terminated"] > 0


def test_lockstep_without_memory():
    assert lockstep("homes", "tidy", [5, 6, 7], frames=150, caption="spatial")["frames"] > 100


def test_vectorised_homes_equal_the_references():
    """Over episode ends, with seeds drawn by the environments themselves."""
    options = {"protocol": "homes", "episode_length": 30}
    theirs, ours = DummyVecEnv([lambda: HousekeepEnv(**options)] * 3), CompiledHousekeep(3, **options)
    for worlds in (theirs, ours):
        worlds.seed(11)
    assert (theirs.reset() == ours.reset()).all()
    assert theirs.reset_infos == ours.reset_infos
    rng = np.random.default_rng(0)
    for _ in range(100):
        actions = rng.integers(theirs.action_space.n, size=3)
        expected, got = theirs.step(actions), ours.step(actions)
        for a, b in zip(expected[:3], got[:3], strict=True):
            assert (a == b).all()
            assert a.dtype == b.dtype
        for a, b, done in zip(expected[3], got[3], expected[2], strict=True):
            if done:
                assert (a.pop("terminal_observation") == b.pop("terminal_observation")).all()
            assert a == b
        assert theirs.reset_infos == ours.reset_infos


def test_episodes_are_resumed_by_either_backend():
    rng = np.random.default_rng(0)
    first = CompiledHousekeep(2, protocol="homes", episode_length=80)
    first.seed(3)
    first.reset()
    for _ in range(110):
        observation, *_ = first.step(rng.integers(6, size=2))
    state = json.loads(json.dumps(first.env_method("episode")))
    others = [
        CompiledHousekeep(2, protocol="homes", episode_length=80),
        DummyVecEnv([lambda: HousekeepEnv("homes", episode_length=80)] * 2),
    ]
    for other in others:
        other.reset()
        for i, episode in enumerate(state):
            ((scene, info),) = other.env_method("resume_episode", episode, indices=i)
            assert scene.tolist() == observation[i].tolist()
            assert info["world_seed"] == episode["world_seed"]
        assert other.env_method("episode") == state
    for _ in range(100):
        actions = rng.integers(6, size=2)
        wanted = first.step(actions)
        for other in others:
            found = other.step(actions)
            assert (wanted[0] == found[0]).all()
            assert (wanted[1] == found[1]).all()
            assert [i["situation"] for i in wanted[3]] == [i["situation"] for i in found[3]]


def test_what_is_no_episode_is_refused():
    worlds = CompiledHousekeep(1, protocol="ellm")
    worlds.reset()
    (good,) = worlds.env_method("episode")
    for part in (
        {"world_seed": -1},
        {"actions": [6]},
        {"actions": None},
        {"actions": [0] * 1000},
        {"random": {}},
    ):
        with pytest.raises((KeyError, TypeError, ValueError)):
            worlds.env_method("resume_episode", good | part, indices=0)
    with pytest.raises(AttributeError):
        worlds.set_attr("episode_length", 3)
    with pytest.raises(AttributeError):
        worlds.env_method("render")
