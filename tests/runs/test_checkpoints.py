"""Checkpoints: what goes in comes out, what is damaged is named, and a run that was killed ends as it would have."""

import json
import random
import re
import shutil
import signal
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.agents.replay import CompactReplay
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.errors import UserError
from ellm_agent.runs import checkpoints
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures, whitening
from tests.helpers.run_kills import KINDS, SMALL, differences, finish, kill_after, outcome, start


class Counting(gym.Env):
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


class Worlds(DummyVecEnv):
    """Two of them, whose episodes can go on."""

    def __init__(self):
        super().__init__([Counting] * 2)

    def state(self):
        return {"frames": [env.frame for env in self.envs]}

    def restore(self, state):
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
        TextDQNPolicy, Worlds(), buffer_size=buffer_size, learning_starts=20, batch_size=8,
        train_freq=1, target_update_interval=16, policy_kwargs=policy, seed=0,
        replay_buffer_class=CompactReplay, replay_buffer_kwargs={"scene": 1},
    )  # fmt: skip


def save(folder, agent, phrases, **counters):
    checkpoints.save(folder, agent, agent.env, phrases, counters)


def load(path, agent):
    return checkpoints.load(path, agent, agent.env)


COUNTERS = {"seconds": 1.5, "rows": {"episodes": 3}, "config": {"seed": 0}}


@pytest.fixture
def saved(tmp_path):
    phrases = PhraseTable(encode)
    agent = make_agent(phrases)
    agent.learn(100)
    save(tmp_path, agent, phrases, **COUNTERS)
    return tmp_path, agent, phrases


@pytest.mark.parametrize("lost", COUNTERS)
def test_counters_that_a_checkpoint_lacks_are_an_error(tmp_path, lost):
    """Without the rows of its logs, a run that goes on would drop them all."""
    kept = {name: value for name, value in COUNTERS.items() if name != lost}
    (tmp_path / "state.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match="does not fit this run, or is damaged"):
        checkpoints.load_counters(tmp_path)


def test_everything_comes_back(saved):
    folder, agent, phrases = saved
    path = checkpoints.latest(folder)
    assert path.name == "0000000100"
    again_phrases = PhraseTable.load(path, encode)
    again = make_agent(again_phrases)
    assert not torch.equal(again.q_net.value.weight, agent.q_net.value.weight)
    load(path, again)
    assert checkpoints.load_counters(path) == COUNTERS
    assert (again.num_timesteps, again._n_updates, again._n_calls) == (100, agent._n_updates, agent._n_calls)
    assert again._last_obs.tolist() == agent._last_obs.tolist() == [[2], [2]]  # 50 frames of each world
    assert again.exploration_rate == agent.exploration_rate < 1
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


def test_random_generators_go_on_where_they_were(saved):
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
    load(checkpoints.latest(folder), again)
    assert drawn(again) == wanted


def test_saving_changes_nothing(saved):
    folder, agent, phrases = saved
    path = checkpoints.latest(folder)
    before = (path / "state.json").read_text()
    save(folder, agent, phrases, **COUNTERS)
    assert (path / "state.json").read_text() == before


@pytest.mark.parametrize("size", [40, 200])
def test_a_full_replay_goes_into_a_buffer_of_another_size(tmp_path, size):
    phrases = PhraseTable(encode)
    agent = make_agent(phrases, buffer_size=60)  # 30 steps of two worlds
    agent.learn(100)
    assert agent.replay_buffer.full
    save(tmp_path, agent, phrases)
    again = make_agent(phrases, buffer_size=size)
    load(checkpoints.latest(tmp_path), again)
    kept = min(size // 2, 30)
    frames = [1 + (50 - kept + i) % 7 for i in range(kept)]  # the newest, in order
    assert again.replay_buffer.rewards[:kept, 0].tolist() == frames
    assert again.replay_buffer.size() == kept


def test_the_last_two_are_kept(saved):
    folder, agent, phrases = saved
    for frames in (200, 300):
        agent.num_timesteps = frames
        save(folder, agent, phrases)
    assert sorted(path.name for path in folder.iterdir()) == ["0000000200", "0000000300"]


def test_a_save_that_fails_leaves_the_older_ones(saved, monkeypatch):
    folder, agent, phrases = saved
    agent.num_timesteps = 200

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match=r"cannot write the checkpoint .*0000000200: No space left on device"):
        save(folder, agent, phrases)
    assert not (folder / "partial").exists()
    assert checkpoints.latest(folder).name == "0000000100"


PARTS = ["manifest.json", "parameters.pt", "phrases.json", "phrases.safetensors", "replay.npz", "state.json"]


def test_a_checkpoint_is_these_files(saved):
    assert sorted(path.name for path in checkpoints.latest(saved[0]).iterdir()) == PARTS


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "missing"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(saved, capsys, part, damage):
    folder, agent, phrases = saved
    agent.num_timesteps = 200
    save(folder, agent, phrases)
    path = folder / "0000000200" / part
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 128]) + content[middle + 1 :]
        path.write_bytes({"empty": b"", "cut": content[:middle], "flipped": flipped}[damage])
    assert checkpoints.latest(folder).name == "0000000100"
    told = capsys.readouterr().err
    assert re.fullmatch(rf"warning: the checkpoint \S*0000000200 cannot be used \({part} .*\n", told)
    shutil.rmtree(folder / "0000000100")
    with pytest.raises(UserError, match="no checkpoint that is whole"):
        checkpoints.latest(folder)


def test_another_format_is_told_apart_from_damage(saved, capsys):
    folder, _, _ = saved
    path = checkpoints.latest(folder) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    with pytest.raises(UserError, match="no checkpoint that is whole and of this version"):
        checkpoints.latest(folder)
    assert f"has format 3; this version reads {checkpoints.FORMAT}" in capsys.readouterr().err


def test_loading_runs_no_code(saved, tmp_path):
    """A pickled object in the place of parameters is refused, not built."""
    import pickle

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    folder, _, phrases = saved
    path = checkpoints.latest(folder)
    for write in (
        lambda: (path / "parameters.pt").write_bytes(pickle.dumps({"policy": Trap()})),
        lambda: torch.save({"policy": Trap()}, path / "parameters.pt"),
        lambda: np.savez(path / "replay.npz", rewards=np.array([Trap()], object)),
    ):
        write()
        with pytest.raises(UserError, match="damaged"):
            load(path, make_agent(phrases))
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
    ("kind", "frames", "number"),
    [
        ("dqn, open", 1400, signal.SIGKILL),
        ("ppo, rnd", 700, signal.SIGINT),
    ],
)
def test_a_killed_run_ends_as_if_nothing_had_happened(tmp_path, kind, frames, number):
    """Bit for bit; ``python -m tests.helpers.run_kills`` kills more of them, at random."""
    arguments = [*SMALL, *KINDS[kind], "--frames", frames + 500, "--eval-episodes", "1"]
    finish(start(*arguments, "--out", tmp_path / "whole"))
    kill_after(tmp_path / "killed", arguments, frames, number)
    assert not list(differences(outcome(tmp_path / "whole"), outcome(tmp_path / "killed")))


def test_a_vector_depends_on_the_table_alone():
    """What is encoded together is the same, whether the table was loaded in between or not."""

    def batches(load_between):
        table, encoded = PhraseTable(lambda texts: encoded.append(list(texts)) or encode(texts)), []
        table.vectors_of(table.ids(["a", "b"]))
        table.ids(["c", "d"])
        if load_between:
            with tempfile.TemporaryDirectory() as folder:
                table.save(Path(folder))
                table = PhraseTable.load(Path(folder), table._encode)
        table.vectors_of(table.ids(["b", "a"]))
        table.cosine("a", "b")
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
