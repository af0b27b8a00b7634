"""A run is a folder that anyone can read.

config.yaml        the configuration, complete
episodes.jsonl     one row per finished training episode
metrics.jsonl      one row per logging interval (docs/metrics.md)
evaluations.jsonl  one row per evaluation on held-out worlds
checkpoints/       the last checkpoint
replays/           recorded evaluation episodes, and their GIFs
summary.json       what the end of the run printed
curves.png, report.html, tensorboard/
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ellm_agent import config_files
from ellm_agent.config import Config
from ellm_agent.errors import UserError

RUNS = Path("runs")
LOGS = ("episodes", "metrics", "evaluations")


class Run:
    """A run's folder: creates it, opens it, and appends to its logs.

    Args:
        folder: the folder.
        config: what it holds in ``config.yaml``.
    """

    def __init__(self, folder: Path, config: Config):
        self.folder, self.config = folder, config

    @classmethod
    def create(cls, config: Config) -> Run:
        """Makes the folder that the configuration asks for and writes ``config.yaml``.

        Raises:
            UserError: if the folder holds a run already, or cannot be written.
        """
        folder = config.out or RUNS / f"{config.name()}-{datetime.now():%Y%m%d-%H%M%S}"
        try:
            if (folder / "config.yaml").exists():
                raise UserError(f"{folder} holds a run already; choose another --out, or --resume {folder}")
            for part in ("checkpoints", "replays"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            config_files.save(config, folder / "config.yaml")
        except OSError as error:
            raise UserError(f"cannot write the run folder {folder}: {error.strerror}") from error
        return cls(folder, config)

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

    def change(self, config: Config) -> None:
        """Goes on with another configuration (more frames)."""
        self.config = config
        config_files.save(config, self.folder / "config.yaml")

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def replays(self) -> Path:
        return self.folder / "replays"

    def append(self, log: str, row: Mapping[str, Any]) -> None:
        """Adds a row to a log, at once and whole."""
        with (self.folder / f"{log}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def read(self, log: str) -> list[dict[str, Any]]:
        """All rows of a log; a last row that was cut off is left out."""
        path = self.folder / f"{log}.jsonl"
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def forget_after(self, frames: int) -> None:
        """Drops the rows that lie after a checkpoint: resuming writes them again."""
        for log in LOGS:
            rows = [row for row in self.read(log) if row["frames"] <= frames]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            write_whole(self.folder / f"{log}.jsonl", text)


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that it is either the old or the new one, never a part."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
