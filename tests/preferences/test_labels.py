"""Labels: on the disk at once, none lost by a crash, taken back one by one, and damage named."""

import json
import os
import resource

import pytest

from ellm_agent.errors import UserError
from ellm_agent.preferences.labels import JsonLines, Label, LabelFile
from ellm_agent.text.phrases import PhraseTable

SHAPE = 3  # states in the clips of `query`


@pytest.fixture
def path(tmp_path):
    return tmp_path / "preferences" / "labels.jsonl"


@pytest.fixture
def file(path, worlds):
    return LabelFile(path, (SHAPE, worlds.observation_space.shape[0]), worlds.phrases)


def again(file, path, worlds):
    return LabelFile(path, (SHAPE, worlds.observation_space.shape[0]), worlds.phrases)


def test_labels_are_there_when_the_file_is_opened_again(file, path, worlds, query):
    for choice in ("left", "tie", "unsure"):
        file.append(Label(query(1, 0), choice, "somebody"))
    found = again(file, path, worlds).labels
    assert [label.choice for label in found] == ["left", "tie", "unsure"]
    assert found[0].query.key == query(1, 0).key
    assert found[0].judge == "somebody"


def test_a_line_that_a_crash_cut_off_is_dropped(file, path, worlds, query, capsys):
    file.append(Label(query(1, 0), "left", "x"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-9])
    assert len(again(file, path, worlds).labels) == 1
    assert "was cut off" in capsys.readouterr().err
    assert path.read_bytes() == whole


def test_an_undone_label_is_gone(file, path, worlds, query):
    assert file.undo() is None
    file.append(Label(query(1, 0), "left", "x"))
    file.append(Label(query(0, 1), "right", "x"))
    assert file.undo().choice == "right"
    assert [label.choice for label in again(file, path, worlds).labels] == ["left"]
    file.append(Label(query(0, 1), "tie", "x"))
    assert [label.choice for label in again(file, path, worlds).labels] == ["left", "tie"]


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"choice": "up"}', "\x00\xff"])
def test_damage_is_named_and_the_file_stays(file, path, worlds, query, line):
    file.append(Label(query(1, 0), "left", "x"))
    content = path.read_bytes() + line.encode("latin-1") + b"\n" + path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged in line 2"):
        again(file, path, worlds)
    assert path.read_bytes() == content


def test_labels_are_read_with_another_phrase_table(file, path, worlds, query, table):
    """Ids are a table's own: the texts are what counts. They are met when the labels are asked for, and not before."""
    label = Label(query(1, 0), "left", "x")
    file.append(label)
    other = PhraseTable(table.encode)
    other.ids(["count 5", "something else", "count 0"])
    found = LabelFile(path, (SHAPE, worlds.observation_space.shape[0]), other)
    assert (len(found), found.choices, len(other)) == (1, {label.query.key: "left"}, 4)
    for one, there in ((label.query.left, "left"), (label.query.right, "right")):
        clip = getattr(found.labels[0].query, there)
        assert [other.text(i) for i in clip.observations.flat] == [
            worlds.phrases.text(i) for i in one.observations.flat
        ]


def test_labels_of_an_earlier_version_hold_no_texts_and_are_refused(file, path, worlds, query):
    file.append(Label(query(1, 0), "left", "x"))
    row = json.loads(path.read_text())
    del row["left"]["phrases"]
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="line 1, or of an earlier version; repair it, or move it away"):
        again(file, path, worlds)


def test_clips_of_another_run_are_refused(file, path, worlds, query):
    file.append(Label(query(1, 0), "left", "x"))
    with pytest.raises(UserError, match=r"line 1: clips .* are not this run's"):
        LabelFile(path, (26, 67), worlds.phrases)


def test_a_row_that_was_written_in_part_harms_no_other(tmp_path):
    """The disk is full in the middle of a line, and has room again."""
    file = JsonLines(tmp_path / "labels.jsonl")
    file.append({"n": 0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.path.stat().st_size + 3, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write"):
            file.append({"n": 1})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.append({"n": 2})
    assert JsonLines(file.path).rows == file.rows == [{"n": 0}, {"n": 2}]


def test_a_new_file_and_its_folder_are_on_the_disk(path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda at: (synced.append(os.readlink(f"/proc/self/fd/{at}")), fsync(at))
    )
    file = JsonLines(path)
    file.append({})
    assert set(synced) == {str(path), str(path.parent), str(path.parent.parent)}


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "folder").write_text("not a folder")
    file = JsonLines(tmp_path / "folder" / "labels.jsonl")
    with pytest.raises(UserError, match="cannot write"):
        file.append({})
    assert file.rows == []


def test_rows_are_plain_json(file, path, query):
    file.append(Label(query(1, 0), "left", "x"))
    (row,) = map(json.loads, path.read_text().splitlines())
    assert {"choice", "judge", "time", "left", "right"} == set(row)
