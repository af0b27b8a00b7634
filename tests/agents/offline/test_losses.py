"""The losses of the offline agents, worked out by hand, and the arrays that batches are drawn from."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.agents.offline.awr import AWR, advantage_weights, awr_loss
from ellm_agent.agents.offline.bc import bc_loss
from ellm_agent.agents.offline.buffer import (
    LoggedTransitions,
    OfflineBuffer,
    best_episodes,
    discounted_returns,
    n_step_returns,
)
from ellm_agent.agents.offline.cql import cql_penalty
from ellm_agent.agents.offline.iql import expectile_loss, td_loss


def column(*values):
    return torch.tensor(values)[:, None]


def test_bc():
    assert bc_loss(torch.tensor([-1.0, -3.0])).item() == 2.0


def test_awr():
    # exp(.5 / .5) = e; exp(-1 / .5) = e^-2; exp(10 / .5) is cut at 20.
    weights = advantage_weights(torch.tensor([0.5, -1.0, 10.0]), 0.5, 20.0)
    assert weights.tolist() == pytest.approx([math.e, math.exp(-2), 20.0])
    log_probs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    loss = awr_loss(log_probs, weights.requires_grad_())
    assert loss.item() == pytest.approx((math.e + 2 * math.exp(-2) + 10) / 3)
    loss.backward()
    assert weights.grad is None


@pytest.mark.parametrize(("tau", "loss"), [(0.5, 1.25), (0.8, 0.8), (0.9, 0.65)])
def test_iql_value(tau, loss):
    # u = 1 and -2: tau * 1 and (1 - tau) * 4, halved.
    assert expectile_loss(torch.tensor([1.0, -2.0]), tau).item() == pytest.approx(loss)


def test_expectile_of_a_coin():
    """The minimum over V of the loss for Q in {0, 1} with P(1) = .3: tau .3 / (tau .3 + (1 - tau) .7)."""
    q = torch.tensor([1.0] * 3 + [0.0] * 7)
    grid = torch.linspace(0, 1, 1001)
    for tau, wanted in ((0.5, 0.3), (0.7, 0.5), (0.9, 0.794)):
        best = grid[torch.stack([expectile_loss(q - v, tau) for v in grid]).argmin()]
        assert best.item() == pytest.approx(wanted, abs=1e-3)


def test_iql_critics():
    # Targets 1 + .9 * 2 = 2.8 and 0 + 0 (terminated); errors -.2 and 1, and 1.8 and 0.
    first, second = column(3.0, 1.0), column(1.0, 0.0)
    loss = td_loss([first, second], column(1.0, 0.0), column(0.9, 0.0), column(2.0, 5.0))
    assert loss.item() == pytest.approx((0.04 + 1) / 2 + (3.24 + 0) / 2)


def test_cql_penalty():
    # log(1 + 1 + 2) - log 2 and log 3 - 0.
    q = torch.tensor([[0.0, 0.0, math.log(2)], [0.0, 0.0, 0.0]])
    assert cql_penalty(q, torch.tensor([[2], [0]])).item() == pytest.approx((math.log(2) + math.log(3)) / 2)


class Still(gym.Env):
    """Spaces of a world with one state and two actions."""

    observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        return np.zeros(1, np.float32), {}


STARTS = np.array([0, 3, 5])
REWARDS = np.array([1.0, 2.0, 4.0, 8.0, 16.0], np.float32)
TERMINATED = np.array([0, 0, 1, 0, 0], bool)  # the second episode ends by time


def test_n_step_returns():
    total, steps, discounts = n_step_returns(REWARDS, TERMINATED, STARTS, 0.5, 2)
    assert total.tolist() == [2.0, 4.0, 4.0, 16.0, 16.0]
    assert steps.tolist() == [2, 2, 1, 2, 1]
    assert discounts.tolist() == [0.25, 0.0, 0.0, 0.25, 0.5]  # a time limit does not stop the bootstrap


def test_returns_to_the_end_of_an_episode():
    """A truncated episode goes on with the value of its last observation; AWR's returns are made so."""
    total, steps, discounts = n_step_returns(REWARDS, TERMINATED, STARTS, 0.5, None)
    assert total.tolist() == [3.0, 4.0, 4.0, 16.0, 16.0]
    assert steps.tolist() == [3, 2, 1, 2, 1]
    assert discounts.tolist() == [0.0, 0.0, 0.0, 0.25, 0.5]


@pytest.mark.parametrize(("terminated", "value"), [(True, 1.0), (False, 2.0)])
def test_awr_learns_the_value_after_a_truncated_episode(terminated, value):
    """One state with reward 1 in each frame, gamma .5: worth 1 at the end of an episode, and 2 if it goes on."""
    log = LoggedTransitions(
        np.zeros((2, 1), np.float32), np.array([0, 1]), np.zeros(1, int), np.ones(1), np.array([terminated])
    )
    worlds = DummyVecEnv([Still])
    agent = AWR(ActorCriticPolicy, worlds, log, 0.05, 1, gamma=0.5, seed=0, policy_kwargs={"net_arch": []})
    agent.learn(200)
    assert agent.policy.predict_values(torch.zeros(1, 1)).item() == pytest.approx(value, abs=0.05)


def test_returns_and_best_episodes():
    assert discounted_returns(REWARDS, STARTS, 0.5).tolist() == [3.0, 4.0, 4.0, 16.0, 16.0]
    lengths = np.array([4, 1, 5])
    assert best_episodes(np.array([1.0, 3.0, 2.0]), lengths, 0.1).tolist() == [False, True, False]
    assert best_episodes(np.array([1.0, 3.0, 2.0]), lengths, 0.2).tolist() == [False, True, True]
    assert best_episodes(np.array([1.0, 3.0, 2.0]), lengths, 1.0).all()


def test_batches_hold_whole_transitions():
    """Row r is r; so transition t of episode e goes from row t + e, and n steps on, never into another episode."""
    rows = np.arange(7, dtype=np.int16)[:, None]  # 4 states of the first episode, 3 of the second
    log = LoggedTransitions(rows, STARTS, np.arange(5), REWARDS, TERMINATED)
    buffer = OfflineBuffer(log, 0.5, n_steps=2)
    np.random.seed(0)
    batch = buffer.sample(200)
    seen = {
        (int(s), int(a), float(r), float(d), int(n))
        for s, a, r, d, n in zip(*(column.squeeze(1).tolist() for column in batch), strict=True)
    }
    assert seen == {
        (0, 0, 2.0, 0.25, 2),
        (1, 1, 4.0, 0.0, 3),
        (2, 2, 4.0, 0.0, 3),
        (4, 3, 16.0, 0.25, 6),
        (5, 4, 16.0, 0.5, 6),
    }
    best = OfflineBuffer(log, 0.5, top_share=0.2)
    assert set(best.sample(50).actions.squeeze(1).tolist()) == {3, 4}
