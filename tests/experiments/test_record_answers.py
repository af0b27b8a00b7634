"""Recording a model's answers to what agents meet most, and a run on the recorded answers."""

import gzip
import json

import pytest

from prompts import closed_form, open_ended
from tests.helpers.processes import script

TREE, WATER = "You see tree. You are targeting tree.", "You see water."


def row(caption, number):
    return {
        "frames": number + 1, "world": "crafter", "prompt": open_ended.VERSION, "caption_form": "brief", "world_seed": number,
        "frame": 0, "caption": caption, "goals": [], "before": [], "after": {}, "ended": False,
    }  # fmt: skip


@pytest.fixture
def log(tmp_path):
    """Water is met once, a tree twice, with and without another thing faced."""
    rows = [row(WATER, 0), row(TREE, 1), row("You see tree. You are targeting grass.", 2)]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "suggestions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "run"


def recorded(path):
    head, *rows = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines())
    return head, rows


def test_the_most_frequent_captions_are_asked_about(log, tmp_path):
    file = tmp_path / "answers.jsonl.gz"
    done = script("record_answers.py", log, "--out", file, "--count", "1", "--llm", "script")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 captions, 67%" in done.stdout
    head, rows = recorded(file)
    assert (head["version"], head["model"]) == (open_ended.VERSION, "script")
    (answer,) = rows
    assert answer["user"].endswith("You see tree.\nWhat should the player do?\n")
    assert "chop" in answer["text"]


def test_closed_answers_are_probabilities_and_runs_use_them(log, tmp_path):
    file = tmp_path / "answers.jsonl.gz"
    options = ("--goal-mode", "closed", "--llm", "script", "--llm-caption", "whole")
    done = script("record_answers.py", log, "--out", file, "--count", "5", *options)
    assert done.returncode == 0, done.stderr
    head, rows = recorded(file)
    assert head["version"] == closed_form.VERSION
    assert len(rows) == 3 * 23  # the faced thing is read: three captions
    yes = {row["user"].split('"')[-2] for row in rows if row["yes"] > 0.5 and row["user"].startswith(TREE)}
    assert "chop tree" in yes
    assert "drink water" not in yes
    run = (
        "--preset",
        "debug",
        "--frames",
        "400",
        "--no-report",
        "--goal-mode",
        "closed",
        "--llm",
        f"recorded:{file}",
    )
    done = script("run_crafter.py", *run, "--out", tmp_path / "played")
    assert done.returncode == 0, done.stderr
    assert "recorded" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--goal-mode", "oracle"), "goal-mode is oracle; choose open, closed or scored"),
        (("--count", "0"), "count is 0; it must be at least 1"),
        (("--llm", "recorded:none"), "llm is recorded:none and goal-mode open, but there is no such file"),
    ],
)
def test_what_makes_no_sense_is_one_line(log, tmp_path, options, message):
    file = tmp_path / "answers.jsonl"
    done = script("record_answers.py", log, "--out", file, *options)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert message in done.stderr
    assert not file.exists()


def test_a_run_without_suggestions_is_one_line(tmp_path):
    done = script("record_answers.py", tmp_path, "--out", tmp_path / "answers.jsonl", "--llm", "script")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'suggestions.jsonl'} holds no suggestions")
