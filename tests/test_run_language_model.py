"""Runs that ask a language model over HTTP, from the command line: good servers, bad ones, and none at all."""

import itertools
import re

import pytest
import yaml

from tests.llm_server import completion, faults, serve
from tests.test_run import SMALL, rows, run, script


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_run_with_a_language_model_over_http(tmp_path, mode):
    key = {"OPENAI_API_KEY": "sk-very-secret"}
    with serve() as server:
        options = ["--goal-mode", mode, "--llm-base-url", server.url, "--llm-model", "m", "--frames", "300"]
        options += ["--llm-wait", "--llm-cache", tmp_path / "run" / "answers.sqlite"]
        done = run(*SMALL, *options, "--replays", "1", "--out", tmp_path / "run", env=key)
    assert done.stdout.splitlines()[0].startswith(f"goals: {mode}-form goals from m at 127.0.0.1:")
    assert server.requests
    assert set(server.keys) == {"Bearer sk-very-secret"}
    asked = [request["messages"][1]["content"] for request in server.requests]
    assert len(set(asked)) == len(asked)  # each question once
    assert all(request["model"] == "m" for request in server.requests)
    if mode == "closed":
        assert len(asked) % 23 == 0  # one question for each candidate goal
    metrics = rows(tmp_path / "run", "metrics")
    assert 0 < metrics[-1]["llm/questions"] <= len(asked)  # the last evaluation comes after the last row
    assert (tmp_path / "run" / "answers.sqlite").exists()
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"very-secret" not in path.read_bytes()
    assert "very-secret" not in done.stdout + done.stderr


def test_run_that_stopped_before_its_first_checkpoint_starts_again(tmp_path):
    folder = tmp_path / "run"
    with serve(lambda body: (401, {"error": {"message": "no"}})) as server:
        at = ["--llm-base-url", server.url, "--llm-cache", "off"]
        failed = script("run_crafter.py", *SMALL, "--out", folder, *at)
        assert failed.returncode == 2
        assert "status 401" in failed.stderr
        assert len(failed.stderr.strip().splitlines()) == 1
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["goals"] |= {"llm_base_url": None, "llm_model": None, "llm": "script"}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    run("--resume", folder)
    assert rows(folder, "metrics")[-1]["frames"] == 800


def test_training_goes_on_when_the_language_model_dies(tmp_path):
    answered = []

    def mortal(body):
        answered.append(1)
        return (
            (200, completion("- chop tree")) if len(answered) <= 2 else (404, {"error": {"message": "gone"}})
        )

    with serve(mortal) as server:
        at = ["--llm-base-url", server.url, "--llm-concurrency", "1", "--llm-cache", "off"]
        done = run(*SMALL, "--out", tmp_path / "run", *at)
    assert "warning: the language model" in done.stderr
    metrics = rows(tmp_path / "run", "metrics")
    assert metrics[-1]["frames"] == 800
    assert metrics[-1]["llm/failures"] > 0


def test_training_goes_on_whatever_the_server_sends(tmp_path):
    good, first = faults()["no log-probabilities"][0], []
    names = [
        "HTML",
        "empty",
        "cut-off JSON",
        "404",
        "refusal as text",
        "invalid UTF-8",
        "1 MB of text",
        "a list",
    ]
    turns = itertools.cycle([good, *(faults()[name][0] for name in names)])

    def odd(body):
        first.append(1)
        return next(turns)(body)

    with serve(odd) as server:
        at = ["--llm-base-url", server.url, "--llm-cache", "off", "--llm-concurrency", "2"]
        run(
            *SMALL,
            *at,
            "--goal-mode",
            "open",
            "--frames",
            "1600",
            "--out",
            tmp_path / "run",
            "--replays",
            "0",
        )
    metrics = rows(tmp_path / "run", "metrics")
    assert metrics[-1]["frames"] == 1600
    for kind in ("malformed", "empty", "rejected", "refused"):
        assert metrics[-1][f"llm/failed_{kind}"] > 0, kind
    assert metrics[-1]["llm/scenes"] > 0
    assert sum(row["length"] for row in rows(tmp_path / "run", "episodes")) > 1600 - 4 * 60


def test_told_to_stop_it_leaves_a_checkpoint_and_goes_on_from_it(tmp_path):
    folder, left = tmp_path / "run", [20]

    def mortal(body):
        left[0] -= 1
        gone = left[0] < 0
        return (404, {"error": {"message": "gone"}}) if gone else (200, completion("- chop tree"))

    with serve(mortal) as server:
        at = [
            "--llm-base-url",
            server.url,
            "--llm-cache",
            "off",
            "--llm-wait",
            "--checkpoint-every",
            "100000",
        ]
        failed = script("run_crafter.py", *SMALL, *at, "--out", folder, "--llm-on-failure", "stop")
        assert failed.returncode == 2
        assert "status 404" in failed.stderr
        assert "Traceback" not in failed.stderr
        assert list((folder / "checkpoints").iterdir())
        left[0] = 10**6
        run("--resume", folder)
    metrics = rows(folder, "metrics")
    assert metrics[-1]["frames"] == 800
    assert [row["frames"] for row in metrics] == sorted({row["frames"] for row in metrics})


def test_costs_are_estimated_before_anything_is_asked(tmp_path):
    with serve() as server:
        at = [
            "--llm-base-url",
            server.url,
            "--llm-model",
            "m",
            "--llm-price-read",
            "1",
            "--llm-price-written",
            "2",
        ]
        done = run(*SMALL, *at, "--frames", "1200", "--estimate-cost", "--out", tmp_path / "run")
    assert server.requests == []
    assert not (tmp_path / "run").exists()
    told = re.search(r"about ([\d,]+) scenes, ([\d,]+) questions, ([\d.]+) million", done.stdout)
    scenes, questions, read = (float(number.replace(",", "")) for number in told.groups())
    assert scenes == questions  # open form
    assert 20 < scenes <= 1200 / 4 + 64  # a scene for four frames
    # 200 to 400 tokens each, told to two digits after the point.
    assert 0.0002 * questions - 0.005 < read < 0.0004 * questions + 0.005
    assert "1.00" in done.stdout


def test_a_replay_needs_no_model(tmp_path):
    """A run over HTTP, then from its cache alone, then a run that asks what was never asked."""
    cache = [
        "--llm-cache",
        tmp_path / "answers.sqlite",
        "--llm-wait",
        "--goal-mode",
        "open",
        "--frames",
        "400",
    ]
    with serve() as server:
        at = ["--llm-base-url", server.url, "--llm-model", "m"]
        run(*SMALL, *cache, *at, "--out", tmp_path / "one", "--replays", "0")
    run(*SMALL, *cache, "--llm", "replay", "--out", tmp_path / "two", "--replays", "0")
    assert rows(tmp_path / "one", "episodes") == rows(tmp_path / "two", "episodes")
    more = [*SMALL, *cache, "--llm", "replay", "--seed", "7", "--out", tmp_path / "three"]
    failed = script("run_crafter.py", *more)
    assert failed.returncode == 2
    assert "You see" in failed.stderr  # what was never asked
