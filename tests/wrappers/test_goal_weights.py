"""What a goal is worth: weights, rarity, goals that are open again."""

import dataclasses
import json

import numpy as np
import pytest

from ellm_agent.goals.base import GoalSuggester, NoGoals
from ellm_agent.rewards.rarity import InverseRate
from tests.helpers.counting import LANGUAGE, Counting, play, texts


def test_goals_can_be_observed_without_being_rewarded(explore):
    worlds = explore(goal_weight=0.0, extrinsic_weight=2.0, goal_conditioned=True)
    shown = texts(worlds, worlds.reset()[0])["goals"]
    assert shown == ["goal: chop tree"]
    assert play(worlds, 7)[0] == [1.0] * 7  # twice the environment's
    worlds.reset()
    play(worlds, 2)
    assert worlds.achieved == [("chop tree",)]
    assert worlds.open == [()]  # closed when achieved


def test_a_needed_goal_is_open_again_at_half_its_reward(explore):
    """The tree falls in frames 2 and 4, and is needed until then; in frame 5 the water, which is not needed."""
    worlds = explore(reopen=True, goal_weight=2.0)
    worlds.reset()
    rewards, _, infos = play(worlds, 7)
    assert rewards == [0, 2, 0, 1, 2, 0, 0]
    assert infos[6]["finished"].intrinsic_return == 5.0
    state = worlds.state_dict()
    assert state["rewarded"] == [{}]  # the next episode has begun


def test_what_is_repeated_is_worth_half_each_time(explore, monkeypatch):
    """The tree falls in frames 1, 2 and 4: 1, 1/2, 1/4; and so again after a resume."""
    step = Counting.step

    def with_a_tree_first(self, action):
        observation, reward, terminated, truncated, info = step(self, action)
        info["events"] = ("chop tree",) if self.frame == 1 else info["events"]
        return observation, reward, terminated, truncated, info

    monkeypatch.setattr(Counting, "step", with_a_tree_first)
    worlds = explore(reopen=True)
    worlds.reset()
    assert play(worlds, 3)[0] == [1, 0.5, 0]
    other = explore(reopen=True)
    other.reset()
    other.load_state_dict(json.loads(json.dumps(worlds.state_dict())))
    for resumed in (worlds, other):
        assert play(resumed, 4)[0] == [0.25, 1, 0, 0]


def test_a_goal_may_be_open_again_and_not_be_rewarded_again(explore, monkeypatch):
    """The tree falls in frames 2 and 4; the world says that the second time only repeats the first."""

    def unrewarded(event, before, rewarded):
        assert rewarded <= before
        return event in before

    monkeypatch.setattr(Counting, "language", dataclasses.replace(LANGUAGE, unrewarded=unrewarded))
    worlds = explore(reopen=True)
    worlds.reset()
    assert play(worlds, 2)[0] == [0, 1]
    observation = worlds.step(np.zeros(1, int))[0]
    assert "chop tree" in worlds.open[0]
    assert texts(worlds, observation[0])["achieved"] == ["achieved: chop tree"]  # it was rewarded
    state = json.loads(json.dumps(worlds.state_dict()))
    assert play(worlds, 4)[0] == [0, 1, 0, 0]
    assert play(worlds, 7)[0] == [0, 1, 0, 0, 1, 0, 0]  # a new episode
    other = explore(reopen=True)
    other.reset()
    resumed = other.load_state_dict(state)
    assert texts(other, resumed[0])["achieved"] == ["achieved: chop tree"]
    assert play(other, 4)[0] == [0, 1, 0, 0]


def test_rare_events_are_worth_more(explore):
    """In the first episode all weights are 1, then 1 and, for what was never rewarded, 10."""

    class TreeFirst(GoalSuggester):
        only_tree = True

        def suggest(self, situations):
            return [("chop tree",) if self.only_tree else ("chop tree", "drink water")] * len(situations)

    suggester = TreeFirst()
    worlds = explore(suggester, rarity=InverseRate(0.5))
    worlds.reset()
    assert play(worlds, 7)[0] == [0, 1, 0, 0, 0, 0, 0]
    suggester.only_tree = False
    state = worlds.state_dict()
    assert play(worlds, 7)[0] == [0, 1, 0, 0, 10, 0, 0]
    other = explore(suggester, rarity=InverseRate(0.5))
    other.reset()
    other.load_state_dict(json.loads(json.dumps(state)))
    assert play(other, 7)[0] == [0, 1, 0, 0, 10, 0, 0]  # resumed
    # Means .005 and 0, then .009975 and .005: water is worth the root of their ratio.
    assert play(other, 7)[0][4] == pytest.approx((0.009975 / 0.005) ** 0.5)


def test_environment_reward_is_added_by_weight(explore):
    worlds = explore(NoGoals(), extrinsic_weight=2.0)
    worlds.reset()
    assert play(worlds, 3)[0] == [1.0, 1.0, 1.0]
