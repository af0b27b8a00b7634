"""The compact replay buffers are SB3's: the same samples from the same transitions, in fewer bytes."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from ellm_agent.agents.replay import CompactNStepReplay, CompactReplay

SCENE, SLOTS, WORLDS = 4, 7, 3
SPACE = gym.spaces.Box(0, 1000, (SLOTS,), np.int16)
ACTIONS = gym.spaces.Discrete(17)


def transitions(n, seed=0):
    """Random episodes of up to nine frames in three worlds, half of them cut off; few different ``done`` fields."""
    rng = np.random.default_rng(seed)
    done_fields = rng.integers(0, 1000, (5, SLOTS - SCENE)).astype(np.int16)

    def observation():
        return np.concatenate([rng.integers(0, 1000, SCENE), done_fields[rng.integers(5)]]).astype(np.int16)

    now = np.stack([observation() for _ in range(WORLDS)])
    for _ in range(n):
        after = np.stack([observation() for _ in range(WORLDS)])
        dones = rng.random(WORLDS) < 0.2
        cut = dones & (rng.random(WORLDS) < 0.5)
        infos = [{"TimeLimit.truncated": bool(c)} for c in cut]
        actions, rewards = rng.integers(0, 17, WORLDS), rng.random(WORLDS).astype(np.float32)
        yield now, after, actions, rewards, dones, infos
        starts = np.stack([observation() for _ in range(WORLDS)])
        now = np.where(dones[:, None], starts, after)


def filled(kind, n, size=20, **kwargs):
    buffer = kind(size * WORLDS, SPACE, ACTIONS, n_envs=WORLDS, **kwargs)
    for transition in transitions(n):
        buffer.add(*transition)
    return buffer


def samples(buffer, seed=0, size=300):
    np.random.seed(seed)
    return buffer.sample(size)


KINDS = [
    (ReplayBuffer, CompactReplay, {}),
    (NStepReplayBuffer, CompactNStepReplay, {"n_steps": 3, "gamma": 0.9}),
]


@pytest.mark.parametrize("n", [1, 7, 20, 21, 65])
@pytest.mark.parametrize(("theirs", "ours", "kwargs"), KINDS)
def test_samples_are_those_of_sb3(theirs, ours, kwargs, n):
    expected, got = samples(filled(theirs, n, **kwargs)), samples(filled(ours, n, scene=SCENE, **kwargs))
    for name, value in expected._asdict().items():
        other = getattr(got, name)
        assert (value is None and other is None) or torch.equal(value.double(), other.double()), name


@pytest.mark.parametrize(("theirs", "ours", "kwargs"), KINDS)
def test_a_checkpoint_of_it_is_the_same_buffer(theirs, ours, kwargs):
    buffer, again = filled(ours, 33, scene=SCENE, **kwargs), filled(ours, 0, scene=SCENE, **kwargs)
    again.restore({name: np.array(array) for name, array in buffer.contents().items()})
    for transition in transitions(9, seed=1):
        buffer.add(*transition)
        again.add(*transition)
    for one, other in zip(samples(buffer), samples(again), strict=True):
        assert one is other is None or torch.equal(one, other)


@pytest.mark.parametrize("size", [5, 12, 20, 40])
@pytest.mark.parametrize("played", [3, 15, 20, 33])
def test_what_a_larger_or_smaller_buffer_keeps(played, size):
    old = filled(CompactReplay, played, scene=SCENE)
    new = filled(CompactReplay, 0, size=size, scene=SCENE)
    new.restore(old.contents())
    kept = min(size, old.size())
    assert new.size() == kept
    newest = (old.pos - kept + np.arange(kept)) % 20  # places of the newest, in the order they came
    places = (new.pos - kept + np.arange(kept)) % size
    where = np.repeat(places, WORLDS), np.tile(np.arange(WORLDS), kept)
    there = np.repeat(newest, WORLDS), where[1]
    assert (new.observations[where] == old.observations[there]).all()
    assert (new.next_observations[where] == old.next_observations[there]).all()


def test_nothing_to_restore():
    empty = filled(CompactReplay, 0, scene=SCENE)
    again = filled(CompactReplay, 0, scene=SCENE)
    again.restore(empty.contents())
    assert (again.size(), again.pos, again.full) == (0, 0, False)
