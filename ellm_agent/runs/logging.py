"""Where metrics are written: ``metrics.jsonl`` and TensorBoard, as outputs of SB3's logger."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, TensorBoardOutputFormat

from ellm_agent.agents.sb3_state import plain
from ellm_agent.runs.folder import Run
from ellm_agent.terminal import print_stderr


class MetricsWriter(KVWriter):
    """SB3 logger output that appends each dump to ``metrics.jsonl``."""

    def __init__(self, run: Run):
        self._run = run

    def write(self, key_values: dict[str, Any], key_excluded: dict, step: int = 0) -> None:
        self._run.append(
            "metrics", {"frames": step, **{name: plain(value) for name, value in key_values.items()}}
        )

    def close(self) -> None:
        """Each row is closed when written."""


class TensorBoard(KVWriter):
    """SB3's TensorBoard output. If it cannot be written, one line says so and the run continues without it.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path):
        self._writer: TensorBoardOutputFormat | None = None
        # TensorBoard writes in a thread of its own. A full disk fails twice: there, as a traceback, and in the next write.
        self._excepthook = threading.excepthook
        threading.excepthook = self._hide_full_disk
        with self._warn_and_continue():
            self._writer = TensorBoardOutputFormat(str(folder))

    def write(self, key_values: dict[str, Any], key_excluded: dict, step: int = 0) -> None:
        if self._writer:
            with self._warn_and_continue():
                self._writer.write(key_values, key_excluded, step)

    def close(self) -> None:
        if self._writer:
            with self._warn_and_continue():
                self._writer.close()
        self._writer = None
        if threading.excepthook == self._hide_full_disk:
            threading.excepthook = self._excepthook

    @contextlib.contextmanager
    def _warn_and_continue(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            print_stderr(
                f"warning: TensorBoard's files cannot be written ({error.strerror}); the run continues without them"
            )

    def _hide_full_disk(self, failed: Any) -> None:
        ours = type(failed.thread).__module__.startswith("tensorboard")
        if not (ours and issubclass(failed.exc_type, OSError)):
            self._excepthook(failed)
