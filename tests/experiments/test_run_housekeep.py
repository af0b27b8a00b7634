"""Housekeep end to end: every kind of suggester, tasks, resuming, and what is wrong about placements."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

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
    "--no-tensorboard",
    "--dqn.learning-starts",
    "100",
]


def run(*arguments):
    done = script("run_housekeep.py", *SMALL, *arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "options",
    [
        "--goal-mode oracle --algo ppo",
        "--goal-mode closed --algo ppo --protocol homes",
        "--goal-mode novelty --algo dqn --protocol homes",
        "--goal-mode sbert --algo dqn",
    ],
)
def test_suggesters(tmp_path, options):
    out = run(*options.split(), "--out", tmp_path / "run").stdout
    assert "misplaced" in (tmp_path / "run" / "report.html").read_text().lower()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["suggester"] in out
    episodes = rows(tmp_path / "run", "episodes")
    assert {"rearrange_success", "misplaced_fixed", "pick_success", "place_success"} <= set(episodes[0])
    metrics = rows(tmp_path / "run", "metrics")
    bins = [metrics[-1][f"goals/suggested_{kind}"] for kind in ("good", "bad", "poorly_timed")]
    assert sum(bins) == pytest.approx(1)
    if "oracle" in options:
        assert bins == [1, 0, 0]
    if "novelty" in options:
        assert bins[1] > 0
        assert len(metrics[-1]) < 100  # thousands of goals have no columns of their own


def test_a_task_is_rewarded_by_the_environment(tmp_path):
    pretrained = tmp_path / "pretrained"
    run("--goal-mode", "oracle", "--algo", "ppo", "--out", pretrained)
    done = script(
        "finetune.py",
        pretrained,
        "--task",
        "tidy kitchen",
        "--frames",
        "320",
        "--eval-every",
        "320",
        "--out",
        tmp_path / "run",
    )
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
        ("--goal-mode open", "no model is bundled for the world housekeep"),
    ],
)
def test_bad_input_is_one_line(tmp_path, options, message):
    np.save(tmp_path / "code.npy", np.array({"objects": print}, object), allow_pickle=True)
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY\x01\x00" + pickle.dumps({})[:3])
    files = {name: str(tmp_path / f"{name}.npy") for name in ("damaged", "code")}
    words = [w.strip("'").replace("_", " ") for w in options.replace("tidy kitchen", "tidy_kitchen").split()]
    words = [word.format(moon=votes(tmp_path / "moon.npy"), **files) for word in words]
    done = script("run_housekeep.py", *words, "--out", tmp_path / "run", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert message in done.stderr
    assert not (tmp_path / "run").exists()
