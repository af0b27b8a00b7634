"""Clips of a tiny world, made by hand."""

import numpy as np
import pytest

from ellm_agent.preferences.clips import Clip, ClipReader
from ellm_agent.preferences.queries import Query
from ellm_agent.wrappers.observation import PREFIXES
from envs import registry


@pytest.fixture
def worlds(explore):
    """Two worlds that count frames, in which the agent sees all that was achieved."""
    return explore(n_envs=2, observe_all_events=True)


@pytest.fixture
def reader(worlds):
    return ClipReader(worlds)


@pytest.fixture
def clip(worlds):
    """Makes a clip: the counts in its captions, what has been achieved when it ends, and its true return."""

    def make(counts, achieved=(), total=0.0, world_seed=7):
        observations = np.zeros((len(counts), worlds.observation_space.shape[0]), np.int32)
        for row, count in zip(observations, counts, strict=True):
            row[0] = worlds.phrases.id(f"count {count}")
        for place, event in enumerate(achieved):
            observations[-1, worlds.fields["achieved"].start + place] = worlds.phrases.id(
                PREFIXES["achieved"] + event
            )
        return Clip(observations, world_seed, tuple(range(counts[-1])), total)

    return make


@pytest.fixture
def query(clip):
    """Makes a query of two clips with these true returns."""

    def make(left, right, seed=0):
        return Query(
            clip([0, 1, 2], total=left, world_seed=seed), clip([3, 4, 5], total=right, world_seed=seed)
        )

    return make


@pytest.fixture(scope="module")
def tiny_world():
    """Registers it for the tests of a module."""
    registry.register("tiny", "tests.preferences.tiny:TINY")
    yield
    del registry.WORLDS["tiny"]
    registry.get.cache_clear()
