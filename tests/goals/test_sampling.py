"""Sampling of the active goals."""

import json

import pytest

from ellm_agent.goals.sampling import GoalSampler

GOALS = ("a", "b", "c", "d")


def sampler(max_active=2, frames=3, n_envs=2):
    made = GoalSampler(n_envs, max_active, frames)
    made.seed(7)
    return made


def never():
    raise AssertionError("no goals were to be sampled")


def test_active_goals_are_a_sample_in_the_order_of_the_suggestions():
    one = sampler()
    seen = set()
    for _ in range(100):
        active = one.select(0, (), lambda: GOALS)
        assert active == tuple(goal for goal in GOALS if goal in active) == one.active[0]
        assert len(active) == 2
        seen.add(active)
    assert len(seen) == 6  # all pairs of four
    assert one.select(1, (), lambda: ("z",)) == ("z",)
    assert one.select(1, (), lambda: ()) == ()


def test_they_stay_until_achieved_or_too_old():
    one = sampler()
    first = one.select(0, (), lambda: GOALS)
    assert one.select(0, first, never) == first
    assert one.select(0, first[:1], never) == first[:1]  # one is achieved
    with pytest.raises(AssertionError):  # three frames old
        one.select(0, first[:1], never)


def test_a_sampler_without_a_limit_is_not_enabled():
    assert sampler().enabled
    assert not GoalSampler(1, None, 64).enabled


def test_a_restored_sampler_continues_in_the_same_way():
    one, other = sampler(frames=2), sampler(frames=2)
    for _ in range(5):
        one.select(0, one.active[0], lambda: GOALS)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(20):
        assert one.select(0, one.active[0], lambda: GOALS) == other.select(0, other.active[0], lambda: GOALS)
    one.reset()
    assert one.active == [(), ()]


@pytest.mark.parametrize("part", ["random", "active", "age"])
def test_anything_else_is_not_restored(part):
    state = sampler().state_dict()
    del state[part]
    with pytest.raises(KeyError):
        sampler().load_state_dict(state)
    with pytest.raises(ValueError, match="argument|broadcast|shape|shorter|longer"):
        sampler(n_envs=3).load_state_dict(sampler().state_dict())
