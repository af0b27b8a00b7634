"""Logged transitions: what is written is what was played, whenever a run was stopped; damaged files are refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ellm_agent.datasets import shards
from ellm_agent.datasets.dataset import Interface, concatenate
from ellm_agent.datasets.logs import interface_of
from ellm_agent.datasets.relabel import ForGoals, Unlocks, relabel
from ellm_agent.datasets.run_log import read_run
from ellm_agent.datasets.shards import ShardWriter, read_shard, write_dataset
from ellm_agent.errors import UserError
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.wrappers.recorder import TransitionRecorder

ARRAYS = (
    "counts", "ids", "starts", "actions", "rewards", "terminated", "truncated", "event_steps", "event_ids", "world_seeds",
)  # fmt: skip
SOURCE = {"name": "counting", "algo": "none", "seed": 0}


@pytest.fixture
def record(explore, tmp_path):
    """Plays two worlds that count frames, and writes it down; the worlds and the rows that were seen."""

    def play(frames, folder=tmp_path, rows=10, worlds=None, truncates=False):
        worlds = worlds or explore(n_envs=2, truncates=truncates)
        fields = {name: part.stop - part.start for name, part in worlds.fields.items()}
        interface = Interface("counting", {"caption": "spatial"}, 2, fields)
        recorder = TransitionRecorder(
            worlds, ShardWriter(folder, interface, SOURCE, worlds.phrases.text, rows)
        )
        seen = [recorder.reset()]
        for frame in range(frames):
            observations, rewards, dones, infos = recorder.step(np.array([frame % 2, 0]))
            seen.append((observations, rewards, dones, infos))
        return recorder, seen, folder

    return play


def same(one, other):
    """Whether two logs say the same, in whatever numbers."""

    def said(log, name):
        column = getattr(log, name)
        return np.array(log.phrases)[column] if name.endswith("ids") else column

    return all(np.array_equal(said(one, name), said(other, name)) for name in ARRAYS)


@pytest.mark.parametrize("truncates", [False, True])
def test_what_is_read_is_what_was_played(record, truncates):
    recorder, seen, folder = record(
        17, truncates=truncates
    )  # episodes of 7 frames: two whole ones, and 3 frames
    recorder.flush()
    found = read_run(folder)
    assert found.starts.tolist() == [
        0,
        7,
        14,
        17,
        24,
        31,
        34,
    ]  # the first world's episodes, then the second's
    assert found.actions.tolist()[:17] == [frame % 2 for frame in range(17)]
    assert found.rewards.tolist()[17:] == [float(step[1][1]) for step in seen[1:]]
    ends = np.zeros(34, bool)
    ends[[6, 13, 23, 30]] = True
    cut = np.zeros(34, bool)
    cut[[16, 33]] = True  # the log ends
    assert found.terminated.tolist() == (ends & (not truncates)).tolist()
    assert found.truncated.tolist() == (ends & truncates | cut).tolist()
    first = found.observations(0)
    wanted = [seen[0][0], *(step[0][0] for step in seen[1:7]), seen[7][3][0]["terminal_observation"]]
    texts = lambda rows: [[found.phrases[i] for i in row if i] for row in rows]  # noqa: E731
    known = lambda rows: [[recorder.phrases.text(i) for i in row if i] for row in rows]  # noqa: E731
    assert texts(first) == known(wanted)
    events = [
        (int(step), found.phrases[event])
        for step, event in zip(found.event_steps, found.event_ids, strict=True)
    ]
    assert events[:3] == [(1, "chop tree"), (3, "chop tree"), (4, "drink water")]
    assert found.world_seeds.tolist() == [7] * 6


def test_shards_do_not_matter(record, tmp_path):
    """One file, or many: also where an episode is in two files."""
    logs = []
    for rows in (4, 10, 1000):
        (tmp_path / str(rows)).mkdir()
        recorder, _, folder = record(17, tmp_path / str(rows), rows)
        recorder.flush()
        logs.append(read_run(folder))
    assert len(list((tmp_path / "4" / "transitions").iterdir())) == 9
    assert same(logs[0], logs[1])
    assert same(logs[0], logs[2])


def test_resume_writes_again_what_came_after_the_checkpoint(record, tmp_path):
    recorder, _, folder = record(12)  # shards of 5 frames of 2 worlds: 10, 20, and what is in memory is lost
    writer = ShardWriter(folder, recorder._writer._interface, SOURCE, recorder.phrases.text, 10)
    (folder / "transitions" / "0000000099.npz.partial").touch()
    writer.resume(10)
    assert [path.name for path in sorted((folder / "transitions").iterdir())] == ["0000000000.npz"]
    with pytest.raises(UserError, match="end at frame 10, but the checkpoint is of frame 30"):
        writer.resume(30)


def test_selected_frames(record):
    recorder, _, folder = record(21)
    recorder.flush()
    assert read_run(folder, 0, 14).starts.tolist() == [
        0,
        7,
        14,
    ]  # of each world the episode that begins at frame 0
    assert read_run(folder, 14).episodes == 4
    with pytest.raises(
        UserError, match=r"no episode is selected of .*: of its 42 frames, none begins in 1 to 3"
    ):
        read_run(folder, 1, 2)


def test_back_to_a_log(record, tmp_path):
    recorder, _, folder = record(17)
    recorder.flush()
    found = read_run(folder)
    write_dataset(found, tmp_path / "back")
    again = read_run(tmp_path / "back")
    assert same(found, again)
    assert found.phrases == again.phrases
    assert again.interface == found.interface


def test_a_log_of_a_dataset_names_the_runs_that_it_came_from(record, tmp_path):
    recorder, _, folder = record(17)
    recorder.flush()
    sources = ({**SOURCE, "first": 4, "frames": 9}, {**SOURCE, "name": "other", "seed": 1, "frames": 8})
    write_dataset(replace(read_run(folder), sources=sources), tmp_path / "back")
    assert read_run(tmp_path / "back").sources == sources
    (some,) = read_run(tmp_path / "back", frames=10).sources
    assert (some["name"], some["seed"], some["frames"]) == ("counting, other", "0, 1", 10)
    assert some["parts"] == list(sources)


def test_a_log_of_a_dataset_is_written_whole_or_not_at_all(record, tmp_path, monkeypatch):
    recorder, _, folder = record(17)
    recorder.flush()
    found, write, written = read_run(folder), shards.write_shard, []

    def fails(path, arrays):
        write(path, arrays)
        written.append(path)
        if len(written) == 2:
            raise UserError("the disk is full")

    monkeypatch.setattr(shards, "ROWS", 8)
    monkeypatch.setattr(shards, "write_shard", fails)
    with pytest.raises(UserError, match="is full"):
        write_dataset(found, tmp_path / "back")
    assert not list(tmp_path.glob("back*"))
    write_dataset(found, tmp_path / "back")
    assert same(read_run(tmp_path / "back"), found)
    with pytest.raises(UserError, match="exists already"):
        write_dataset(found, tmp_path / "back")


@pytest.mark.parametrize(
    "change", [{"options": []}, {"fields": [3]}, {"fields": {"caption": "x"}}, {"world": 3}]
)
def test_a_card_of_another_kind_is_refused(tmp_path, change):
    interface = {"world": "crafter", "options": {}, "actions": 17, "fields": {"caption": 9}, **change}
    (tmp_path / "card.json").write_text(json.dumps({"interface": interface}))
    with pytest.raises(UserError, match="is no card of a dataset of this project"):
        interface_of(tmp_path)


def test_selection_and_concatenation(record):
    recorder, _, folder = record(17)
    recorder.flush()
    whole = read_run(folder)
    parts = [whole.select(np.array([i])) for i in range(whole.episodes)]
    assert same(concatenate(parts), whole)
    other = Interface("other", whole.interface.options, 2, whole.interface.fields)
    with pytest.raises(UserError, match="the logs differ in world: 'counting' and 'other'"):
        concatenate([whole, type(whole)(other, *(getattr(whole, n) for n in ("phrases", *ARRAYS)))])


def test_relabelling(record, table):
    recorder, _, folder = record(17)
    recorder.flush()
    log = read_run(folder)
    similarity = GoalSimilarity(0.5, encode=table.encode)
    # Each whole episode chops at frames 2 and 4 and drinks at frame 5; the cut ones only chop at frame 2.
    for goals, wanted in (
        (("drink water",), [4]),
        (("chop tree", "drink water"), [1, 4]),
        (("eat cow",), []),
    ):
        earned = relabel(log, ForGoals(similarity, goals))
        assert np.flatnonzero(earned[:7]).tolist() == wanted
        assert set(earned[earned > 0].tolist()) <= {1.0}
    assert relabel(log, Unlocks(["chop tree"])).sum() == 6
    assert np.array_equal(
        relabel(log, ForGoals(similarity, ("chop tree", "drink water"))) > 0, log.rewards > 0
    )


@pytest.mark.parametrize("damage", ["cut", "missing", "flipped", "foreign", "empty"])
def test_damaged_logs_are_refused_in_one_line(record, damage):
    recorder, _, folder = record(17)
    recorder.flush()
    paths = sorted((folder / "transitions").iterdir())
    content = paths[1].read_bytes()
    if damage == "cut":
        paths[1].write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        paths[1].unlink()
    elif damage == "flipped":
        middle = content.index(b"PK", 10) - 40
        paths[1].write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif damage == "foreign":
        np.savez(paths[1].open("wb"), numbers=np.arange(3))
    else:
        for path in paths:
            path.unlink()
    with pytest.raises(UserError) as refused:
        read_run(folder)
    message = str(refused.value)
    assert "\n" not in message
    assert str(paths[1]) in message or "lacks the shard of frame 10" in message or "--record" in message


def test_arrays_that_do_not_belong_together(record):
    _, _, folder = record(5)
    path = next((folder / "transitions").iterdir())
    arrays, meta = read_shard(path)
    for change in (
        {"ids": arrays["ids"][:-1]},
        {"actions": arrays["actions"] + 7},
        {"ids": arrays["ids"] + 900},
    ):
        meta_bytes = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez(path.open("wb"), **{**arrays, **change}, meta=meta_bytes)
        with pytest.raises(UserError, match="is damaged, or no shard"):
            read_shard(path)
