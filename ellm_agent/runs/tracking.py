"""Experiment trackers beside the run's own files: Weights & Biases, or trackio, which has its interface and is local.

Off by default. Keys come from the environment alone. ``metrics.jsonl`` stays the record: a tracker gets the same rows, and
one that fails does not end a run.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import uuid
from collections.abc import Iterator
from typing import Any

from stable_baselines3.common.logger import KVWriter

from ellm_agent.agents.sb3_state import plain
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run, write_whole
from ellm_agent.terminal import print_stderr

INSTALL = {"trackio": "requirements-track.txt", "wandb": "requirements-wandb.txt"}
FILE = "tracker"
OFFLINE = ("offline", "disabled")  # of WANDB_MODE


def check(config: Config) -> None:
    """Before a run: whether its tracker can be used.

    Raises:
        UserError: if its package or its key is missing.
    """
    tracker = config.run.track
    if tracker is None:
        return
    if importlib.util.find_spec(tracker) is None:
        raise UserError(f"track is {tracker}, which is not installed here: pip install -r {INSTALL[tracker]}")
    keyless = not os.environ.get("WANDB_API_KEY") and os.environ.get("WANDB_MODE") not in OFFLINE
    if tracker == "wandb" and keyless:
        raise UserError(
            "track is wandb, but WANDB_API_KEY is not set; or set WANDB_MODE=offline to keep the run here"
        )


class Tracker(KVWriter):
    """SB3 logger output that sends each row of metrics to a tracker, with the frames as its step.

    A run that is resumed goes on under its name; rows that were sent before are not sent again.

    Args:
        run: before its logs are cut to a checkpoint. Its tracker's name is kept in its file ``tracker``.
    """

    def __init__(self, run: Run):
        kind = run.config.run.track
        sent = run.read("metrics") if (run.folder / FILE).is_file() else []
        self._last = sent[-1]["frames"] if sent else -1
        self._module: Any = None
        with self._warn_and_continue():
            module, name = importlib.import_module(kind), _name(run)
            own = {
                "trackio": {"embed": False, "auto_log_cpu": False, "auto_log_gpu": False},
                "wandb": {"id": name, "dir": str(run.folder)},
            }
            config = config_files.plain(run.config)
            module.init(
                project=run.config.run.track_project, name=name, config=config, resume="allow", **own[kind]
            )
            self._module = module
            print_stderr(f"tracked by {kind}: project {run.config.run.track_project}, run {name}")

    def write(self, key_values: dict[str, Any], key_excluded: dict, step: int = 0) -> None:
        if self._module and step > self._last:
            with self._warn_and_continue():
                self._module.log({name: plain(value) for name, value in key_values.items()}, step=step)

    def close(self) -> None:
        if self._module:
            with self._warn_and_continue():
                self._module.finish()
        self._module = None

    @contextlib.contextmanager
    def _warn_and_continue(self) -> Iterator[None]:
        """Keeps what a tracker prints from the terminal, and its failures from the run."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except Exception as error:  # code and servers of others: whatever it is, it must not end a run
            self._module = None
            print_stderr(f"warning: the tracker failed ({error}); the run continues without it")


def _name(run: Run) -> str:
    """The run's name at its tracker: what it is, and something that no other run has."""
    path = run.folder / FILE
    if not path.is_file():
        write_whole(path, f"{run.config.name()}-{uuid.uuid4().hex[:8]}\n")
    return path.read_text(encoding="utf-8").strip()
