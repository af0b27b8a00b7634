"""The smaller scripts of experiments/: bad input ends in one line that names the value and what would be right."""

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ellm_agent import cli
from ellm_agent.llm.base import Answer
from ellm_agent.llm.bundled import FOLDER
from ellm_agent.llm.client import OpenAIModel
from ellm_agent.sweeps.local import run_sweep
from experiments import (
    compare,
    inspect_prompts,
    llm_cache,
    migrate_config,
    replay,
    report,
    serve_suggester,
    threshold,
    train_suggester,
)
from prompts import open_ended

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def complaint(refused):
    """Runs a script in this process; gives the line with which it ends."""

    def run(module, *arguments, main=None, options=None):
        words = (main or module.main, options or module.Options, module.__doc__)
        return refused(module.__name__, arguments, cli.script, *words)

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "-1"], "port is -1; it must lie between 0 and 65535"),
        (["--port", "70000"], "port is 70000; it must lie between 0 and 65535"),
        (["--port", "http"], "http"),
        (["--host", "no..host"], "host is 'no..host'; it must be an address"),
        (["--host", "192.0.2.1"], "cannot listen at 192.0.2.1:8000: Cannot assign"),
        (["--model", "/nowhere"], "/nowhere holds no model; train one"),
        (["--prot", "1"], "unknown option --prot; did you mean --port?"),
        (["8000"], "unexpected argument '8000'"),
    ],
)
def test_serving_names_what_is_wrong(complaint, arguments, told):
    assert told in complaint(serve_suggester, *arguments)


def test_serving_at_a_port_in_use(complaint):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = complaint(serve_suggester, "--port", port)
    assert told == f"port is {port}, which is in use; choose another, or 0"


@pytest.mark.parametrize(
    ("file", "keep"), [("model.safetensors", 0.5), ("model.safetensors", 0.0), ("tokenizer.json", 0.5)]
)
def test_a_damaged_model_is_told_of_before_anything_is_served(complaint, tmp_path, file, keep):
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(keep * len(content))])
    assert str(folder) in complaint(serve_suggester, "--model", folder, "--port", "0")
    assert str(folder) in complaint(train_suggester, "measure", "--model", folder, "--out", tmp_path / "x")


def test_a_model_is_served_until_ctrl_c():
    script = [sys.executable, "experiments/serve_suggester.py", "--port", "0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(script, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as server:
        name, _, url = server.stdout.readline().partition(";")[0].split()
        (answer,) = OpenAIModel(name, url).answer([open_ended.prompt("You see grass, tree.", ("chop",))])
        server.send_signal(signal.SIGINT)
        _, told = server.communicate(timeout=20)
    assert isinstance(answer, Answer)
    assert (server.returncode, told) == (130, "stopped\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sft", "--scenes", "0"], "scenes is 0; it must be at least 1"),
        (["sft", "--scenes", "-5"], "scenes is -5; it must be at least 1"),
        (["sft", "--passes", "0"], "passes is 0; it must be at least 1"),
        (["sft", "--threads", "0"], "threads is 0; it must be at least 1"),
        (["sft", "--seed", "-1"], "seed is -1; it must be at least 0"),
        (["measure", "--scenes", "0"], "scenes is 0; it must be at least 1"),
        (["measure", "--threads", "0"], "threads is 0; it must be at least 1"),
        (["corpus", "--examples", "-1"], "examples is -1; it must be at least 1"),
        (["corpus", "--exampels", "1"], "unknown option --exampels; did you mean --examples?"),
        (["--scenes", "9"], "unknown option --scenes; it stands after a subcommand"),
        (["corpsu"], "unexpected argument 'corpsu'"),
        (["sft", "--out", "/dev/null/model"], "/dev/null/model"),
        (["measure", "--out", "/dev/null/model.json"], "/dev/null"),
    ],
)
def test_training_the_model_names_what_is_wrong(complaint, arguments, told):
    assert told in complaint(train_suggester, *arguments)


def test_measuring_says_when_there_is_no_model(complaint, tmp_path):
    told = complaint(train_suggester, "measure", "--model", tmp_path, "--out", tmp_path / "x.json")
    assert told == f"{tmp_path} holds no model; train one with experiments/train_suggester.py"


@pytest.mark.parametrize(
    ("module", "arguments", "told"),
    [
        (threshold, ["--thresold", "1"], "unknown option --thresold; see --help"),
        (threshold, ["0.5"], "unexpected argument '0.5'"),
        (threshold, ["--pairs", "/nowhere/x.yaml"], "cannot read /nowhere/x.yaml"),
        (threshold, ["--world", "craftre"], "did you mean 'crafter'?"),
        (migrate_config, ["/nowhere"], "/nowhere holds no config.yaml"),
        (report, ["results/first", "--outt", "x"], "unknown option --outt; see --help"),
        (compare, ["--jobs", "0"], "jobs is 0; it must be at least 1"),
        (replay, ["runs/x", "--episodes", "0"], "episodes is 0; it must be at least 1"),
        (replay, ["runs/x", "--max-frames", "-1"], "max-frames is -1; it must be at least 1"),
        (replay, ["runs/x", "--maxframes", "9"], "did you mean --max-frames?"),
        (inspect_prompts, ["--captions", "x"], "unknown option --captions; did you mean --caption?"),
    ],
)
def test_other_scripts_do_so_too(complaint, module, arguments, told):
    assert told in complaint(module, *arguments, main=getattr(module, "main", run_sweep))


def test_subcommands_know_their_options(complaint):
    kinds = llm_cache.Stats | llm_cache.Export | llm_cache.Import | llm_cache.Verify
    run = {"main": lambda chosen: chosen.run(), "options": kinds}
    assert "did you mean --cache?" in complaint(llm_cache, "stats", "--cahce", "x", **run)
    assert "stats" in complaint(llm_cache, **run)
    assert "there is no answer cache" in complaint(llm_cache, "verify", "--cache", "/nowhere", **run)
