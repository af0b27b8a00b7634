"""Losses of training from feedback, against numbers worked out by hand, and where their gradients go."""

import math

import pytest
import torch

from ellm_agent.llm.value_heads import perturbed
from ellm_agent.lm_training.losses import ilql, kl, ppo, preference


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# --- reward models ------------------------------------------------------------------------------------------


def test_choice_among_four():
    # Scores ln 1, ln 2, ln 3, ln 4: probabilities .1, .2, .3, .4; the second question has equal scores.
    scores = torch.log(torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0]]))
    loss = preference.best_of_k(scores, torch.tensor([2, 0]))
    assert loss.item() == pytest.approx((-math.log(0.3) - math.log(0.25)) / 2)


def test_ranking_of_three():
    # 0 before 1 before 2: three pairs, with differences 1, 2 and 3.
    preferred = torch.tensor([[[0, 1, 1], [0, 0, 1], [0, 0, 0]]], dtype=torch.bool)
    loss = preference.ranking(torch.tensor([[3.0, 2.0, 0.0]]), preferred)
    by_hand = -(math.log(sigmoid(1)) + math.log(sigmoid(3)) + math.log(sigmoid(2))) / 3
    assert loss.item() == pytest.approx(by_hand)


def test_ties_are_left_out_of_a_ranking():
    preferred = torch.zeros(2, 2, 2, dtype=torch.bool)
    preferred[0, 0, 1] = True  # the second question is a tie
    loss = preference.ranking(torch.tensor([[1.0, 0.0], [7.0, -7.0]]), preferred)
    assert loss.item() == pytest.approx(-math.log(sigmoid(1)))
    assert preference.ranking(torch.zeros(1, 2), preferred[1:]).item() == 0.0


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"labels have shape \(1, 3, 3\), but .* \(1, 2, 2\)"):
        preference.ranking(torch.zeros(1, 2), torch.zeros(1, 3, 3, dtype=torch.bool))


def test_pair_accuracy():
    preferred = torch.tensor([[[0, 1, 1], [0, 0, 1], [0, 0, 0]]], dtype=torch.bool)
    assert preference.pair_accuracy(torch.tensor([[3.0, 0.0, 2.0]]), preferred) == pytest.approx(2 / 3)


# --- divergence ---------------------------------------------------------------------------------------------


def test_rewards_of_tokens():
    logp = torch.log(torch.tensor([[0.5, 0.25, 0.9], [0.5, 0.5, 0.5]]))
    reference = torch.log(torch.tensor([[0.25, 0.5, 0.1], [0.5, 0.25, 0.5]]))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    rewards = kl.token_rewards(logp, reference, torch.tensor([2.0, -1.0]), mask, beta=0.1)
    two = math.log(2)
    expected = [[-0.1 * two, 0.1 * two + 2.0, 0.0], [0.0, -0.1 * two, -1.0]]
    torch.testing.assert_close(rewards, torch.tensor(expected))
    # ln 2 - ln 2 in the first answer, ln 2 in the second.
    assert kl.divergence(logp, reference, mask) == pytest.approx(two / 2)


def test_the_adaptive_weight_over_three_steps():
    beta = kl.AdaptiveBeta(0.1, target=6.0)
    beta.update(6.6, 500)  # e = .1
    assert beta.beta == pytest.approx(0.1 * 1.005)
    beta.update(60.0, 500)  # e is clipped to .2
    assert beta.beta == pytest.approx(0.1 * 1.005 * 1.01)
    beta.update(0.0, 1_000)  # e is clipped to -.2
    assert beta.beta == pytest.approx(0.1 * 1.005 * 1.01 * 0.98)
    again = kl.AdaptiveBeta(0.5, target=6.0)
    again.load_state_dict(beta.state_dict())
    assert again.beta == beta.beta
    short = kl.AdaptiveBeta(0.1, target=6.0, horizon=1_000)
    short.update(6.6, 500)
    assert short.beta == pytest.approx(0.1 * 1.05)


def test_a_fixed_weight_stays():
    beta = kl.FixedBeta(0.02)
    beta.update(100.0, 10_000)
    assert beta.beta == 0.02


# --- PPO ----------------------------------------------------------------------------------------------------


def test_advantages():
    rewards = torch.tensor([[1.0, 2.0, 9.0]])
    values = torch.tensor([[0.5, 1.0, 9.0]])
    mask = torch.tensor([[True, True, False]])
    advantage, returns = ppo.advantages(rewards, values, mask, gamma=0.5, lam=0.25)
    # delta_1 = 2 - 1 = 1; delta_0 = 1 + .5 - .5 = 1, and 1 + .5 * .25 * 1.
    torch.testing.assert_close(advantage, torch.tensor([[1.125, 1.0, 0.0]]))
    torch.testing.assert_close(returns, torch.tensor([[1.625, 2.0, 0.0]]))


def test_whitening():
    """Mean 3, deviation 2; without the shift the mean stays."""
    values, mask = torch.tensor([[1.0, 5.0, 100.0]]), torch.tensor([[True, True, False]])
    torch.testing.assert_close(ppo.whiten(values, mask), torch.tensor([[-1.0, 1.0, 0.0]]))
    torch.testing.assert_close(ppo.whiten(values, mask, shift=False), torch.tensor([[2.0, 4.0, 0.0]]))


def test_the_clipped_surrogate():
    old, mask = torch.zeros(1, 3), torch.tensor([[True, True, False]])
    logp = torch.log(torch.tensor([[1.5, 0.5, 9.0]])).requires_grad_()
    loss = ppo.policy_loss(logp, old, torch.tensor([[1.0, 1.0, 1.0]]), mask, clip=0.2)
    assert loss.item() == pytest.approx(-(1.2 + 0.5) / 2)
    loss.backward()  # no gradient where the ratio is beyond the clip, nor outside of the mask
    torch.testing.assert_close(logp.grad, torch.tensor([[0.0, -0.25, 0.0]]))
    # Of a bad action the larger loss counts, too: the ratio of 1.5 is not clipped, that of .5 is, to .8.
    loss = ppo.policy_loss(logp, old, torch.tensor([[-1.0, -1.0, 1.0]]), mask, clip=0.2)
    assert loss.item() == pytest.approx((1.5 + 0.8) / 2)


def test_values_move_by_the_clip_at_most():
    mask = torch.tensor([[True]])
    loss = ppo.value_loss(torch.tensor([[2.0]]), torch.tensor([[0.0]]), torch.tensor([[3.0]]), mask, clip=0.2)
    assert loss.item() == pytest.approx(0.5 * 2.8**2)
    loss = ppo.value_loss(torch.tensor([[2.0]]), torch.tensor([[0.0]]), torch.tensor([[0.0]]), mask, clip=0.2)
    assert loss.item() == pytest.approx(0.5 * 2.0**2)  # the clipped value, .2, would have less


# --- ILQL ---------------------------------------------------------------------------------------------------


def test_bellman_target_and_its_end():
    following = torch.tensor([2.0, 5.0], requires_grad=True)
    target = ilql.bellman_target(torch.tensor([1.0, 1.0]), following, torch.tensor([False, True]), 0.9)
    torch.testing.assert_close(target, torch.tensor([2.8, 1.0]))
    assert not target.requires_grad


def test_both_heads_follow_the_target():
    loss = ilql.q_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]), torch.tensor([2.0, 2.0]))
    assert loss.item() == pytest.approx((1 + 0) / 2 + (4 + 4) / 2)


def test_expectile():
    values = torch.tensor([0.0, 2.0], requires_grad=True)
    q = torch.tensor([1.0, 1.0], requires_grad=True)
    loss = ilql.expectile_loss(values, q, tau=0.9)
    assert loss.item() == pytest.approx((0.9 * 1 + 0.1 * 1) / 2)
    loss.backward()
    torch.testing.assert_close(values.grad, torch.tensor([-0.9, 0.1]))
    assert q.grad is None
    assert ilql.expectile_loss(values, q, tau=0.5).item() == pytest.approx(0.5)


def test_conservative_term():
    q = torch.log(torch.tensor([[1.0, 3.0]]))
    assert ilql.cql_loss(q, torch.tensor([1])).item() == pytest.approx(-math.log(0.75))


def test_perturbed_decoding():
    logits = torch.log(torch.tensor([[1.0, 3.0]]))
    q1, q2 = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.5, 4.0]])
    result = perturbed(logits, q1, q2, torch.tensor([1.0]), beta=2.0)
    torch.testing.assert_close(result, torch.tensor([[math.log(0.25) + 1.0, math.log(0.75) + 0.0]]))


def test_polyak_averaging():
    target, source = torch.tensor([1.0]), torch.tensor([3.0])
    ilql.polyak([target], [source], 0.25)
    assert target.item() == 1.5
    assert source.item() == 3.0
