"""Runs that ask a language model over HTTP, from the command line: good servers, bad ones, and none at all."""

import itertools
import json
import re
import shutil

import pytest
import yaml

from tests.experiments.test_run import QUICK, rows, run
from tests.helpers.llm_server import by_scene, completion, faults, says, serve
from tests.helpers.processes import script

_EVERY = QUICK.index("--llm-every")
WAITING = [*QUICK[:_EVERY], *QUICK[_EVERY + 2 :], "--llm-wait"]


def at(server, cache="off"):
    """Options for a server."""
    return ["--llm-base-url", server.url, "--llm-model", "m", "--llm-cache", cache]


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_run_with_a_language_model_over_http(tmp_path, mode):
    key = {"OPENAI_API_KEY": "sk-very-secret"}
    with serve() as server:
        options = ["--goal-mode", mode, *at(server, tmp_path / "run" / "answers.sqlite"), "--frames", "300"]
        drawn = ["--replays", "1", "--report"] if mode == "open" else []
        done = run(*WAITING, *options, *drawn, "--out", tmp_path / "run", env=key)
    assert done.stdout.splitlines()[0].startswith(f"goals: {mode}-form goals from m at 127.0.0.1:")
    assert server.requests
    assert set(server.keys) == {"Bearer sk-very-secret"}
    asked = [request["messages"][1]["content"] for request in server.requests]
    assert len(set(asked)) == len(asked)  # each question once
    assert all(request["model"] == "m" for request in server.requests)
    if mode == "closed":
        assert len(asked) % 23 == 0  # one question for each candidate goal
    metrics = rows(tmp_path / "run", "metrics")
    assert metrics[-1]["llm/questions"] == len(
        asked
    )  # evaluation, which comes after the last row, asks nothing
    assert (tmp_path / "run" / "answers.sqlite").exists()
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"very-secret" not in path.read_bytes()
    assert "very-secret" not in done.stdout + done.stderr


def test_run_that_stopped_before_its_first_checkpoint_starts_again(tmp_path):
    folder = tmp_path / "run"
    with serve(lambda body: (401, {"error": {"message": "no"}})) as server:
        failed = script("run_crafter.py", *QUICK, "--out", folder, *at(server))
        assert failed.returncode == 2
        assert "status 401: check OPENAI_API_KEY" in failed.stderr
        assert len(failed.stderr.strip().splitlines()) == 1
    shutil.rmtree(folder / "checkpoints")  # as if it had been killed before it could save
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["suggester"]["llm"] |= {"base_url": None, "model": None, "kind": "script"}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    run("--resume", folder)
    assert rows(folder, "metrics")[-1]["frames"] == 800


def test_a_run_whose_first_question_fails_is_in_nobodys_way(tmp_path):
    """The corrected command can have the same folder."""
    folder = tmp_path / "run"
    waiting = [*WAITING, "--llm-base-url", "http://127.0.0.1:9/v1", "--llm-model", "m", "--llm-cache", "off"]
    failed = script("run_crafter.py", *waiting, "--out", folder)
    assert failed.returncode == 2
    assert "could not be reached" in failed.stderr
    assert not folder.exists()


def test_training_goes_on_when_the_language_model_dies(tmp_path):
    answered = []

    def mortal(body):
        answered.append(1)
        return (
            (200, completion("- chop tree")) if len(answered) <= 2 else (404, {"error": {"message": "gone"}})
        )

    with serve(mortal) as server:
        done = run(*QUICK, "--out", tmp_path / "run", *at(server), "--llm-concurrency", "1")
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
        options = [*at(server), "--llm-concurrency", "2", "--frames", "1600"]
        run(*QUICK, *options, "--out", tmp_path / "run")
    metrics = rows(tmp_path / "run", "metrics")
    assert metrics[-1]["frames"] == 1600
    for kind in ("malformed", "empty", "rejected", "refused"):
        assert metrics[-1][f"llm/failed_{kind}"] > 0, kind
    assert metrics[-1]["llm/scenes"] > 0
    assert sum(row["length"] for row in rows(tmp_path / "run", "episodes")) > 1600 - 4 * 60


def test_with_on_failure_stop_it_leaves_a_checkpoint_and_continues_from_it(tmp_path):
    folder, left = tmp_path / "run", [20]

    def mortal(body):
        left[0] -= 1
        gone = left[0] < 0
        return (404, {"error": {"message": "gone"}}) if gone else (200, completion("- chop tree"))

    with serve(mortal) as server:
        options = [*at(server), "--checkpoint-every", "100000", "--llm-on-failure", "stop"]
        failed = script("run_crafter.py", *WAITING, *options, "--out", folder)
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
        options = [*at(server), "--llm-price-read", "1", "--llm-price-written", "2", "--frames", "1200"]
        done = run(*QUICK, *options, "--estimate-cost", "--out", tmp_path / "run")
    assert server.requests == []
    assert not (tmp_path / "run").exists()
    found = re.search(r"about ([\d,]+) captions, ([\d,]+) questions, ([\d.]+) million", done.stdout)
    scenes, questions, read = (float(number.replace(",", "")) for number in found.groups())
    assert scenes == questions  # open form
    assert 20 < scenes <= 1200 / 4 + 64  # a scene for four frames
    # 200 to 400 tokens each, printed with two digits after the point.
    assert 0.0002 * questions - 0.005 < read < 0.0004 * questions + 0.005
    assert "1.00" in done.stdout


@pytest.mark.parametrize("goals", [["none"], ["noisy-oracle", "--oracle-recall", "0.5"]])
def test_the_questions_to_a_judge_are_estimated(goals, tmp_path):
    """Two for each pair, in both orders, of captions of two clips."""
    judged = ["--goal-mode", *goals, "--labels", "700", "--judge", "model", "--clip-frames", "5"]
    with serve() as server:
        done = run(*QUICK, *judged, *at(server), "--estimate-cost", "--out", tmp_path / "run")
    assert server.requests == []
    found = re.search(r"about 700 pairs of clips, 1,400 questions, ([\d.]+) million", done.stdout)
    assert 300 < float(found.group(1)) * 1e6 / 1_400 < 3_000


def test_a_replay_needs_no_model(tmp_path):
    """A run over HTTP, then from its cache alone, then a run that asks what was never asked."""
    cache, small = tmp_path / "answers.sqlite", [*WAITING, "--frames", "400"]
    replay = ["--llm", "replay", "--llm-cache", cache]
    with serve(by_scene) as server:
        run(*small, *at(server, cache), "--out", tmp_path / "one")
    run(*small, *replay, "--out", tmp_path / "two")
    for log in ("episodes", "evaluations"):
        assert rows(tmp_path / "one", log) == rows(tmp_path / "two", log)
    one, two = (suggestions(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert len(one) == 7  # all that the server ever suggests: it depends on the scene
    failed = script("run_crafter.py", *small, *replay, "--seed", "7", "--out", tmp_path / "three")
    assert failed.returncode == 2
    assert "You see" in failed.stderr  # what was never asked


def suggestions(folder):
    return json.loads((folder / "summary.json").read_text())["suggestions"]


def test_a_run_that_never_got_a_usable_answer_says_so(tmp_path):
    with serve(says("")) as server:
        done = run(*QUICK, *at(server), "--out", tmp_path / "run")
    assert "gave no usable answer, so the run had no goals" in done.stderr
    last = rows(tmp_path / "run", "metrics")[-1]
    assert last["llm/scenes"] == 0
    assert last["llm/failed_empty"] > 0


def test_a_run_goes_on_with_the_bundled_model(tmp_path):
    """Although an endpoint is configured by then."""
    folder = tmp_path / "run"
    run(*QUICK, "--frames", "400", "--out", folder)
    with serve() as server:
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"}
        done = run("--resume", folder, "--frames", "600", env=env)
    assert server.requests == []
    assert "from the bundled model" in done.stdout.splitlines()[0]
    assert rows(folder, "metrics")[-1]["frames"] == 600


def test_a_run_goes_on_with_its_endpoint_or_not_at_all(tmp_path):
    """Never with another model, although none is configured by then."""
    folder = tmp_path / "run"
    with serve(lambda body: (401, {"error": {"message": "no"}})) as server:
        env = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "k"}
        assert script("run_crafter.py", *QUICK, "--llm-model", "m", "--out", folder, env=env).returncode == 2
        asked = len(server.requests)
        failed = script("run_crafter.py", "--resume", folder)
        assert failed.returncode == 2
        assert "status 401: check OPENAI_API_KEY" in failed.stderr
        assert len(server.requests) > asked
    failed = script("run_crafter.py", "--resume", folder, "--llm", "bundled")
    assert failed.returncode == 2
    assert "a resumed run keeps its options: llm is bundled but was endpoint" in failed.stderr
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    settings["suggester"]["llm"]["base_url"] = "https://llm.example.org/v1"
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    failed = script("run_crafter.py", "--resume", folder)
    assert failed.returncode == 2
    assert "OPENAI_API_KEY is not set, and the language model at llm.example.org needs" in failed.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--llm-wait", "--llm-every", "16"],
            "llm-every is 16, but with --llm-wait every caption is asked about at once",
        ),
        (["--preset", "paper", "--llm-every", "16"], "llm-every is 16, but with --llm-wait"),
        (["--llm-base-url", "http://127.0.0.1:9/v1"], "llm-model is not given"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(tmp_path, options, message):
    failed = script("run_crafter.py", *options, "--out", tmp_path / "run")
    assert failed.returncode == 2
    assert failed.stderr.startswith(f"error: {message}")
    assert failed.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_asks_nobody_costs_nothing(tmp_path):
    done = run("--llm", "script", "--estimate-cost", "--out", tmp_path / "run")
    assert done.stdout == "llm is script: such a run asks nothing that costs\n"


def test_a_model_that_suggests_and_compares_clips_has_one_budget(tmp_path):
    """Tokens of both kinds of questions are counted once, together."""

    def answer(body):
        compares = "Clip B" in body["messages"][-1]["content"]
        return 200, completion("tie" if compares else "- chop tree")

    judged = ["--labels", "4", "--judge", "model", "--clip-frames", "5", "--extrinsic-weight", "0"]
    with serve(answer) as server:
        done = run(*WAITING, *judged, *at(server), "--out", tmp_path / "run", "--algo", "ppo")
    compared = ["Clip B" in request["messages"][-1]["content"] for request in server.requests]
    assert sum(compared) == 2 * 4  # in both orders
    assert not all(compared), done.stderr
    used = completion("")["usage"]
    last = rows(tmp_path / "run", "metrics")[-1]
    assert last["llm/tokens_read"] == used["prompt_tokens"] * len(compared)
    assert last["llm/tokens_written"] == used["completion_tokens"] * len(compared)
