"""Checkpoints: what goes in comes out, and what is damaged is named."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent import checkpoints
from ellm_agent.agent import TextDQN, TextDQNPolicy, TextEncoder
from ellm_agent.errors import UserError
from ellm_agent.phrases import PhraseFeatures, PhraseTable
from ellm_agent.replay import CompactReplay


class Endless(gym.Env):
    """Says how many frames have passed; every seventh ends an episode; pays the frame's number."""

    observation_space = gym.spaces.Box(0, 100, (1,), np.int16)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = 0
        return np.array([1], np.int16), {}

    def step(self, action):
        self.frame += 1
        return np.array([self.frame + 1], np.int16), float(self.frame), self.frame == 7, False, {}


def encode(texts):
    vectors = np.zeros((len(texts), 384), np.float32)
    for row, text in zip(vectors, texts, strict=True):
        row[hash(text) % 384] = 1
    return vectors


def make_agent(phrases, buffer_size=1000):
    features = PhraseFeatures(phrases, phrases.ids(map(str, range(9))), whiten=False)
    policy = {
        "features_extractor_class": TextEncoder,
        "features_extractor_kwargs": {"features": features, "hidden": 8, "offsets": 10},
        "net_arch": [],
    }
    return TextDQN(
        TextDQNPolicy, DummyVecEnv([Endless] * 2), buffer_size=buffer_size, learning_starts=20, batch_size=8,
        train_freq=1, target_update_interval=16, policy_kwargs=policy, seed=0,
        replay_buffer_class=CompactReplay, replay_buffer_kwargs={"scene": 1},
    )  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    phrases = PhraseTable(encode)
    agent = make_agent(phrases)
    agent.learn(100)
    checkpoints.save(tmp_path, agent, phrases, {"seconds": 1.5})
    return tmp_path, agent, phrases


def test_everything_comes_back(saved):
    folder, agent, phrases = saved
    path = checkpoints.latest(folder)
    assert path.name == "0000000100"
    again_phrases = PhraseTable.load(path, encode)
    again = make_agent(again_phrases)
    assert not torch.equal(again.q_net.value.weight, agent.q_net.value.weight)
    state = checkpoints.load(path, again)
    assert state["seconds"] == 1.5
    assert (again.num_timesteps, again._n_updates, again._n_calls) == (100, agent._n_updates, agent._n_calls)
    for name, value in agent.policy.state_dict().items():
        assert torch.equal(value, again.policy.state_dict()[name]), name
    ours, theirs = agent.policy.optimizer.state_dict(), again.policy.optimizer.state_dict()
    for key, entry in ours["state"].items():
        for name, value in entry.items():
            assert torch.equal(value, theirs["state"][key][name])
    assert again.replay_buffer.pos == agent.replay_buffer.pos == 50
    every = np.repeat(np.arange(50), 2), np.tile([0, 1], 50)
    for name in ("observations", "next_observations", "actions", "rewards"):
        assert (getattr(again.replay_buffer, name)[every] == getattr(agent.replay_buffer, name)[every]).all()
    assert again_phrases._texts == phrases._texts


def test_episodes_cut_off_by_a_resume_are_truncated_not_ended(saved):
    folder, agent, _ = saved
    again = make_agent(PhraseTable(encode))
    checkpoints.load(checkpoints.latest(folder), again)
    replay = again.replay_buffer
    assert not agent.replay_buffer.dones[49].any()  # the 50th frame, of episodes of seven
    assert replay.dones[49].all()
    assert replay.timeouts[49].all()
    assert replay.dones[48].all()  # the 49th has really ended one
    assert not replay.timeouts[48].any()


@pytest.mark.parametrize("size", [40, 200])
def test_a_full_replay_goes_into_a_buffer_of_another_size(tmp_path, size):
    phrases = PhraseTable(encode)
    agent = make_agent(phrases, buffer_size=60)  # 30 steps of two worlds
    agent.learn(100)
    assert agent.replay_buffer.full
    checkpoints.save(tmp_path, agent, phrases, {})
    again = make_agent(phrases, buffer_size=size)
    checkpoints.load(checkpoints.latest(tmp_path), again)
    kept = min(size // 2, 30)
    frames = [1 + (50 - kept + i) % 7 for i in range(kept)]  # the newest, in order
    assert again.replay_buffer.rewards[:kept, 0].tolist() == frames
    assert again.replay_buffer.size() == kept


def test_only_the_last_checkpoint_is_kept(saved):
    folder, agent, phrases = saved
    agent.num_timesteps = 200
    checkpoints.save(folder, agent, phrases, {})
    assert [path.name for path in folder.iterdir()] == ["0000000200"]


@pytest.mark.parametrize("part", ["parameters.pt", "state.json", "replay.npz"])
@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damage_is_named(saved, part, damage):
    folder, _, phrases = saved
    path = checkpoints.latest(folder)
    if damage is None and part == "state.json":
        (path / part).write_text(json.dumps({"format": 99}))
    elif damage is None:
        (path / part).unlink()
    else:
        (path / part).write_bytes(damage)
    with pytest.raises(UserError, match="0000000100"):
        checkpoints.load(path, make_agent(phrases))


def test_loading_runs_no_code(saved, tmp_path):
    """A pickled object in the place of parameters is refused, not built."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    folder, _, phrases = saved
    path = checkpoints.latest(folder)
    (path / "parameters.pt").write_bytes(pickle.dumps({"policy": Trap()}))
    with pytest.raises(UserError, match="damaged"):
        checkpoints.load(path, make_agent(phrases))
    torch.save({"policy": Trap()}, path / "parameters.pt")
    with pytest.raises(UserError, match="damaged"):
        checkpoints.load(path, make_agent(phrases))
    assert not (tmp_path / "sprung").exists()
