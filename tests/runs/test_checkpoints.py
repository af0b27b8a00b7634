"""Checkpoints: what goes in comes out, what is damaged is named, and a run that was killed ends as it would have."""

import os
import random
import re
import signal

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.errors import UserError
from ellm_agent.runs import checkpoints
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures, whitening
from tests.helpers.run_kills import KINDS, SMALL, differences, finish, kill_after, outcome, start


class Counting(gym.Env):
    """Says how many frames have passed; every seventh ends an episode; the reward is the frame's number."""

    observation_space = gym.spaces.Box(0, 100, (1,), np.int16)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = 0
        return np.array([1], np.int16), {}

    def step(self, action):
        self.frame += 1
        return np.array([self.frame + 1], np.int16), float(self.frame), self.frame == 7, False, {}


class Worlds(DummyVecEnv):
    """Two of them, whose episodes can be resumed."""

    def __init__(self, phrases):
        super().__init__([Counting] * 2)
        self.phrases = phrases

    def state_dict(self):
        return {"frames": [env.frame for env in self.envs]}

    def load_state_dict(self, state):
        for env, frame in zip(self.envs, state["frames"], strict=True):
            env.frame = frame
        return np.array([[frame + 1] for frame in state["frames"]], np.int16)


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
        TextDQNPolicy, Worlds(phrases), buffer_size=buffer_size, learning_starts=20, batch_size=8,
        train_freq=1, target_update_interval=16, policy_kwargs=policy, seed=0,
    )  # fmt: skip


def save(folder, agent, **counters):
    checkpoints.save(folder, agent, agent.env, counters)


def load(path, agent):
    return checkpoints.load(checkpoints.read(path), path, agent, agent.env)


def frames_of_latest(folder):
    return checkpoints.frames_of(checkpoints.latest(folder)[0])


COUNTERS = {"seconds": 1.5, "rows": {"episodes": 3}, "config": {"seed": 0}}


@pytest.fixture
def saved(tmp_path):
    phrases = PhraseTable(encode)
    agent = make_agent(phrases)
    agent.learn(100)
    save(tmp_path, agent, **COUNTERS)
    return tmp_path, agent, phrases


def test_everything_comes_back(saved):
    folder, agent, phrases = saved
    path, state = checkpoints.latest(folder)
    assert path.name == "0000000100.pt"
    again_phrases = PhraseTable(encode)
    again_phrases.load_state_dict(state["phrases"])
    again = make_agent(again_phrases)
    assert not torch.equal(again.q_net.value.weight, agent.q_net.value.weight)
    load(path, again)
    assert state["counters"] == COUNTERS
    assert again.num_timesteps == 100
    assert again.exploration_rate == agent.exploration_rate < 1
    for name, value in agent.policy.state_dict().items():
        assert torch.equal(value, again.policy.state_dict()[name]), name
    ours, theirs = agent.policy.optimizer.state_dict(), again.policy.optimizer.state_dict()
    for key, entry in ours["state"].items():
        for name, value in entry.items():
            assert torch.equal(value, theirs["state"][key][name])
    assert again.replay_buffer.pos == agent.replay_buffer.pos == 50
    for name in ("observations", "next_observations", "actions", "rewards", "dones", "timeouts"):
        assert (getattr(again.replay_buffer, name)[:50] == getattr(agent.replay_buffer, name)[:50]).all()
    assert len(again_phrases) == len(phrases)
    assert [again_phrases.text(i) for i in range(len(phrases))] == [
        phrases.text(i) for i in range(len(phrases))
    ]


def test_a_resumed_agent_learns_on_as_the_saved_one(saved):
    """Counters, generators, last observations and pending figures included: the next updates are equal, bit for bit."""
    folder, agent, phrases = saved
    again = make_agent(phrases)
    load(checkpoints.latest(folder)[0], again)
    generators = torch.get_rng_state(), np.random.get_state()
    outcomes = []
    for one in (agent, again):
        torch.set_rng_state(generators[0])
        np.random.set_state(generators[1])
        one.learn(60, reset_num_timesteps=False)
        outcomes.append(torch.cat([value.flatten() for value in one.policy.state_dict().values()]))
    assert agent.num_timesteps == again.num_timesteps
    assert torch.equal(*outcomes)


def test_random_generators_are_restored(saved):
    folder, agent, phrases = saved

    def drawn(agent):
        return (
            torch.rand(3).tolist(),
            np.random.rand(3).tolist(),
            random.random(),
            agent.action_space.sample(),
        )

    wanted = drawn(agent)
    again = make_agent(phrases)
    load(checkpoints.latest(folder)[0], again)
    assert drawn(again) == wanted


def test_saving_changes_nothing(saved):
    folder, agent, _ = saved
    path, _ = checkpoints.latest(folder)
    before = path.read_bytes()
    save(folder, agent, **COUNTERS)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [40, 200])
def test_a_full_replay_goes_into_a_buffer_of_another_size(tmp_path, size):
    phrases = PhraseTable(encode)
    agent = make_agent(phrases, buffer_size=60)  # 30 steps of two worlds
    agent.learn(100)
    assert agent.replay_buffer.full
    save(tmp_path, agent)
    again = make_agent(phrases, buffer_size=size)
    load(checkpoints.latest(tmp_path)[0], again)
    kept = min(size // 2, 30)
    frames = [1 + (50 - kept + i) % 7 for i in range(kept)]  # the newest, in order
    assert again.replay_buffer.rewards[:kept, 0].tolist() == frames
    assert again.replay_buffer.size() == kept


def test_the_last_two_are_kept(saved):
    folder, agent, _ = saved
    for frames in (200, 300):
        agent.num_timesteps = frames
        save(folder, agent)
    assert sorted(path.name for path in folder.iterdir()) == ["0000000200.pt", "0000000300.pt"]


def test_a_damaged_one_is_not_among_the_last_two(saved):
    """A run that went on from the one before leaves it behind."""
    folder, agent, _ = saved
    (folder / "0000000400.pt").write_text("damaged")
    for frames in (200, 300):
        agent.num_timesteps = frames
        save(folder, agent)
    assert sorted(path.name for path in folder.iterdir()) == ["0000000200.pt", "0000000300.pt"]


def test_a_save_that_fails_leaves_the_older_ones(saved, monkeypatch):
    folder, agent, _ = saved
    agent.num_timesteps = 200

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"cannot write the checkpoint .*0000000200.pt: No space left on device"
    ):
        save(folder, agent)
    assert [path.name for path in folder.iterdir()] == ["0000000100.pt"]
    assert frames_of_latest(folder) == 100


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(saved, capsys, damage):
    folder, agent, _ = saved
    agent.num_timesteps = 200
    save(folder, agent)
    path = folder / "0000000200.pt"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 128]) + content[middle + 1 :]
    path.write_bytes(
        {"empty": b"", "cut": content[:middle], "flipped": flipped, "foreign": b"not ours"}[damage]
    )
    assert frames_of_latest(folder) == 100
    warning = capsys.readouterr().err
    assert re.fullmatch(
        r"warning: the checkpoint \S*0000000200.pt does not fit .* damaged; looking for .*\n", warning
    )
    (folder / "0000000100.pt").unlink()
    with pytest.raises(UserError, match="no checkpoint that is whole"):
        checkpoints.latest(folder)


@pytest.mark.parametrize("place", range(0, 100, 5))
def test_a_flipped_bit_anywhere_is_found(saved, place):
    path, _ = checkpoints.latest(saved[0])
    content = bytearray(path.read_bytes())
    content[len(content) * place // 100] ^= 128
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        checkpoints.read(path)


def test_another_format_differs_from_damage(saved, capsys):
    folder, _, _ = saved
    path, state = checkpoints.latest(folder)
    torch.save({**state, "format": 3}, path)
    with pytest.raises(UserError, match="no checkpoint that is whole and of this version"):
        checkpoints.latest(folder)
    assert f"has format 3; this version reads {checkpoints.FORMAT}" in capsys.readouterr().err


def test_checkpoints_of_0_7_are_refused_in_one_line(tmp_path):
    """They were folders."""
    (tmp_path / "0000000100").mkdir()
    with pytest.raises(UserError, match="no checkpoint that is whole and of this version"):
        checkpoints.latest(tmp_path)


@pytest.mark.parametrize("lost", ["agent", "worlds", "phrases"])
def test_a_checkpoint_that_lacks_a_part_is_an_error(saved, lost):
    folder, _, phrases = saved
    path, state = checkpoints.latest(folder)
    del state[lost]
    agent = make_agent(phrases)

    def everything():
        checkpoints.load_phrases(state, path)
        checkpoints.load(state, path, agent, agent.env)

    with pytest.raises(UserError, match="does not fit this run, or is damaged"):
        everything()


def test_loading_runs_no_code(saved, tmp_path):
    """A pickled object is refused, not built."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path, state = checkpoints.latest(saved[0])
    for write in (
        lambda: path.write_bytes(pickle.dumps({"agent": Trap()})),
        lambda: torch.save({**state, "agent": Trap()}, path),
    ):
        write()
        with pytest.raises(UserError, match="damaged"):
            checkpoints.read(path)
    assert not (tmp_path / "sprung").exists()


def test_rows_have_the_same_bits_in_whatever_pieces_they_are_computed():
    from ellm_agent.text.embedding_bag import by_blocks

    rows, weight = torch.randn(333, 384), torch.randn(256, 384)

    def project(part):
        return part @ weight.T

    whole = by_blocks(project, rows, 0)
    torch.testing.assert_close(whole, rows @ weight.T)
    for cut in (1, 63, 64, 65, 200, 332):
        pieces = torch.cat([by_blocks(project, rows[:cut], 0), by_blocks(project, rows, cut)])
        assert torch.equal(pieces, whole)


@pytest.mark.parametrize(
    ("kind", "number"), [("ppo, rnd", signal.SIGINT), ("ppo, closed, many homes", signal.SIGKILL)]
)
def test_a_killed_run_ends_as_if_nothing_had_happened(tmp_path, kind, number):
    """Bit for bit; DQN: tests/test_invariance.py; ``python -m tests.helpers.run_kills`` kills more of them, at random."""
    arguments = [*SMALL, *KINDS[kind], "--frames", "1200", "--eval-episodes", "1"]
    finish(start(*arguments, "--out", tmp_path / "whole"))
    kill_after(tmp_path / "killed", arguments, 700, number)
    assert not list(differences(outcome(tmp_path / "whole"), outcome(tmp_path / "killed")))


def test_a_vector_depends_on_the_table_alone():
    """What is encoded together is the same, whether the table was loaded in between or not."""

    def batches(load_between):
        table, encoded = PhraseTable(lambda texts: encoded.append(list(texts)) or encode(texts)), []
        table.vectors_of(table.ids(["a", "b"]))
        table.ids(["c", "d"])
        if load_between:
            state, table = (
                table.state_dict(),
                PhraseTable(lambda texts: encoded.append(list(texts)) or encode(texts)),
            )
            table.load_state_dict(state)
        table.vectors_of(table.ids(["b", "a"]))
        table.vectors_of(table.ids(["e"]))
        return encoded

    assert batches(True) == batches(False) == [["a", "b"], ["c", "d", "e"]]


def test_whitening_has_the_same_bits_with_any_number_of_threads():
    vectors = np.random.default_rng(0).standard_normal((700, 384)).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = whitening(vectors)
        torch.set_num_threads(2)
        two = whitening(vectors)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
