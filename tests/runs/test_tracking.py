"""Trackers: the rows that they get are those of metrics.jsonl, once each; what is missing is said; failures end nothing."""

import importlib.machinery
import json
import sqlite3
import sys
import types

import pytest

from ellm_agent.config import Config
from ellm_agent.errors import UserError
from ellm_agent.runs import tracking
from ellm_agent.runs.folder import Run
from ellm_agent.runs.tracking import Tracker
from tests.experiments.test_run import rows
from tests.helpers.processes import script


class FakeWandb(types.ModuleType):
    """wandb's interface, which notes how it is called."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.started, self.logged, self.finished = [], [], 0

    def init(self, **options):
        print("a greeting")
        self.started.append(options)

    def log(self, metrics, step):
        self.logged.append((step, metrics))

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_API_KEY", "secret-key")
    return fake


@pytest.fixture
def run(tmp_path):
    config = Config().changed(**{"run.out": tmp_path / "run", "run.track": "wandb"})
    return Run.create(config)


def test_rows_go_to_the_tracker_with_frames_as_steps(run, wandb, capsys):
    tracker = Tracker(run)
    tracker.write({"score": 1.5, "episodes": 2}, {}, 100)
    tracker.write({"score": 2.5, "episodes": 4}, {}, 200)
    tracker.close()
    assert wandb.logged == [(100, {"score": 1.5, "episodes": 2}), (200, {"score": 2.5, "episodes": 4})]
    (start,) = wandb.started
    assert (start["project"], start["resume"], start["name"]) == ("ellm-agent", "allow", start["id"])
    assert start["config"]["agent.algo"] == "dqn"
    assert "secret-key" not in repr(start)
    assert wandb.finished == 1
    assert capsys.readouterr().out == ""


def test_a_resumed_run_goes_on_under_its_name_and_sends_nothing_twice(run, wandb):
    tracker = Tracker(run)
    for frames in (100, 200):
        run.append("metrics", {"frames": frames, "score": 1.0})
        tracker.write({"score": 1.0}, {}, frames)
    again = Tracker(run)  # the run was killed, and goes on from a checkpoint at frame 100
    for frames in (200, 300):
        again.write({"score": 1.0}, {}, frames)
    assert [step for step, _ in wandb.logged] == [100, 200, 300]
    assert wandb.started[0]["id"] == wandb.started[1]["id"]


def test_a_tracker_that_fails_does_not_end_the_run(run, wandb, monkeypatch, capsys):
    def fail(*_, **__):
        raise RuntimeError("no\nnetwork")

    tracker = Tracker(run)
    monkeypatch.setattr(wandb, "log", fail)
    for frames in (100, 200):
        tracker.write({"score": 1.0}, {}, frames)
    tracker.close()
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == ["warning: the tracker failed (no network); the run continues without it"]


def test_what_a_tracker_lacks_is_said_before_the_run(monkeypatch, wandb):
    tracking.check(Config().changed(**{"run.track": "wandb"}))
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(UserError, match="WANDB_API_KEY is not set; or set WANDB_MODE=offline"):
        tracking.check(Config().changed(**{"run.track": "wandb"}))
    monkeypatch.setenv("WANDB_MODE", "offline")
    tracking.check(Config().changed(**{"run.track": "wandb"}))


def test_a_run_whose_tracker_is_not_installed_leaves_nothing(tmp_path):
    done = script("run_crafter.py", "--track", "wandb", "--out", tmp_path / "run", "--goal-mode", "oracle")
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: track is wandb, which is not installed here: pip install -r requirements-wandb.txt\n"
    )
    assert not (tmp_path / "run").exists()


def test_curves_in_trackio_are_those_of_the_run(tmp_path):
    pytest.importorskip("trackio")
    folder, store = tmp_path / "run", tmp_path / "store"
    done = script(
        "run_crafter.py", "--preset", "debug", "--goal-mode", "oracle", "--algo", "ppo", "--frames", "800", "--log-every", "200",
        "--eval-every", "800", "--eval-episodes", "1", "--replays", "0", "--no-report", "--no-tensorboard", "--track", "trackio",
        "--track-project", "mine", "--out", folder, env={"TRACKIO_DIR": str(store)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(store / "mine.db") as database:
        found = database.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    assert len(found) == 4
    assert [{"frames": step, **json.loads(metrics)} for step, metrics in found] == rows(folder, "metrics")
