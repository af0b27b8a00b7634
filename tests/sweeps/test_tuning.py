"""Tuning: what can be tuned, that the study finds it, prunes what is poor, goes on after any end, and refuses other studies."""

import dataclasses
import json
import math

import pytest

from ellm_agent.errors import UserError

pytest.importorskip("optuna")

from ellm_agent.sweeps import tuning
from ellm_agent.sweeps.local import lock
from ellm_agent.sweeps.tuning import Options, Range
from tests.helpers.processes import script

SPACE = ("ppo.learning-rate=1e-5..1e-1:log",)
MORE = ["--preset", "debug", "--algo", "ppo"]


@pytest.fixture
def options(tmp_path):
    return Options(
        space=SPACE,
        trials=8,
        seeds=(100, 101),
        frames=800,
        results=tmp_path / "results",
        work=tmp_path / "work",
    )


@pytest.fixture
def runs(monkeypatch):
    """Runs that only compute their score: the closer the learning rate is to 1e-3, the higher; every one is noted."""
    made = []

    def play(job, poor):
        made.append(job)
        score = 100.0 - abs(math.log10(job.config.agent.on_policy.learning_rate) + 3)
        if any(poor(frames, score * frames / 800) for frames in (200, 400, 600, 800)):
            return None
        return score

    monkeypatch.setattr(tuning, "_run", play)
    return made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ppo.learning-rate=1e-4..1e-2:log", Range("ppo.learning-rate", 1e-4, 1e-2, log=True)),
        ("--ppo.epochs=1..8", Range("ppo.epochs", 1, 8)),
        ("hidden=128,256", Range("hidden", choices=("128", "256"))),
    ],
)
def test_spaces(text, expected):
    assert Range.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ppo.lerning-rate=1..2", "did you mean --ppo.learning-rate"),
        ("ppo.epochs=8..1", "needs LOW < HIGH"),
        ("ppo.learning-rate=0..inf", "needs LOW < HIGH"),
        ("ppo.learning-rate=nan..1", "needs LOW < HIGH"),
        ("ppo.learning-rate=0..1:log", "with :log LOW above 0"),
        ("ppo.epochs=a..b", "must be numbers"),
        ("ppo.epochs=3", "write OPTION=LOW..HIGH"),
        ("ppo.epochs", "write OPTION=LOW..HIGH"),
    ],
)
def test_spaces_that_are_none(text, message):
    with pytest.raises(UserError, match=message):
        Range.parse(text)


def test_a_study_begins_with_the_defaults_and_finds_better(options, runs):
    table = tuning.tune(options, MORE)
    assert len(table["trials"]) == 8
    assert table["trials"][0]["params"] == {"ppo.learning-rate": 5e-4}
    assert table["trials"][0]["score"] == pytest.approx(100 - abs(math.log10(0.5)))
    assert table["best"]["score"] == max(t["score"] for t in table["trials"] if t["state"] == "complete")
    assert {job.config.run.seed for job in runs} == {100, 101}
    assert json.loads((options.results / "tuning.json").read_text())["best"] == table["best"]
    played = len(runs)
    assert tuning.tune(options, MORE)["best"] == table["best"]  # nothing is left to do
    assert len(runs) == played


def test_what_is_poor_is_stopped(options, runs):
    """After four trials, one below the median of the others at the same frame is not played to its end."""
    folder = options.work / "tuning"
    study = tuning._study(options, MORE, folder, [Range.parse(SPACE[0])], tuning._config(options, MORE, {}))
    for rate in (1e-3, 2e-3, 5e-4, 1e-5):
        study.enqueue_trial({"ppo.learning-rate": rate})
    table = tuning.tune(options, MORE)
    states = {trial["params"]["ppo.learning-rate"]: trial["state"] for trial in table["trials"]}
    assert states[1e-3] == "complete"
    assert states[1e-5] == "pruned"  # the fifth


def test_a_trial_whose_process_has_ended_goes_on_in_its_folder(options, runs):
    folder, ranges = options.work / "tuning", [Range.parse(SPACE[0])]
    study = tuning._study(options, MORE, folder, ranges, tuning._config(options, MORE, {}))
    lost = study.ask()
    rate = ranges[0].suggest(lost)
    table = tuning.tune(options, MORE)
    assert lost.number not in {trial["trial"] for trial in table["trials"]}
    again = [job for job in runs if job.folder.parent.name == f"trial{lost.number}"]
    assert {job.config.agent.on_policy.learning_rate for job in again} == {rate}
    assert len(table["trials"]) == 8


def test_a_trial_that_another_process_holds_is_left_to_it(options, runs):
    """Between the question for a trial and its lock, another process may look whether its process has ended."""
    with lock(options.work / "tuning" / "trial0"):
        table = tuning.tune(options, MORE)
    assert [trial["trial"] for trial in table["trials"]] == list(range(1, 8))
    assert {job.folder.parent.name for job in runs} == {f"trial{number}" for number in range(1, 8)}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "../up"}, "name is '../up'"),
        ({"name": ""}, "name is ''"),
        ({"seeds": (100, -1)}, "seeds is -1"),
        ({"space": (*SPACE, "ppo.learning-rate=1e-4..1e-3")}, "names an option twice"),
    ],
)
def test_studies_that_make_no_sense(options, wrong, message):
    with pytest.raises(UserError, match=message):
        tuning.tune(dataclasses.replace(options, **wrong), MORE)
    assert not options.work.exists()


def test_another_space_needs_another_name(options, runs):
    tuning.tune(options, MORE)
    with pytest.raises(UserError, match=r"holds a study of .*; choose another --name"):
        tuning.tune(Options(**{**vars(options), "space": ("ppo.epochs=1..8",)}), MORE)
    with pytest.raises(UserError, match=r"holds a study of .*; choose another --name"):
        tuning.tune(options, [*MORE, "--ppo.epochs", "3"])


def test_runs_that_keep_failing_end_it(options, monkeypatch):
    monkeypatch.setattr(tuning, "_run", lambda job, poor: "status 2")
    with pytest.raises(UserError, match="3 trials in a row failed, the last: status 2"):
        tuning.tune(options, MORE)


def test_the_command(tmp_path):
    places = ["--results", tmp_path / "results", "--work", tmp_path / "work"]
    short = ["--trials", "1", "--seeds", "100", "--frames", "300"]
    tiny = ["--eval-every", "300", "--eval-episodes", "1", "--episode-length", "40", "--log-every", "100"]
    done = script("tune.py", "--space", *SPACE, *short, *places, "--", *MORE, *tiny)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("best: trial 0, ")
    (trial,) = json.loads((tmp_path / "results" / "tuning.json").read_text())["trials"]
    assert trial["curve"][-1][0] == 300
    done = script("tune.py", *places)
    assert (done.returncode, done.stderr) == (
        2,
        "error: nothing to tune; --space and --seeds need a value each\n",
    )
