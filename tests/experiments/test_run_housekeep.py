"""Housekeep end to end: suggesters, a task, and what is wrong about input. Killed runs: tests/runs."""

from __future__ import annotations

import pickle
import shlex

import numpy as np
import pytest

from ellm_agent import run_commands
from tests.experiments.test_run import rows
from tests.helpers.processes import script

SMALL = [
    "--preset",
    "debug",
    "--frames",
    "640",
    "--eval-every",
    "320",
    "--eval-episodes",
    "2",
    "--log-every",
    "160",
    "--checkpoint-every",
    "320",
    "--episode-length",
    "80",
    "--replays",
    "0",
    "--no-report",
    "--no-tensorboard",
    "--dqn.learning-starts",
    "100",
]


def run(*arguments):
    done = script("run_housekeep.py", *SMALL, *arguments)
    assert done.returncode == 0, done.stderr
    return done


SCORES = {"rearrange_success", "misplaced_fixed", "pick_success", "place_success"}


def bins_of(folder):
    """Shares of good, bad and poorly timed goals in the last row of the metrics."""
    last = rows(folder, "metrics")[-1]
    return [last[f"goals/suggested_{kind}"] for kind in ("good", "bad", "poorly_timed")]


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """A finished small run in many homes."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    run("--goal-mode", "oracle", "--algo", "ppo", "--protocol", "homes", "--report", "--out", folder)
    return folder


def test_the_oracle_suggests_good_goals_only(oracle):
    assert bins_of(oracle) == [1, 0, 0]
    assert set(rows(oracle, "episodes")[0]) >= SCORES
    assert "misplaced objects put right" in (oracle / "report.html").read_text().lower()


def test_closed_form_is_offline_and_says_who_answers(tmp_path):
    out = run("--algo", "ppo", "--protocol", "homes", "--out", tmp_path / "run").stdout
    first = out.splitlines()[0]
    assert "Claude, a large language model" in first
    assert "at most 24,510 distinct questions" in first
    good, bad, _ = bins_of(tmp_path / "run")
    assert good > 0
    assert bad > 0
    assert 0 < rows(tmp_path / "run", "metrics")[-1]["llm/scenes"] < 24_510


def test_all_goals_are_mostly_bad(tmp_path):
    run("--goal-mode", "novelty", "--algo", "dqn", "--protocol", "homes", "--out", tmp_path / "run")
    good, bad, late = bins_of(tmp_path / "run")
    assert bad > good
    assert good + bad + late == pytest.approx(1)
    assert len(rows(tmp_path / "run", "metrics")[-1]) < 100  # thousands of goals have no columns of their own


def test_a_task_is_rewarded_by_the_environment(oracle, tmp_path):
    words = ("--task", "tidy up", "--frames", "320", "--eval-every", "320", "--no-report")
    done = script("finetune.py", oracle, *words, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert {row["success"] for row in rows(tmp_path / "run", "episodes")} <= {True, False}


def votes(path):
    data = {"ranks": np.zeros((1, 1, 10), int), "objects": ["apple"], "room_receptacles": ["moon|fridge"]}
    np.save(path, np.array(data, object), allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--placements nowhere.npy", "cannot read placements nowhere.npy: No such file or directory"),
        ("--placements {moon}", "the world has no room 'moon'"),
        ("--placements {damaged}", "holds no votes of Housekeep"),
        ("--placements {code}", "it wants to run"),
        ("--placements", "--placements needs a value"),
        ("--protocol homs", "protocol is 'homs'; did you mean 'homes'?"),
        ("--task juggle", "task is 'juggle'"),
        ("--task 'tidy kitchen' --protocol homes", "which is done in a home of protocol ellm"),
        ("--world-options size 3", "world-options is 'size'"),
        ("--llm recorded:nowhere.jsonl", "cannot read recorded answers nowhere.jsonl"),
        ("--llm recorded:{other}", "other.jsonl holds no answer to any question of this world"),
        ("--goal-mode open", "no model is bundled for the world housekeep"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, refused, options, message):
    np.save(tmp_path / "code.npy", np.array({"objects": print}, object), allow_pickle=True)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01\x00" + pickle.dumps({})[:3])
    files = {name: str(tmp_path / f"{name}.npy") for name in ("damaged", "code")}
    files["other"] = str(tmp_path / "other.jsonl")
    (tmp_path / "other.jsonl").write_text('{"description": "x", "version": "statement-1"}')
    files["moon"] = votes(tmp_path / "moon.npy")
    words = [word.format(**files) for word in shlex.split(options)]
    monkeypatch.chdir(tmp_path)
    said = refused("run_housekeep", [*words, "--out", "run"], run_commands.experiment, "", None, "housekeep")
    assert message in said
    assert not (tmp_path / "run").exists()
