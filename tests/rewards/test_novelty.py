"""Rewards for novelty: numbers by hand, references by brute force, and a place where novelty helps."""

import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper
from torch.nn import functional as F

from ellm_agent.build import NOVELTY_MODELS
from ellm_agent.records import Episode
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.novelty import reward as novelty
from ellm_agent.rewards.novelty.apt import APT, nearest
from ellm_agent.rewards.novelty.icm import ICM
from ellm_agent.rewards.novelty.noveld import NovelD
from ellm_agent.rewards.novelty.reward import NoveltyReward
from ellm_agent.rewards.novelty.rnd import RND
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures
from ellm_agent.wrappers.added_reward import AddedReward

ONCE = torch.ones(1, dtype=torch.bool)


def constant(module, weight, bias=0.0):
    """Makes a network of linear layers compute something that can be worked out by hand."""
    for layer in module:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.constant_(layer.weight, weight)
            torch.nn.init.constant_(layer.bias, bias)


# --- RND -----------------------------------------------------------------------------------------------------


def test_rnd_by_hand():
    rnd = RND(2, 3, hidden=4)
    constant(rnd.target, 0.5)  # (2, 1) -> 1.5 in each of 4 -> 3 in each
    constant(rnd.predictor, 1.0)  # (2, 1) -> 3 in each of 4 -> 12 in each
    state = torch.tensor([[2.0, 1.0]])
    assert rnd.score(None, None, state, ONCE).tolist() == [81.0]  # (12 - 3)^2
    assert rnd.loss(None, None, state).item() == 81.0


def test_rnd_error_falls_on_what_repeats_and_stays_on_what_is_new():
    torch.manual_seed(0)
    rnd = RND(8, 3, hidden=32)
    known, new = torch.randn(16, 8), torch.randn(16, 8)
    before = rnd.novelty(known).mean().item(), rnd.novelty(new).mean().item()
    optimizer = torch.optim.Adam(rnd.predictor.parameters(), lr=1e-3)
    target = [p.clone() for p in rnd.target.parameters()]
    for _ in range(400):
        loss = rnd.loss(None, None, known)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = rnd.novelty(known).mean().item(), rnd.novelty(new).mean().item()
    assert after[0] < 0.02 * before[0]
    assert after[1] > 0.3 * before[1]
    assert all(torch.equal(p, q) for p, q in zip(target, rnd.target.parameters(), strict=True))


# --- NovelD ----------------------------------------------------------------------------------------------------


def test_noveld_clips_and_rewards_first_visits_only():
    noveld = NovelD(1, 3, hidden=4, alpha=0.5)
    constant(noveld.target, 0.0)
    constant(noveld.predictor, 0.5)  # s -> s / 2 in each of 4 -> s in each of 4: a norm of 2 s
    before, after = torch.tensor([[2.0], [2.0], [4.0]]), torch.tensor([[3.0], [3.0], [2.0]])
    first = torch.tensor([True, False, True])
    # 6 - 0.5 * 4 = 4; visited before: 0; 4 - 0.5 * 8 = 0
    assert noveld.score(before, None, after, first).tolist() == [4.0, 0.0, 0.0]
    assert NovelD(1, 3, hidden=1).alpha == 1.0  # as in ELLM's official code


# --- ICM -------------------------------------------------------------------------------------------------------


def test_icm_losses_by_hand():
    icm = ICM(2, 3, hidden=2)
    constant(icm.features, 0.5)  # (a, b) -> (a + b) / 2 in both, twice the same: phi = (a + b) / 2
    constant(icm.inverse, 0.0)  # all actions alike
    constant(icm.forward_model, 0.5)
    before, after = torch.tensor([[2.0, 2.0]]), torch.tensor([[4.0, 2.0]])
    actions = torch.tensor([1])
    # phi = 2, phi' = 3; forward: (2 + 2 + 1) / 2 = 2.5 in both, then (2.5 + 2.5) / 2 = 2.5
    forward = 2 * ((2.5 - 3) ** 2) / 2  # over two features
    assert icm.score(before, actions, after, ONCE).item() == pytest.approx(forward)
    assert icm.loss(before, actions, after).item() == pytest.approx(0.8 * np.log(3) + 0.2 * forward)


def test_icm_learns_what_actions_do():
    """Where the action decides what follows, both models become right; the bonus falls."""
    torch.manual_seed(0)
    icm = ICM(4, 3, hidden=32)
    optimizer = torch.optim.Adam(icm.parameters(), lr=1e-3)
    effects = torch.eye(3, 4)
    for step in range(400):
        before, actions = torch.randn(32, 4), torch.randint(3, (32,))
        after = before + effects[actions]
        if step == 0:
            first = icm.score(before, actions, after, ONCE).mean().item()
        loss = icm.loss(before, actions, after)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    phi, next_phi = icm.features(before), icm.features(after)
    guessed = icm.inverse(torch.cat([phi, next_phi], dim=1)).argmax(dim=1)
    assert (guessed == actions).float().mean() > 0.9
    # What cannot be predicted from the action stays worth more than what can.
    noise = icm.score(before, actions, torch.randn(32, 4) * 3, ONCE).mean()
    assert icm.score(before, actions, after, ONCE).mean() < 0.2 * noise
    assert icm.score(before, actions, after, ONCE).mean() < first


# --- APT -------------------------------------------------------------------------------------------------------


def test_nearest_equals_brute_force():
    torch.manual_seed(0)
    known, points = torch.randn(40, 5), torch.randn(7, 5)
    for row, point in zip(nearest(points, known, 12), points, strict=True):
        distances = sorted(float((point - other).norm()) for other in known)
        assert row.tolist() == pytest.approx(distances[:12], abs=1e-3)


def test_apt_equals_brute_force():
    torch.manual_seed(0)
    apt = APT(3, 2, hidden=8, neighbours=4, memory=64)
    visited, total, count = [], 0.0, 0
    with torch.no_grad():
        for batch in [torch.randn(5, 3) for _ in range(6)]:  # thirty states: all of them stay in the sample
            got = apt.score(None, None, batch, ONCE)
            features = apt.features(batch)
            if not visited:
                assert got.tolist() == [0] * 5  # there is nobody to be far from
            else:
                near = [sorted(float((f - g).norm()) for g in visited)[:4] for f in features]
                total, count = total + sum(map(sum, near)), count + sum(map(len, near))
                expected = [np.log(1 + np.mean(row) / (total / count)) for row in near]
                assert got.tolist() == pytest.approx(expected, rel=1e-3)
            visited += list(features)


def test_apt_keeps_a_uniform_sample_in_features_of_today():
    torch.manual_seed(0)
    apt = APT(1, 2, hidden=4, memory=200, refresh=1)
    with torch.no_grad():
        for step in range(100):
            apt.score(None, None, torch.full((20, 1), float(step)), ONCE)
        assert apt.sample.flatten().mean().item() == pytest.approx(49.5, abs=6)  # of 0 to 99, each alike
        assert apt.sample.flatten().std().item() == pytest.approx(28.9, abs=5)
        constant(apt.features, 0.5)  # what was learned
        apt.score(None, None, torch.zeros(1, 1), ONCE)
        assert torch.allclose(apt.sample_features, apt.features(apt.sample))


# --- the wrapper -------------------------------------------------------------------------------------------------


class Room(gym.Env):
    """Eight rooms in a row of seven cells each: no reward at all, and random steps do not get far."""

    cells, length = 56, 100
    observation_space = gym.spaces.Box(0, 100, (1,), np.int16)
    action_space = gym.spaces.Discrete(2)
    visited: set[int]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.frame = 0, 0
        return np.array([1], np.int16), {}

    def step(self, action):
        self.at = min(max(self.at + (1 if action else -1), 0), self.cells - 1)
        self.frame += 1
        self.visited.add(self.at)
        return np.array([1 + self.at], np.int16), 0.0, False, self.frame == self.length, {}


class OneHot(VecEnvWrapper):
    """Shows a plain policy the cell as a one-hot vector."""

    def __init__(self, venv):
        super().__init__(venv, gym.spaces.Box(0, 1, (Room.cells + 1,), np.float32))

    def _shown(self, observations):
        return F.one_hot(torch.as_tensor(observations[:, 0]).long(), Room.cells + 1).float().numpy()

    def reset(self):
        return self._shown(self.venv.reset())

    def step_wait(self):
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._shown(info["terminal_observation"][None])[0]
        return self._shown(observations), rewards, dones, infos


def rooms(n_envs=8):
    visited = set()

    class Counted(Room):
        pass

    Counted.visited = visited
    return DummyVecEnv([Counted] * n_envs), visited


def features():
    phrases = PhraseTable(lambda texts: np.eye(len(texts), 384, dtype=np.float32))
    closed = phrases.ids(f"cell {i}" for i in range(Room.cells))
    return PhraseFeatures(phrases, closed, whiten=False)


def wrapped(kind, weight=1.0, model=None, **arguments):
    """Rooms with a novelty reward, the cells visited in them, and the novelty model."""
    torch.manual_seed(0)
    worlds, visited = rooms()
    shown = features()
    model = model or NOVELTY_MODELS[kind](shown.tensor.shape[1], 2, 64)
    reward = NoveltyReward(worlds.num_envs, shown, model, **arguments)
    return AddedReward(worlds, reward, weight), visited, model


class Spy(RND):
    """RND that keeps the batches it scores, and the scores."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.batches, self.scores = [], []

    def score(self, *batch):
        self.batches.append(batch)
        self.scores.append(super().score(*batch))
        return self.scores[-1]


class SpyAPT(APT):
    """APT that keeps its scores."""

    def score(self, *batch):
        self.last = super().score(*batch)
        return self.last


def test_the_bonus_is_scaled_by_the_deviation_of_its_returns_and_weighted(monkeypatch):
    monkeypatch.setattr(novelty, "WARM_UP", 2)
    torch.manual_seed(0)
    env, _, model = wrapped("rnd", weight=0.5, model=Spy(384, 2, 64), batch_size=10**9)  # never learns
    env.reset()
    returns, all_returns = np.zeros(8), []
    for step in range(6):
        _, rewards, _, _ = env.step(np.ones(8, int))
        if step < 2:
            assert (rewards == 0).all()  # the normalisers have not seen enough
            continue
        raw = model.scores[-1].numpy()
        returns = 0.99 * returns + raw
        all_returns += returns.tolist()
        # SB3's running moments start from a count of 1e-4 at mean 0 and variance 1.
        mean, count = np.mean(all_returns), len(all_returns)
        squares = 1e-4 + count * np.var(all_returns) + mean**2 * 1e-4 * count / (count + 1e-4)
        variance = squares / (count + 1e-4)
        assert rewards == pytest.approx(0.5 * raw / np.sqrt(variance + 1e-8), rel=1e-3)


def test_apt_has_a_scale_of_its_own(monkeypatch):
    monkeypatch.setattr(novelty, "WARM_UP", 0)
    env, _, model = wrapped("apt", weight=0.5, model=SpyAPT(384, 2, 64), batch_size=10**9)
    env.reset()
    for _ in range(3):
        rewards = env.step(np.ones(8, int))[1]
        assert rewards == pytest.approx(0.5 * model.last.numpy())


def test_first_visits_are_of_the_episode(monkeypatch):
    monkeypatch.setattr(novelty, "WARM_UP", 0)
    env, _, model = wrapped("noveld", batch_size=10**9)
    model.alpha = 0.0  # the bonus is then the novelty of first visits
    env.reset()
    rewarded = []
    for action in [1, 0, 1, 1]:
        rewarded.append(env.step(np.full(8, action))[1][0] > 0)
    assert rewarded == [True, False, False, True]  # cell 1; cell 0, where it began; cell 1 again; cell 2
    for _ in range(Room.length - 4):
        _, _, dones, _ = env.step(np.zeros(8, int))
    assert dones.all()
    assert env.step(np.ones(8, int))[1][0] > 0  # a new episode: cell 1 is visited for the first time


def test_the_last_state_of_an_episode_is_scored_not_the_first_of_the_next():
    env, _, model = wrapped("rnd", model=Spy(384, 2, 64), batch_size=10**9)
    env.reset()
    for _ in range(Room.length):
        *_, dones, _ = env.step(np.ones(8, int))
    assert dones.all()
    # At the wall for many steps: before and after are one cell. The first state of the next episode is another one.
    before, _, after, _ = model.batches[-1]
    assert torch.allclose(before[0], after[0], atol=0.2)
    env.step(np.ones(8, int))
    assert not torch.allclose(model.batches[-1][0][0], after[0], atol=0.2)


def test_added_rewards_are_in_the_logged_returns():
    """Erratum of 0.7.0: the novelty bonus was missing in `intrinsic_return` and in SB3's episode return."""

    class Logged(VecEnvWrapper):
        """Adds the records that exploration makes, with an intrinsic return of 2."""

        def reset(self):
            return self.venv.reset()

        def step_wait(self):
            observations, rewards, dones, infos = self.venv.step_wait()
            for i in np.flatnonzero(dones):
                infos[i]["finished"] = Episode(0, Room.length, 2.0, 0.0, ())
                infos[i]["episode"] = {"r": 2.0, "l": Room.length}
            return observations, rewards, dones, infos

    class OneEach(TransitionReward):
        def reward(self, transitions):
            return np.arange(len(transitions.actions), dtype=np.float32)

    env = AddedReward(Logged(rooms()[0]), OneEach(), weight=0.5)
    env.reset()
    total = np.zeros(8)
    for _ in range(2 * Room.length):
        _, rewards, dones, infos = env.step(np.ones(8, int))
        total += rewards
        if dones.any():
            assert [info["finished"].intrinsic_return for info in infos] == [
                2 + 0.5 * i * Room.length for i in range(8)
            ]
            assert [info["episode"]["r"] - 2 for info in infos] == total.tolist()
            total[:] = 0


@pytest.mark.parametrize("kind", NOVELTY_MODELS)
def test_a_state_is_restored(kind):
    """A copy that takes over the state gives the same rewards from there on, bit for bit, and learns the same."""
    env, _, model = wrapped(kind)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(70):
        env.step(rng.integers(2, size=8))
    state = env.state_dict()
    kept = io.BytesIO()
    torch.save(state, kept)
    kept.seek(0)
    again, _, model_again = wrapped(kind)
    observations = again.reset()
    for inner, source in zip(again.venv.envs, env.venv.envs, strict=True):
        inner.at, inner.frame = source.at, source.frame
    observations = np.array([[1 + inner.at] for inner in again.venv.envs], np.int16)
    again.load_state_dict(torch.load(kept, weights_only=True), observations)
    assert env.metrics() == again.metrics()
    for step in range(60):
        actions = rng.integers(2, size=8)
        torch.manual_seed(step)
        one = env.step(actions)
        torch.manual_seed(step)
        other = again.step(actions)
        assert one[1].tolist() == other[1].tolist()
    assert all(map(torch.equal, model.parameters(), model_again.parameters()))


def cells_seen(kind, weight, seed):
    """Cells visited in 6,000 frames by a plain PPO; without learning, its actions stay near chance."""
    env, visited, _ = wrapped(kind, weight=weight)
    agent = PPO(
        "MlpPolicy", OneHot(env), n_steps=32, batch_size=128, n_epochs=4 if weight else 1, ent_coef=0.01, gamma=0.95,
        learning_rate=2e-3 if weight else 0.0, seed=seed, device="cpu",
    )  # fmt: skip
    agent.learn(6_000)
    return len(visited)


@pytest.fixture(scope="module")
def by_chance():
    return [cells_seen("rnd", 0.0, seed) for seed in range(2)]


@pytest.mark.parametrize("kind", NOVELTY_MODELS)
def test_novelty_leads_further_than_chance(kind, by_chance):
    """Without any reward from outside, an agent that is rewarded for novelty sees many more cells than a random one."""
    guided = [cells_seen(kind, 1.0, seed) for seed in range(2)]
    assert min(guided) > 1.25 * max(by_chance), (guided, by_chance)
