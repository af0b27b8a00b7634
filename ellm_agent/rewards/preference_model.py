"""Equations and networks of a reward learned from preferences (Christiano et al. 2017, "Deep RL from human preferences").

A clip sigma is a sequence of transitions. An ensemble predicts the reward of each; the sums explain the choices:

    P(left > right) = sigmoid(sum r(left) - sum r(right))                                  (equation 1)
    loss            = - mu log P' - (1 - mu) log(1 - P'),   P' = 0.9 P + 0.05              (section 2.2.3)

mu is 1 where the left clip was preferred, 0 where the right one was, 1/2 for a tie.
"""

from __future__ import annotations

import math

import torch
from torch import nn

ERRORS = 0.1  # share of answers that are taken to be uniform guesses (section 2.2.3)
BOUNDS = (1.1, 1.5)  # validation loss / training loss that regularisation aims at (appendix A)
STEP = 1.5  # factor by which the penalty changes after each pass
PENALTIES = (1e-6, 3.0)  # least and largest


def preference_probability(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """P(left > right) = sigmoid(sum r(left) - sum r(right))  (equation 1).

    Args:
        left: rewards of the left clips, ``(..., frames)``.
        right: of the right ones, likewise.
    """
    return torch.sigmoid(left.sum(-1) - right.sum(-1))


def softened(probability: torch.Tensor, errors: float = ERRORS) -> torch.Tensor:
    """(1 - e) P + e / 2: with probability e the answer is a uniform guess  (section 2.2.3)."""
    return (1 - errors) * probability + errors / 2


def preference_loss(probability: torch.Tensor, preferred: torch.Tensor) -> torch.Tensor:
    """- mu log P - (1 - mu) log(1 - P), for each comparison  (section 2.2.3).

    Args:
        probability: softened P(left > right), ``(..., batch)``.
        preferred: mu: 1 for the left clip, 0 for the right one, 1/2 for a tie, ``(batch,)``.
    """
    return -(preferred * probability.log() + (1 - preferred) * (1 - probability).log())


def normalised(rewards: torch.Tensor, zeros: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Each member's rewards with its zero point at 0 and deviation 1; their mean is the reward  (section 2.2.3).

    Args:
        rewards: ``(members, n)``.
        zeros: what counts as 0 in each member's rewards, ``(members,)``.
        deviations: of each member's rewards, ``(members,)``.

    Returns:
        ``(members, n)``.
    """
    return (rewards - zeros[:, None]) / deviations[:, None]


def ensemble_deviation(rewards: torch.Tensor) -> torch.Tensor:
    """Standard deviation over the members, the reward for exploration of Liang et al. 2022 ("Reward uncertainty for
    exploration in preference-based reinforcement learning"); ``(members, n) -> (n,)``, 0 of one member."""
    return rewards.std(0, unbiased=len(rewards) > 1)


def disagreement(probabilities: torch.Tensor) -> torch.Tensor:
    """Variance of P(left > right) over the members  (section 2.2.4); ``(members, n) -> (n,)``."""
    return probabilities.var(0, unbiased=False)


def agreement(probabilities: torch.Tensor) -> torch.Tensor:
    """Share of pairs of clips of which all members prefer the same one; ``(members, n) -> ()``."""
    left = probabilities > 0.5
    return (left == left[0]).all(0).float().mean()


def adapted_penalty(penalty: torch.Tensor, training: torch.Tensor, validation: torch.Tensor) -> torch.Tensor:
    """The l2 penalty of each member, larger where its validation loss is more than 1.5 times its training loss, smaller
    where it is less than 1.1 times  (appendix A).

    Args:
        penalty: ``(members,)``.
        training: loss on the comparisons that a member learns from, ``(members,)``.
        validation: loss on those that it does not, ``(members,)``; NaN where there are none.
    """
    ratio = validation / training
    factor = torch.ones_like(penalty)
    factor[ratio > BOUNDS[1]] = STEP
    factor[ratio < BOUNDS[0]] = 1 / STEP
    return (penalty * factor).clamp(*PENALTIES)


class RewardEnsemble(nn.Module):
    """Networks with one hidden layer, all evaluated at once.

    Args:
        members: networks.
        inputs: length of a transition's vector.
        hidden: units of the hidden layer.
        generator: of the first weights.
    """

    def __init__(self, members: int, inputs: int, hidden: int, generator: torch.Generator):
        super().__init__()

        def uniform(*shape: int, fan_in: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            return nn.Parameter((2 * torch.rand(*shape, generator=generator) - 1) * bound)

        self.inner = uniform(members, inputs, hidden, fan_in=inputs)
        self.bias = nn.Parameter(torch.zeros(members, 1, hidden))
        self.outer = uniform(members, hidden, 1, fan_in=hidden)

    def forward(self, transitions: torch.Tensor) -> torch.Tensor:
        """Rewards: ``(n, inputs) -> (members, n)``."""
        hidden = torch.relu(transitions @ self.inner + self.bias)  # (members, n, hidden)
        return (hidden @ self.outer).squeeze(2)

    def norms(self) -> torch.Tensor:
        """Sum of each member's squared weights, ``(members,)``."""
        return self.inner.square().sum((1, 2)) + self.outer.square().sum((1, 2))
