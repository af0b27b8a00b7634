"""The reward, worked out by hand on vectors chosen by hand."""

import numpy as np
import pytest

from ellm_agent.records import NO_REWARD
from ellm_agent.rewards.goal_similarity import GoalSimilarity, ellm_reward
from envs.crafter.knowledge import canonical, knowledge

# Unit vectors in the plane: cosines are 0.8, 0.6 and 0.96 by hand.
VECTORS = {
    "chop tree": [1.0, 0.0],
    "cut tree": [0.8, 0.6],
    "fell tree": [0.96, 0.28],
    "drink water": [0.0, 1.0],
}


@pytest.fixture
def reward(table):
    table.known.update(VECTORS)
    return GoalSimilarity(0.7, encode=table.encode)


def test_rewards_the_largest_cosine_above_the_threshold(reward):
    rewarded = reward.reward(["chop tree"], ["cut tree", "fell tree", "drink water"])
    assert rewarded.value == pytest.approx(0.96)
    assert rewarded.goals == ("cut tree", "fell tree")
    assert rewarded.events == ("chop tree",)
    assert reward.reward(["chop tree"], ["cut tree"]).value == pytest.approx(0.8)


def test_rewards_nothing_at_or_below_the_threshold(table):
    table.known.update(VECTORS)
    assert GoalSimilarity(1.0, encode=table.encode).reward(["chop tree"], ["chop tree"]) == NO_REWARD
    assert GoalSimilarity(0.9, encode=table.encode).reward(["chop tree"], ["cut tree"]) == NO_REWARD
    assert GoalSimilarity(0.7, encode=table.encode).reward(["chop tree"], []) == NO_REWARD
    assert GoalSimilarity(0.7, encode=table.encode).reward([], ["chop tree"]) == NO_REWARD


def test_several_events_are_rewarded_once_and_are_all_achieved(reward):
    rewarded = reward.reward(["chop tree", "drink water"], ["cut tree", "drink water"])
    assert rewarded.value == pytest.approx(1.0)
    assert set(rewarded.events) == {"chop tree", "drink water"}
    assert set(rewarded.goals) == {"cut tree", "drink water"}


def test_achieved_goals_and_their_other_wordings_are_filtered(reward):
    goals = ["chop tree", "cut tree", "drink water"]
    assert reward.open_goals(goals, ()) == tuple(goals)
    assert reward.open_goals(goals, ["chop tree"]) == ("drink water",)
    assert reward.open_goals(goals, ["drink water"]) == ("chop tree", "cut tree")
    assert reward.open_goals(goals, ["chop tree", "drink water"]) == ()


def test_what_is_achieved_closes_goals_in_all_their_wordings(reward):
    goals = ("chop tree", "cut tree", "drink water")
    assert reward.reward(["fell tree"], goals).goals == ("chop tree", "cut tree")
    assert reward.reward(["fell tree"], goals, ["chop tree"]) == NO_REWARD
    assert reward.reward(["fell tree", "drink water"], goals, ["chop tree"]).goals == ("drink water",)
    assert reward.reward(["fell tree"], goals, ["drink water"]).events == ("fell tree",)


def test_a_new_event_can_satisfy_goals_looked_up_before(reward):
    assert reward.open_goals(["fell tree"], ["drink water"]) == ("fell tree",)
    assert reward.open_goals(["fell tree"], ["drink water", "chop tree"]) == ()


def test_known_texts_are_encoded_in_one_batch_and_others_one_by_one(table):
    """A vector must not depend on what else was new: a resumed run meets texts in other batches."""
    batches = []

    def encode(texts):
        batches.append(list(texts))
        return table.encode(texts)

    table.known.update(VECTORS)
    reward = GoalSimilarity(0.7, encode=encode)
    reward.prepare(["chop tree", "drink water", "Chop tree"])
    reward.reward(["chop tree"], ["cut tree", "fell tree"])
    reward.reward(["chop tree"], ["cut tree", "drink water"])
    assert batches == [["chop tree", "drink water"], ["cut tree"], ["fell tree"]]
    table.known["chop tree"] = [0.0, 1.0]  # in another batch; what is known keeps its vector
    reward.prepare(["chop tree", "hew tree"])
    assert batches[3:] == [["chop tree", "hew tree"]]
    assert reward.cosine("drink water", "chop tree") == 0.0


def test_the_equation_by_hand():
    """Two events, three open goals, T = 0.7: the reward is the largest cosine above T."""
    value, satisfied = ellm_reward(np.array([[0.71, 0.2, 0.69], [0.1, 0.9, 0.7]]), threshold=0.7)
    assert value == 0.9
    assert satisfied.tolist() == [[True, False, False], [False, True, False]]
    value, satisfied = ellm_reward(np.array([[0.7, -1.0]]), threshold=0.7)
    assert value == 0.0
    assert not satisfied.any()


@pytest.mark.parametrize("threshold", [-1.01, 1.5, float("nan")])
def test_threshold_is_a_cosine(table, threshold):
    with pytest.raises(ValueError, match="cosine"):
        GoalSimilarity(threshold, encode=table.encode)


def test_real_sentence_bert_tells_paraphrases_from_near_misses():
    reward = GoalSimilarity(0.78, canonical)
    assert reward.cosine("chop tree", "chop tree") == pytest.approx(1.0, abs=1e-5)
    assert reward.satisfies("chop tree", "Chop down a tree!")
    assert reward.satisfies("eat cow", "attack the cow")  # a synonym, told as one goal
    assert reward.reward(["eat cow"], ["attack cow", "eat cow"]).value == pytest.approx(1.0, abs=1e-5)
    assert reward.open_goals(["attack cow"], ["eat cow"]) == ()
    assert not reward.satisfies("make wood pickaxe", "make stone pickaxe")
    for event in knowledge().goals:
        assert [goal for goal in knowledge().goals if reward.satisfies(event, goal)] == [event]
