"""Learning from logs, end to end: recording, datasets, training, resuming, learning on online, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ellm_agent.agents.offline.iql import IQL
from ellm_agent.build import make_agent, make_similarity, make_suggester, make_worlds, read_log
from ellm_agent.config import PRESETS
from ellm_agent.config.offline import offline_config
from ellm_agent.datasets import minari_files
from ellm_agent.datasets.dataset import Interface
from ellm_agent.datasets.logs import check_interface, check_words
from ellm_agent.datasets.run_log import interface_of, read_run
from ellm_agent.errors import UserError
from ellm_agent.runs import checkpoints
from ellm_agent.text.phrases import PhraseTable
from envs import registry
from experiments import dataset as dataset_script
from experiments import offline as offline_script
from tests.helpers.processes import script
from tests.helpers.run_kills import differences, outcome
from tests.helpers.transfers import SMALL

RECORD = [*SMALL, "--goal-mode", "oracle", "--algo", "ppo", "--no-goal-conditioned", "--record"]
LEARN = [
    "--preset", "debug", "--eval-every", "100000", "--eval-episodes", "2", "--episode-length", "40", "--hidden", "16",
    "--checkpoint-every", "512", "--log-every", "512", "--replays", "0", "--no-tensorboard",
]  # fmt: skip
ARRAYS = (
    "counts",
    "ids",
    "starts",
    "actions",
    "rewards",
    "terminated",
    "truncated",
    "event_steps",
    "event_ids",
)


def finish(name, *arguments):
    done = script(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def agent_of(folder):
    """Everything of the agent in a run's last checkpoint."""
    return checkpoints.latest(folder / "checkpoints")[1]["agent"]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A short recorded run; it must stay as it is."""
    folder = tmp_path_factory.mktemp("logged") / "run"
    finish("run_crafter.py", *RECORD, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def dataset(logged, tmp_path_factory):
    """The same as a dataset in Minari's format; it must stay as it is."""
    pytest.importorskip("minari", reason="requirements-offline.txt")
    folder = tmp_path_factory.mktemp("datasets") / "small-v0"
    minari_files.write(read_run(logged), folder)
    return folder


@pytest.fixture(scope="module")
def learned(logged, tmp_path_factory):
    """A finished offline run."""
    folder = tmp_path_factory.mktemp("learned") / "run"
    finish("offline.py", logged, "--algo", "iql", *LEARN, "--frames", "1024", "--out", folder)
    return folder


def test_a_log_has_the_episodes_of_the_run(logged):
    log = read_run(logged)
    assert len(log) == 640
    rows = [json.loads(line) for line in (logged / "episodes.jsonl").read_text().splitlines()]
    whole = log.terminated | (log.truncated & (np.diff(log.starts)[log.episode_of] == 40))
    played = {int(seed): i for i, seed in enumerate(log.world_seeds)}
    assert whole.sum() >= len(rows) > 10
    returns, lengths = log.returns(log.rewards), np.diff(log.starts)
    for row in rows:
        episode = played[row["world_seed"]]
        assert lengths[episode] == row["length"]
        assert returns[episode] == pytest.approx(row["intrinsic_return"], abs=1e-3)


def test_recording_goes_on_after_a_resume_and_changes_nothing(logged, tmp_path):
    folder = tmp_path / "run"
    finish("run_crafter.py", *RECORD, "--frames", "320", "--out", folder)
    (folder / "transitions" / "0000009999.npz").write_bytes(b"written after the checkpoint")
    finish("run_crafter.py", "--resume", folder, "--frames", "640")
    one, other = read_run(logged), read_run(folder)
    assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)
    plain = tmp_path / "plain"
    finish("run_crafter.py", *[word for word in RECORD if word != "--record"], "--out", plain)
    found = list(differences(outcome(logged), outcome(plain)))
    assert all(line.startswith("/state/counters/config/run.record") for line in found), found


def test_learning_goes_on_after_a_resume(logged, learned, tmp_path):
    assert json.loads((learned / "data.json").read_text())["transitions"] == 640
    summary = json.loads((learned / "summary.json").read_text())
    assert (summary["frames"], summary["episodes"], summary["episodes_of"]) == (1024, 2, "held-out")
    folder = tmp_path / "run"
    finish("offline.py", logged, "--algo", "iql", *LEARN, "--frames", "512", "--out", folder)
    finish("offline.py", "--resume", folder, "--frames", "1024")
    assert list(differences(agent_of(learned), agent_of(folder))) == []


def test_an_agent_learns_on_online(learned, tmp_path):
    """The usual training call takes the offline agent's networks over."""
    folder = tmp_path / "run"
    small = [*SMALL, "--frames", "320", "--algo", "ppo", "--no-goal-conditioned"]
    words = [
        *small,
        "--transfer",
        "finetune",
        "--pretrained",
        learned,
        "--ppo.learning-rate",
        "1e-30",
        "--out",
        folder,
    ]
    finish("baselines/scratch.py", *words)
    before, after = (agent_of(f)["parameters"]["policy"] for f in (learned, folder))
    assert torch.equal(before["action_net.weight"], after["action_net.weight"])
    assert not after["value_net.weight"].abs().max() > 1e-6  # returns are on another scale: it begins at zero


@pytest.mark.parametrize("algo", ["bc", "filtered-bc", "awr", "iql", "cql"])
def test_agents_save_load_and_predict(logged, tmp_path, algo):
    config = offline_config(PRESETS["debug"], interface_of(logged), (logged,))
    config = config.changed(**{"agent.algo": algo, "agent.hidden": 8, "agent.offline.n_steps": 3})
    suggester = make_suggester(config, registry.get("crafter").language(**config.env.options))
    worlds = make_worlds(config, suggester, PhraseTable(), 1)
    log, _ = read_log(config, worlds)
    agent = make_agent(config, worlds, log=log)
    before = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    agent.learn(640)
    assert (agent.num_timesteps, agent._n_updates) == (640, 10)
    assert any(not torch.equal(value, before[name]) for name, value in agent.policy.state_dict().items())
    agent.save(tmp_path / "agent")
    again = type(agent).load(tmp_path / "agent", env=worlds)
    rows = worlds.reset()
    chosen, _ = agent.predict(rows, deterministic=True)
    assert np.array_equal(chosen, again.predict(rows, deterministic=True)[0])
    if isinstance(agent, IQL):
        equal = [
            torch.equal(a, b)
            for a, b in zip(agent.critic.parameters(), again.critic.parameters(), strict=True)
        ]
        assert all(equal)
    with pytest.raises(ValueError, match="has no log"):
        again.learn(64)


def test_a_log_of_other_observations_is_refused(tmp_path):
    """What the agent could not observe is taken over from the log, and compared."""
    interface = interface_without("^daylight")
    config = offline_config(PRESETS["debug"], interface, (tmp_path,))
    assert config.env.hide_clauses == "^daylight"
    check_interface(interface, config)
    with pytest.raises(UserError, match=r"hide-clauses is \^daylight, but the log has None"):
        check_interface(interface_without(None), config)
    with pytest.raises(UserError, match=r"hide-clauses is None, but the log has \^daylight"):
        check_interface(interface, config.changed(**{"env.hide_clauses": None}))


def interface_without(clauses):
    return Interface("crafter", PRESETS["debug"].env.options, 17, {"caption": 44, "achieved": 22}, clauses)


def test_the_observations_are_those_of_play(logged):
    """What is made of a log is what the worlds would have shown: the caption, and all events so far."""
    config = offline_config(PRESETS["debug"], interface_of(logged), (logged,))
    suggester = make_suggester(config, registry.get("crafter").language(**config.env.options))
    worlds = make_worlds(config, suggester, PhraseTable(), 1)
    log, _ = read_log(config, worlds)
    recorded = read_run(logged)
    episode = int(
        np.argmax(np.bincount(np.searchsorted(recorded.starts, recorded.event_steps, side="right") - 1))
    )
    first, last = recorded.starts[episode], recorded.starts[episode + 1]
    worlds.set_options([{"world_seed": int(recorded.world_seeds[episode])}])
    seen, rewards = [worlds.reset()[0]], []
    for action in recorded.actions[first:last]:
        rows, reward, dones, infos = worlds.step(np.array([action]))
        seen.append(infos[0]["terminal_observation"] if dones[0] else rows[0])
        rewards.append(float(reward[0]))
    for row, ids in zip(log.observations[first + episode : last + episode + 1], seen, strict=True):
        assert sorted(row[row != 0]) == sorted(ids[ids != 0])
    unlocks = log.rewards[first:last]
    assert unlocks.sum() > 0
    # Crafter's own reward is 1 for each unlock, and .1 for each point of health won or lost.
    assert np.abs(np.array(rewards) - unlocks).max() <= 0.9


def test_a_dataset_is_written_where_a_relative_path_says(logged, dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    minari_files.write(read_run(logged), Path("data/small-v0"))
    assert len(minari_files.read(tmp_path / "data/small-v0")) == len(minari_files.read(dataset))


def test_minari_reads_it_and_it_comes_back(logged, dataset, tmp_path):
    import minari

    log, stored = read_run(logged), minari.MinariDataset(dataset / "data")
    assert (stored.total_steps, stored.total_episodes) == (640, log.episodes)
    episode = stored[1]
    assert np.array_equal(episode.observations, log.observations(1))
    assert np.array_equal(episode.terminations, log.terminated[log.starts[1] : log.starts[2]])
    again = minari_files.read(dataset)
    assert all(np.array_equal(getattr(log, name), getattr(again, name)) for name in (*ARRAYS, "world_seeds"))
    assert (log.phrases, log.interface, log.sources) == (again.phrases, again.interface, again.sources)
    dataset_script.Unpack(dataset, tmp_path / "back").run()
    assert np.array_equal(read_run(tmp_path / "back").ids, log.ids)


def test_relabelling_as_a_command(logged, capsys):
    dataset_script.Relabel((logged,), ("sleep", "take a nap", "mine diamond")).run()
    said = capsys.readouterr().out
    shares = [float(line.split("reached in ")[1].split("%")[0]) for line in said.splitlines()[:3]]
    assert shares[0] > 5
    assert shares[2] == 0
    assert "mean return for all of them" in said


def test_goals_of_a_log_have_the_threshold_of_its_world(tmp_path, monkeypatch):
    """In Housekeep .99: goals that name another place are more alike than .78."""
    folder, seen = tmp_path / "run", []
    finish(
        "run_housekeep.py", "--preset", "debug", "--algo", "random", "--goal-mode", "none", "--record",
        "--frames", "200", "--replays", "0", "--no-report", "--no-tensorboard", "--out", folder,
    )  # fmt: skip

    def noted(config, language):
        seen.append(config.reward.threshold)
        return make_similarity(config, language)

    monkeypatch.setattr("ellm_agent.build.make_similarity", noted)
    for threshold in (None, 0.9):
        dataset_script.Relabel((folder,), ("pick up apple from kitchen sink",), threshold).run()
    assert seen == [0.99, 0.9]


def damaged(folder, tmp_path, change):
    copy = shutil.copytree(folder, tmp_path / "copy-v0")
    change(copy)
    return copy


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda f: (f / "phrases.json").write_text("[]"), "is damaged: 'phrases.json' has another checksum"),
        (lambda f: (f / "phrases.json").unlink(), "is damaged: 'phrases.json' is missing"),
        (lambda f: (f / "extra").touch(), "is damaged: 'extra' is not in SHA256SUMS"),
        (lambda f: (f / "SHA256SUMS").unlink(), "is no dataset of this project: it holds no SHA256SUMS"),
    ],
)
def test_damaged_datasets_are_refused(dataset, tmp_path, refused, change, wanted):
    copy = damaged(dataset, tmp_path, change)
    words = ["show", copy]
    assert wanted in refused("dataset", words, dataset_main)


def dataset_main():
    from ellm_agent import cli

    kinds = dataset_script.Make | dataset_script.Unpack | dataset_script.Show | dataset_script.Relabel
    cli.script(lambda chosen: chosen.run(), kinds, dataset_script.__doc__)


def test_foreign_logs_are_refused(logged, dataset, tmp_path, refused):
    def says(*words):
        return refused("offline", words, offline_script.offline, offline_script.__doc__)

    assert says() == "folders of logs come first, such as runs/NAME (played with --record)"
    assert "is not a folder" in says(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no logged transitions; play the run with --record" in says(tmp_path / "empty")
    assert says(logged, "--algo", "ppo").startswith(
        "algo is ppo, which learns by playing; from logs learn bc"
    )
    out = ["--out", tmp_path / "run", "--replays", "0"]
    assert says(logged, *out, "--caption", "paper") == "caption is paper, but the log has full"
    assert says(logged, *out, "--goal-conditioned").startswith(
        "algo is iql; agents that learn from logs observe no"
    )
    assert "give --resume without other folders" in says(logged, "--resume", tmp_path)
    other = read_run(logged)
    phrases = tuple(text.replace("grass", "lava field") for text in other.phrases)
    minari_files.write(type(other)(**{**vars(other), "phrases": phrases}), tmp_path / "foreign-v0")
    with pytest.raises(UserError, match="which is no clause of crafter"):
        check_words(minari_files.read(tmp_path / "foreign-v0"), ("", "it is dark"))
    assert not (tmp_path / "run").exists()
    message = refused(
        "dataset", ["make", logged, "--out", tmp_path / "x-v0", "--first", "9999"], dataset_main
    )
    assert "no episode is selected" in message
    assert "Minari wants a name" in refused(
        "dataset", ["make", logged, "--out", tmp_path / "x"], dataset_main
    )


def test_online_runs_refuse_offline_algorithms(refused):
    from ellm_agent import run_commands

    message = refused("run_crafter", ["--algo", "iql"], run_commands.experiment, "")
    assert message == "algo is iql, which learns from logs; use experiments/offline.py RUN..."
