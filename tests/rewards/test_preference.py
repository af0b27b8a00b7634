"""The reward learned from preferences: its equations by hand, and rewards recovered up to scale (Christiano et al. 2017)."""

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ellm_agent.records import Transitions
from ellm_agent.rewards.preference import (
    CHANGE_WEIGHT,
    EVENT_WEIGHT,
    FIRST_PENALTY,
    STATE_WEIGHT,
    PreferenceReward,
    new_phrases,
)
from ellm_agent.rewards.preference_model import (
    adapted_penalty,
    agreement,
    disagreement,
    ensemble_deviation,
    normalised,
    preference_loss,
    preference_probability,
    softened,
)
from ellm_agent.text.sentence_bert import DIMENSIONS

STATES = 10


def test_probability_by_hand():
    """Sums 3 and 2: sigmoid(1)."""
    left, right = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, -1.0]])
    assert preference_probability(left, right).tolist() == pytest.approx([1 / (1 + math.exp(-1)), 0.5])


def test_ten_percent_of_answers_are_guesses():
    assert softened(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0.05, 0.5, 0.95])
    assert softened(torch.tensor(1.0), errors=0.5).item() == 0.75


def test_loss_by_hand():
    """Left, right and a tie, each with P(left) = 0.8."""
    loss = preference_loss(torch.full((3,), 0.8), torch.tensor([1.0, 0.0, 0.5]))
    ties = -(math.log(0.8) + math.log(0.2)) / 2
    assert loss.tolist() == pytest.approx([-math.log(0.8), -math.log(0.2), ties])


def test_members_are_normalised_before_they_are_averaged():
    """One member's rewards are 10 to 30, another's -1 to 1: (r - 20) / 10 and r, on average."""
    rewards = torch.tensor([[10.0, 30.0], [-1.0, 0.0]])
    own = normalised(rewards, torch.tensor([20.0, 0.0]), torch.tensor([10.0, 1.0]))
    assert own.mean(0).tolist() == pytest.approx([-1.0, 0.5])


def test_the_deviation_of_members_by_hand():
    """Of 1, 2 and 3: 1, with n - 1; of equal ones, and of a single member, 0."""
    assert ensemble_deviation(torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])).tolist() == [1.0, 0.0]
    assert ensemble_deviation(torch.tensor([[1.0, 5.0]])).tolist() == [0.0, 0.0]


def test_disagreement_and_agreement_by_hand():
    """Variance of 0.2, 0.4 and 0.9 is 0.26 / 3; all three say the same of the second pair alone."""
    probabilities = torch.tensor([[0.2, 0.7], [0.4, 0.7], [0.9, 0.7]])
    assert disagreement(probabilities).tolist() == pytest.approx([0.26 / 3, 0.0], abs=1e-7)
    assert agreement(probabilities).item() == 0.5


def test_the_penalty_follows_the_ratio_of_losses():
    """Ratios 2, 1.3, 1 and unknown: up, as it is, down, as it is."""
    training, validation = torch.ones(4), torch.tensor([2.0, 1.3, 1.0, math.nan])
    penalty = adapted_penalty(torch.full((4,), 1e-3), training, validation)
    assert penalty.tolist() == pytest.approx([1.5e-3, 1e-3, 1e-3 / 1.5, 1e-3])
    assert adapted_penalty(torch.tensor([3.0]), torch.ones(1), torch.full((1,), 2.0)).item() == 3.0


def test_the_event_is_what_is_new():
    before, after = np.array([[1, 2, 0], [4, 5, 6]]), np.array([[2, 3, 0], [6, 5, 4]])
    assert new_phrases(before, after).tolist() == [[0, 3, 0], [0, 0, 0]]


def test_vectors_by_hand():
    """States of two phrases, of which the second is about events. First both change, then the first alone."""
    reward = PreferenceReward(features(), 2, seed=0, events=slice(1, 2))
    before, after = np.array([[1, 0], [1, 3]]), np.array([[2, 3], [2, 3]])
    state, event = reward.vectors(before, after).split(DIMENSIONS, dim=1)
    table = features().tensor
    assert state.numpy() == pytest.approx(STATE_WEIGHT * (table[2] + table[3]).repeat(2, 1).numpy(), abs=1e-6)
    assert event[0].numpy() == pytest.approx(
        (EVENT_WEIGHT * table[3] + CHANGE_WEIGHT * table[2]).numpy(), abs=1e-6
    )
    assert event[1].numpy() == pytest.approx((CHANGE_WEIGHT * table[2]).numpy(), abs=1e-6)


def features(seed=0):
    """A random vector for each of the states 1 to 10; id 0 is padding."""
    vectors = torch.randn(STATES + 1, DIMENSIONS, generator=torch.Generator().manual_seed(seed))
    vectors[0] = 0
    return SimpleNamespace(tensor=vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1))


def make(seed=0, **options):
    return PreferenceReward(features(), 1, hidden=8, learning_rate=1e-2, seed=seed, **options)


def clips(random, count, frames):
    """Walks over the states, ``(count, frames + 1, 1)``."""
    return random.integers(1, STATES + 1, (count, frames + 1, 1))


def teach(reward, true, random, count, frames, fits):
    """Comparisons of random clips by their true returns, a tenth of them guesses; the clips."""
    walks = clips(random, 2 * count, frames)
    returns = true[walks[:, 1:, 0]].sum(1)
    for n in range(count):
        left, right = 2 * n, 2 * n + 1
        better = float(returns[left] > returns[right]) if random.random() > 0.1 else float(random.integers(2))
        reward.put(str(n), walks[left], walks[right], better)
    for _ in range(fits):
        reward.fit(walks)
    return walks


def scores(reward):
    """The reward of each state, reached from any other: mean over these."""
    states = np.arange(1, STATES + 1)[:, None]
    return np.mean(
        [reward.score(np.full_like(states, other), states) for other in range(1, STATES + 1)], axis=0
    )


@pytest.mark.parametrize(("frames", "count"), [(1, 150), (5, 300)], ids=["bandit", "chain"])
def test_a_reward_is_recovered_up_to_scale(frames, count):
    """Of ten arms (clips of one frame), and of a chain of ten states (clips of five)."""
    random = np.random.default_rng(0)
    true = np.concatenate([[0], random.permutation(STATES) / 3])
    reward = make()
    assert not scores(reward).any()  # nothing before it has learned
    assert not reward.predicted_returns(clips(random, 2, frames)).any()
    teach(reward, true, random, count, frames, fits=8)
    assert np.corrcoef(scores(reward), true[1:])[0, 1] > 0.95
    figures = reward.metrics()
    assert figures["preference/comparisons"] == count
    assert figures["preference/held_out_accuracy"] > 0.7
    assert figures["preference/penalty"] != pytest.approx(FIRST_PENALTY)


def test_optimism_helps_what_few_comparisons_decide():
    """State 1 is most frequent and worth nothing; all others are worth the same, and the last is in two clips of 400."""
    plain, optimistic, true = [], [], np.array([0.0, 0.0, *np.ones(STATES - 1)])
    for seed in range(5):
        random = np.random.default_rng(seed)
        walks = np.where(random.random((400, 4, 1)) < 0.7, 1, random.integers(2, STATES, (400, 4, 1)))
        walks[:2, 2] = STATES
        left, right = true[walks[:, 1:, 0]].sum(1).reshape(2, 200)
        rewards = make(seed), make(seed, optimism=1.0)
        for reward in rewards:
            for n in range(200):
                reward.put(str(n), walks[n], walks[200 + n], float(np.sign(left[n] - right[n]) + 1) / 2)
            for _ in range(5):
                reward.fit(walks)
        assert np.allclose(*(reward.predicted_returns(walks) for reward in rewards))
        for found, reward in zip((plain, optimistic), rewards, strict=True):
            found.append(scores(reward))
    plain, optimistic = np.mean(plain, axis=0), np.mean(optimistic, axis=0)
    assert plain[-1] < plain[1:-1].min()
    assert (optimistic > plain).all()
    assert (optimistic - plain).argmax() == STATES - 1


START, SEVEN, BOTH = [1, 0, 0], [1, 7, 0], [1, 7, 8]  # a place, and events that have happened in it


def asked_about_events(event_bonus):
    """Of the compared clips four hold event 7, one holds event 8, none 9 and 10."""
    reward = PreferenceReward(features(), 3, hidden=8, events=slice(1, 3), event_bonus=event_bonus)
    pairs = [(START, SEVEN), (SEVEN, SEVEN), (START, START), (BOTH, START)]
    for n, ends in enumerate(pairs):
        left, right = (np.array([START, end]) for end in ends)
        reward.put(str(n), left, right, 1.0)
    reward.fit(np.array([[START, START], [START, SEVEN]]))
    return reward


def test_the_bonus_of_events_by_hand():
    before = np.array([*[START] * 6, SEVEN])
    after = np.array([START, [2, 0, 0], SEVEN, [1, 0, 8], [1, 9, 0], [1, 10, 8], SEVEN])
    bonus = asked_about_events(6).score(before, after) - asked_about_events(0).score(before, after)
    assert bonus == pytest.approx(
        [0, 0, 6 / math.sqrt(5), 6 / math.sqrt(2), 6, 6 + 6 / math.sqrt(2), 0], abs=1e-5
    )


def test_an_event_has_no_bonus_before_anything_is_learned():
    reward = PreferenceReward(features(), 3, hidden=8, events=slice(1, 3), event_bonus=6)
    assert reward.score(np.array([START]), np.array([BOTH])) == 0


def test_the_bonus_of_a_saved_reward_is_the_same():
    one, other = (
        asked_about_events(6),
        PreferenceReward(features(), 3, hidden=8, events=slice(1, 3), event_bonus=6),
    )
    state = one.state_dict()
    other.load_state_dict(state)
    states = np.array([START]), np.array([BOTH])
    assert other.score(*states) == one.score(*states)
    # One of 0.12.0 had no bonus; its replay holds none, either.
    del state["event_counts"]
    other.load_state_dict(state)
    assert other.score(*states) == pytest.approx(asked_about_events(0).score(*states))


def test_what_most_transitions_are_is_worth_nothing():
    """Three of four transitions stay in state 1."""
    random = np.random.default_rng(0)
    walks = np.where(random.random((80, 5, 1)) < 0.9, 1, random.integers(1, STATES + 1, (80, 5, 1)))
    reward = make()
    for n in range(40):
        reward.put(str(n), walks[2 * n], walks[2 * n + 1], float(random.integers(2)))
    reward.fit(walks)
    stay = np.ones((3, 1), int)
    assert reward.score(stay, stay) == pytest.approx(np.zeros(3), abs=1e-6)
    other = np.full((3, 1), 5)
    assert (reward.score(stay, other) != 0).all()
    before, after = walks[:, :-1].reshape(-1, 1), walks[:, 1:].reshape(-1, 1)
    assert (before == after).mean() > 0.5


def test_ties_count_half():
    """Always a tie: no clip is better."""
    random, reward = np.random.default_rng(0), make()
    walks = clips(random, 40, 3)
    for n in range(20):
        reward.put(str(n), walks[2 * n], walks[2 * n + 1], 0.5)
    for _ in range(8):
        reward.fit(walks)
    returns = reward.returns(walks)
    assert (preference_probability(returns[:, ::2, None], returns[:, 1::2, None]) - 0.5).abs().max() < 0.15


def test_a_choice_can_be_changed_and_taken_back():
    random, reward = np.random.default_rng(0), make()
    left, right = clips(random, 2, 3)
    for preferred in (1.0, 0.0, 1.0):
        reward.put("a", left, right, preferred)
    reward.drop("a")
    reward.drop("b")
    assert len(reward) == 0
    reward.fit(np.stack([left, right]))  # of nothing, there is nothing to learn
    assert not scores(reward).any()


def test_a_state_that_was_saved_goes_on_with_the_same_bits():
    random = np.random.default_rng(0)
    true = np.arange(STATES + 1.0)
    one, other = make(), make(seed=1)
    walks = teach(one, true, random, 20, 3, fits=1)
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for reward in (one, other):
        reward.put("new", walks[0], walks[3], 1.0)
        reward.fit(walks)
    assert np.array_equal(scores(one), scores(other))
    assert one.metrics() == other.metrics()


def test_a_transition_is_scored_like_its_clip():
    random, reward = np.random.default_rng(0), make()
    walks = teach(reward, np.arange(STATES + 1.0), random, 20, 3, fits=1)
    rewards = sum(
        reward.reward(
            Transitions(walks[:, t], None, walks[:, t + 1], np.zeros(len(walks), bool), walks[:, 0])
        )
        for t in range(3)
    )
    assert rewards.tolist() == pytest.approx(reward.predicted_returns(walks).tolist(), abs=1e-4)
