"""The agent: targets worked out by hand, its parts, and a trivial environment that it must solve."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.agents.dqn import DuelingQNetwork, TextDQN, TextDQNPolicy
from ellm_agent.agents.random_policy import RandomAgent
from ellm_agent.agents.targets import double_q_target, munchausen_target
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.text.whitening import PhraseFeatures


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float32).unsqueeze(1)


def test_double_q_target_by_hand():
    """Online prefers action 1, whose target value is 4; the second episode has ended."""
    y = double_q_target(
        rewards=column(1.0, 2.0),
        dones=column(0.0, 1.0),
        discounts=0.5,
        next_q_online=torch.tensor([[1.0, 3.0], [0.0, 9.0]]),
        next_q_target=torch.tensor([[10.0, 4.0], [5.0, 5.0]]),
    )
    assert y.flatten().tolist() == [1.0 + 0.5 * 4.0, 2.0]


def test_double_q_target_with_n_step_discounts():
    y = double_q_target(
        column(1.0, 1.0),
        column(0.0, 0.0),
        column(0.125, 0.5),
        torch.tensor([[0.0, 1.0]] * 2),
        torch.tensor([[0.0, 8.0]] * 2),
    )
    assert y.flatten().tolist() == [2.0, 5.0]


def test_munchausen_target_by_hand():
    """t = 1, Q(s) = (ln 3, 0): pi(a|s) = (3/4, 1/4); Q(s') = (ln 2, ln 6): soft value ln 8."""
    arguments = {
        "rewards": column(1.0),
        "dones": column(0.0),
        "discounts": 0.5,
        "actions": torch.tensor([[1]]),
        "q_target": torch.tensor([[math.log(3), 0.0]]),
        "next_q_target": torch.tensor([[math.log(2), math.log(6)]]),
        "temperature": 1.0,
        "scale": 0.9,
        "clip": -10.0,
    }
    expected = 1.0 + 0.9 * math.log(1 / 4) + 0.5 * math.log(8)
    assert munchausen_target(**arguments).item() == pytest.approx(expected, abs=1e-6)
    clipped = {**arguments, "clip": -1.0}
    assert munchausen_target(**clipped).item() == pytest.approx(1.0 - 0.9 + 0.5 * math.log(8), abs=1e-6)
    ended = {**arguments, "dones": column(1.0)}
    assert munchausen_target(**ended).item() == pytest.approx(1.0 + 0.9 * math.log(1 / 4), abs=1e-6)
    # At another temperature: pi = softmax((2 ln 3, 0)) = (9/10, 1/10), soft value 1/2 ln(2^2 + 6^2).
    cold = {**arguments, "temperature": 0.5}
    expected = 1.0 + 0.9 * 0.5 * math.log(1 / 10) + 0.5 * 0.5 * math.log(40)
    assert munchausen_target(**cold).item() == pytest.approx(expected, abs=1e-6)


def test_soft_value_equals_the_published_sum():
    q = torch.randn(5, 7)
    t = 0.3
    pi, log_pi = torch.softmax(q / t, 1), torch.log_softmax(q / t, 1)
    published = (pi * (q - t * log_pi)).sum(1, keepdim=True)
    ours = munchausen_target(
        column(*[0] * 5), column(*[0] * 5), 1.0, torch.zeros(5, 1, dtype=torch.long), q, q, t, 0.0, -1.0
    )
    assert torch.allclose(ours, published, atol=1e-5)


def test_n_step_returns_stop_at_terminations_and_bootstrap_at_truncations():
    """The replay that SB3 builds for n_steps > 1, on five frames of rewards 1, 2, 4, 8, 16."""
    space = gym.spaces.Box(0, 100, (1,), np.int16)
    replay = NStepReplayBuffer(5, space, gym.spaces.Discrete(2), "cpu", n_envs=1, n_steps=3, gamma=0.5)
    for i, reward in enumerate([1, 2, 4, 8, 16]):
        truncated, terminated = i == 2, i == 4
        replay.add(
            np.array([[i]]),
            np.array([[i + 1]]),
            np.array([[0]]),
            np.array([reward]),
            np.array([truncated or terminated]),
            [{"TimeLimit.truncated": truncated}],
        )
    batch = replay._get_samples(np.array([0, 1, 2, 3, 4]))
    assert batch.rewards.flatten().tolist() == [1 + 1 + 1, 2 + 2, 4, 8 + 8, 16]
    assert batch.discounts.flatten().tolist() == [0.125, 0.25, 0.5, 0.25, 0.5]
    assert batch.dones.flatten().tolist() == [0, 0, 0, 1, 1]  # a truncated episode goes on in the target
    assert batch.next_observations.flatten().tolist() == [3, 3, 3, 5, 5]


@pytest.fixture
def features(table):
    table.known.update({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    table.ids(["a", "b"])
    return PhraseFeatures(table, [1, 2], whiten=False)


def test_encoder_sums_frozen_vectors_and_ignores_padding(features):
    space = gym.spaces.Box(0, 100, (3,), np.int16)
    encoder = TextEncoder(space, features, hidden=4)
    encoder.mlp = encoder.project = torch.nn.Identity()
    pooled = encoder(torch.tensor([[1.0, 2.0, 0.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0]]))
    assert pooled[:, :2].tolist() == [[1, 1], [1, 2], [0, 0]]
    assert list(encoder.parameters()) == []


def test_encoder_reads_phrases_that_arrive_later(features, table):
    encoder = TextEncoder(gym.spaces.Box(0, 100, (1,), np.int16), features, hidden=4)
    table.known["c"] = [0.0, 0.0, 0.5]
    new = table.id("c")
    encoder.mlp = encoder.project = torch.nn.Identity()
    assert encoder(torch.tensor([[float(new)]]))[0, :3].tolist() == [0, 0, 0.5]


def test_offsets_start_at_zero_and_belong_to_one_phrase(features):
    space = gym.spaces.Box(0, 100, (2,), np.int16)
    encoder = TextEncoder(space, features, hidden=2, offsets=2)  # phrases 0 and 1; 2 has none
    encoder.mlp = torch.nn.Identity()
    obs = torch.tensor([[1.0, 2.0], [2.0, 2.0], [1.0, 1.0], [0.0, 0.0]])
    before = encoder(obs).detach()
    with torch.no_grad():
        encoder.offsets += torch.tensor([[9.0, 9.0], [1.0, 2.0]])
    moved = torch.tensor([[1.0, 2.0], [0.0, 0.0], [2.0, 4.0], [0.0, 0.0]])
    assert torch.allclose(encoder(obs) - before, moved, atol=1e-6)


def test_second_derivatives_exist_where_asked_for(features):
    """TRPO differentiates twice; both ways of summing give the same."""
    torch.manual_seed(0)  # of other networks all four units may be dead
    space = gym.spaces.Box(0, 100, (3,), np.int16)
    obs = torch.tensor([[1.0, 2.0, 0.0], [2.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    once, twice = (TextEncoder(space, features, hidden=4, offsets=3, twice=flag) for flag in (False, True))
    twice.load_state_dict(once.state_dict())
    with torch.no_grad():
        for encoder in (once, twice):
            encoder.offsets += torch.arange(12.0).reshape(3, 4)
    assert torch.allclose(once(obs), twice(obs), atol=1e-6)
    loss = twice(obs).square().sum()
    (gradient,) = torch.autograd.grad(loss, twice.offsets, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), twice.offsets)
    assert second.shape == (3, 4)
    assert second.abs().sum() > 0


def test_learned_vectors_need_no_frozen_ones(features):
    space = gym.spaces.Box(0, 100, (1,), np.int16)
    encoder = TextEncoder(space, None, hidden=2, offsets=3)
    encoder.mlp = torch.nn.Identity()
    assert encoder(torch.tensor([[2.0]])).tolist() == [encoder.offsets[2].tolist()]
    assert encoder(torch.tensor([[0.0]])).tolist() == [[0, 0]]


def test_dueling_heads(features):
    space = gym.spaces.Box(0, 100, (2,), np.int16)
    encoder = TextEncoder(space, features, hidden=8)
    network = DuelingQNetwork(space, gym.spaces.Discrete(3), encoder, 8, net_arch=[])
    obs = torch.tensor([[1, 2]])
    with torch.no_grad():
        hidden = encoder(obs.float())
        value, advantage = network.value(hidden), network.q_net(hidden)
        assert torch.allclose(network(obs), value + advantage - advantage.mean(1, keepdim=True))
        assert torch.allclose(network(obs).mean(1), value.flatten(), atol=1e-6)


class Corridor(gym.Env):
    """Says where the agent is ("room i"); walking right to the last of six rooms is worth 1."""

    observation_space = gym.spaces.Box(0, 100, (1,), np.int16)
    action_space = gym.spaces.Discrete(3)  # left, stay, right

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room, self.frames = 0, 0
        return self._observation(), {}

    def step(self, action):
        self.room = max(0, self.room + int(action) - 1)
        self.frames += 1
        ended = self.room == 5
        return self._observation(), float(ended), ended, self.frames >= 30 and not ended, {}

    def _observation(self):
        return np.array([self.room + 1], np.int16)


def _policy_kwargs(table, hidden=32):
    rooms = [f"room {i}" for i in range(6)]
    for i, room in enumerate(rooms):
        table.known[room] = [0.0] * i + [1.0]
    return {
        "features_extractor_class": TextEncoder,
        "features_extractor_kwargs": {
            "features": PhraseFeatures(table, table.ids(rooms), whiten=False),
            "hidden": hidden,
        },
        "net_arch": [],
    }


def _steps_to_goal(agent):
    env = Corridor()
    obs, _ = env.reset()
    for step in range(1, 31):
        obs, _, ended, truncated, _ = env.step(agent.predict(obs, deterministic=True)[0])
        if ended:
            return step
        if truncated:
            break
    return None


@pytest.mark.parametrize(("target", "n_steps"), [("munchausen", 1), ("double", 3)])
def test_dqn_solves_a_corridor(table, target, n_steps):
    agent = TextDQN(
        TextDQNPolicy,
        DummyVecEnv([Corridor] * 4),
        target=target,
        n_steps=n_steps,
        learning_rate=3e-3,
        buffer_size=5_000,
        learning_starts=200,
        batch_size=64,
        gamma=0.9,
        train_freq=1,
        gradient_steps=1,
        target_update_interval=100,
        exploration_fraction=0.5,
        policy_kwargs=_policy_kwargs(table),
        seed=1,
    )
    agent.learn(5_000)
    assert _steps_to_goal(agent) == 5


def test_ppo_solves_the_corridor_with_the_same_encoder(table):
    env = DummyVecEnv([Corridor] * 4)
    agent = PPO(
        "MlpPolicy", env, n_steps=64, batch_size=64, learning_rate=3e-3, gamma=0.9, seed=1, device="cpu",
        policy_kwargs=_policy_kwargs(table),
    )  # fmt: skip
    agent.learn(8_000)
    assert _steps_to_goal(agent) == 5


def test_epsilon_is_drawn_for_each_environment(table):
    agent = TextDQN(
        TextDQNPolicy, DummyVecEnv([Corridor] * 2), target="double", buffer_size=100,
        policy_kwargs=_policy_kwargs(table), seed=0,
    )  # fmt: skip
    obs = np.ones((4_000, 1), np.int16)
    greedy = agent.predict(obs, deterministic=True)[0][0]
    agent.exploration_rate = 0.3
    other = (agent.predict(obs)[0] != greedy).mean()
    assert other == pytest.approx(0.3 * 2 / 3, abs=0.03)


def test_munchausen_policy_samples_from_softmax(table):
    agent = TextDQN(
        TextDQNPolicy, DummyVecEnv([Corridor] * 2), temperature=0.1, buffer_size=100,
        policy_kwargs=_policy_kwargs(table), seed=0,
    )  # fmt: skip
    obs = np.ones((20_000, 1), np.int16)
    with torch.no_grad():
        expected = torch.softmax(agent.q_net(torch.tensor(obs[:1])) / 0.1, 1)[0]
    seen = np.bincount(agent.predict(obs)[0], minlength=3) / len(obs)
    assert seen == pytest.approx(expected.numpy(), abs=0.02)


def test_unknown_target_is_named(table):
    with pytest.raises(ValueError, match="triple"):
        TextDQN(TextDQNPolicy, DummyVecEnv([Corridor]), target="triple", policy_kwargs=_policy_kwargs(table))


def test_pretrained_agents_need_no_random_start(table):
    agent = TextDQN(
        TextDQNPolicy, DummyVecEnv([Corridor] * 2), target="double", buffer_size=100, learning_starts=10**6,
        exploration_initial_eps=0.0, exploration_final_eps=0.0, random_start=False,
        policy_kwargs=_policy_kwargs(table), seed=0,
    )  # fmt: skip
    agent.learn(100)
    greedy = agent.predict(np.ones((1, 1), np.int16), deterministic=True)[0][0]
    first = agent.replay_buffer.observations[:50, :, 0] == 1
    assert (agent.replay_buffer.actions[:50][first] == greedy).all()


def test_random_agent_is_uniform_and_reproducible(table):
    def play(seed):
        agent = RandomAgent(DummyVecEnv([Corridor] * 4), seed)
        chosen = []
        agent.learn(4_000, callback=lambda local, _: chosen.append(local["actions"].copy()) or True)
        assert agent.num_timesteps == 4_000
        return np.concatenate(chosen)

    actions = play(3)
    assert np.bincount(actions, minlength=3) / len(actions) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert (play(3) == actions).all()
    assert (play(4) != actions).any()
