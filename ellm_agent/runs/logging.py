"""What happens beside learning: logs, evaluation, checkpoints, progress. SB3 callbacks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter, TensorBoardOutputFormat

from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.terminal import tell


class MetricsWriter(KVWriter):
    """SB3 logger output that appends each dump to ``metrics.jsonl``."""

    def __init__(self, run: Run):
        self._run = run

    def write(self, key_values: dict[str, Any], key_excluded: dict, step: int = 0) -> None:
        numbers = {name: checkpoints.plain(value) for name, value in key_values.items()}
        self._run.append("metrics", {"frames": step, **numbers})

    def close(self) -> None:
        """Each row is closed when written."""


class TensorBoard(KVWriter):
    """SB3's TensorBoard output; where it cannot be written, a line says so, once, and the run goes on without it.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path):
        self._writer: TensorBoardOutputFormat | None = None
        with self._going_on():
            self._writer = TensorBoardOutputFormat(str(folder))
        # It writes in a thread of its own, whose failure is told twice: here as a traceback, and by the next write.
        threading.excepthook = _without_full_disks(threading.excepthook)

    def write(self, key_values: dict[str, Any], key_excluded: dict, step: int = 0) -> None:
        if self._writer:
            with self._going_on():
                self._writer.write(key_values, key_excluded, step)

    def close(self) -> None:
        if self._writer:
            with self._going_on():
                self._writer.close()

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writer = None
            tell(
                f"warning: TensorBoard's files cannot be written ({error.strerror}); the run goes on without them"
            )


def _without_full_disks(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    def told(failed: Any) -> None:
        ours = type(failed.thread).__module__.startswith("tensorboard")
        if not (ours and issubclass(failed.exc_type, OSError)):
            hook(failed)

    return told
