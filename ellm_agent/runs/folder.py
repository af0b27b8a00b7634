"""A run is a folder that anyone can read.

config.yaml        the configuration, complete
episodes.jsonl     one row per finished training episode
metrics.jsonl      one row per logging interval (docs/metrics.md)
evaluations.jsonl  one row per evaluation on held-out worlds
suggestions.jsonl  with --log-suggestions: what became of suggestions (docs/suggester_training.md)
checkpoints/       the last two checkpoints
lock               held by the process that writes the run
transitions/       what the agent saw, did and got (--record), see datasets/shards.py
pretrained/        the pretrained agent that the run started from, if any
replays/           recorded evaluation episodes, and their GIFs
summary.json       the results that the end of the run prints
curves.png, report.html, tensorboard/
tracker            the name of the run at its tracker, if it has one
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError

RUNS = Path("runs")
PATIENCE = 1.0  # seconds that a process that was just killed may take to release the run
LOGS = ("episodes", "metrics", "evaluations", "suggestions")


class Run:
    """A run's folder: creates it, opens it, and appends to its logs.

    Args:
        folder: the folder.
        config: what it holds in ``config.yaml``.
    """

    def __init__(self, folder: Path, config: Config):
        self.folder, self.config = folder, config
        self._lock: IO[str] | None = None
        self._made = False  # whether `create` made the folder

    @classmethod
    def create(cls, config: Config) -> Run:
        """Makes the folder that the configuration asks for and writes ``config.yaml``.

        Raises:
            UserError: if the folder holds a run already, or cannot be written.
        """
        folder = config.run.out or RUNS / f"{config.name()}-{datetime.now():%Y%m%d-%H%M%S}"
        run = cls(folder, config)
        run._made = not folder.exists()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            run.claim()
            if (folder / "config.yaml").exists():
                raise UserError(f"{folder} holds a run already; choose another --out, or --resume {folder}")
            if found := run._logged():
                raise UserError(
                    f"{folder} holds {found}, which a run there would replace; choose another --out"
                )
            for part in (run.checkpoints, run.replays):
                part.mkdir(exist_ok=True)
            write_whole(folder / "config.yaml", config_files.to_yaml(config))
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Opens an existing run.

        Raises:
            UserError: if the folder holds no run.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder; name a run folder, such as one under {RUNS}/")
        if not (folder / "config.yaml").is_file():
            raise UserError(f"{folder} is not a run folder: it holds no config.yaml")
        return cls(folder, config_files.load(folder / "config.yaml"))

    def claim(self) -> None:
        """Keeps other processes from writing this run, for as long as this one lives.

        Raises:
            UserError: if another process does so already, or the folder cannot be written.
        """
        with _writing(self.folder):
            self._lock = (self.folder / "lock").open("w")
            deadline = time.monotonic() + PATIENCE
            while not _lock(self._lock):
                if time.monotonic() > deadline:
                    raise UserError(f"another process is writing the run in {self.folder}")
                time.sleep(0.05)

    def discard(self) -> None:
        """Takes back ``create``: the folder holds no run any more, and is gone if it was new."""
        if self._made:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            (self.folder / "config.yaml").unlink(missing_ok=True)

    @property
    def empty(self) -> bool:
        """Whether nothing has been learned or logged yet, and nobody has compared clips."""
        learned = any(self.checkpoints.glob("*.pt"))
        return not (self._logged() or learned or (self.folder / "preferences").exists())

    def reconfigure(self, config: Config) -> None:
        """Continues with another configuration (more frames)."""
        self.config = config
        with _writing(self.folder):
            write_whole(self.folder / "config.yaml", config_files.to_yaml(config))

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def pretrained(self) -> Path:
        """The copy of a pretrained agent, if there is one."""
        return self.folder / "pretrained"

    @property
    def replays(self) -> Path:
        return self.folder / "replays"

    def append(self, log: str, row: Mapping[str, Any]) -> None:
        """Adds a row to a log.

        Raises:
            UserError: if it cannot be written; a part of it may have been.
        """
        path = self.folder / f"{log}.jsonl"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error

    def _logged(self) -> str:
        """A file that training would empty or remove, such as a log; "" if the folder holds none."""
        logs = (self.folder / f"{log}.jsonl" for log in LOGS)
        found = [path for path in logs if path.exists() and path.stat().st_size]
        found += sorted((self.folder / "transitions").glob("*.npz"))
        return found[0].name if found else ""

    def sync_logs(self) -> dict[str, int]:
        """Waits until the logs would survive a power failure; how many rows each has."""
        rows = {}
        for log in LOGS:
            path = self.folder / f"{log}.jsonl"
            if path.exists():
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
                    rows[log] = sum(1 for _ in file)
        return rows

    def read(self, log: str) -> list[dict[str, Any]]:
        """All rows of a log, up to one that was cut off or is none."""
        path = self.folder / f"{log}.jsonl"
        rows = []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not isinstance(row, dict) or not isinstance(row.get("frames"), int):
                break
            rows.append(row)
        return rows

    def truncate_logs(self, rows: Mapping[str, int]) -> None:
        """Drops the rows that were written after a checkpoint; resuming writes them again.

        Args:
            rows: how many each log had at the checkpoint; those not named had none.

        Raises:
            UserError: if a log holds fewer readable rows: it is damaged. No log is changed then.
        """
        kept = {log: self.read(log)[: rows.get(log, 0)] for log in LOGS}
        for log, rows_kept in kept.items():
            if len(rows_kept) < rows.get(log, 0):
                path = self.folder / f"{log}.jsonl"
                raise UserError(
                    f"{path} is damaged in row {len(rows_kept) + 1}; repair it, or start a new run"
                )
        for log, rows_kept in kept.items():
            if (self.folder / f"{log}.jsonl").exists():
                text = "".join(json.dumps(row) + "\n" for row in rows_kept)
                write_whole(self.folder / f"{log}.jsonl", text)


def is_claimed(folder: Path) -> bool:
    """Whether another process is writing the run in a folder."""
    try:
        with (folder / "lock").open("r+") as file:
            return not _lock(file)
    except FileNotFoundError:
        return False


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that it is either the old or the new one, never a part, also after a power failure."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name at the end of the block; after an error nothing of it is left."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, folder)
        to_disk(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def to_disk(path: Path) -> None:
    """Waits until a file, or a folder's list of files, would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(file: IO[str]) -> bool:
    """Whether a file could be locked for this process; the lock ends with the process, however that ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write the run folder {folder}: {error.strerror}") from error
