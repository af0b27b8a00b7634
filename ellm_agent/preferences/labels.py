"""What judges answered: one line of JSON for each answer, on disk before anything else happens with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ellm_agent.errors import UserError
from ellm_agent.preferences.clips import Clip
from ellm_agent.preferences.queries import Query
from ellm_agent.terminal import print_stderr

LABELS = Path("preferences") / "labels.jsonl"  # in a run folder

Choice = Literal["left", "right", "tie", "unsure"]
PREFERRED: dict[Choice, float | None] = {"left": 1.0, "right": 0.0, "tie": 0.5, "unsure": None}


@dataclass(frozen=True)
class Label:
    """An answer.

    Attributes:
        query: the clips compared.
        choice: "left", "right", "tie", or "unsure": cannot say.
        judge: who chose.
    """

    query: Query
    choice: Choice
    judge: str

    def row(self) -> dict[str, Any]:
        """JSON values, for ``from_row``."""
        left, right = self.query.left.row(), self.query.right.row()
        return {
            "choice": self.choice,
            "judge": self.judge,
            "time": round(time.time(), 1),
            "left": left,
            "right": right,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Label:
        """The label of such values.

        Raises:
            TypeError, ValueError, KeyError: if they are none.
        """
        if row["choice"] not in PREFERRED:
            raise ValueError(f"choice is {row['choice']!r}")
        query = Query(Clip.from_row(row["left"]), Clip.from_row(row["right"]))
        return cls(query, row["choice"], str(row["judge"]))


class JsonLines:
    """A file of JSON objects, one a line; each is on the disk when ``append`` returns.

    A line that was cut off by a crash (the last one, without an end) is dropped when the file is opened.

    Args:
        path: the file; it is made with the first row.

    Raises:
        UserError: if the file cannot be read, or a line is no JSON object; the file stays as it is.
    """

    def __init__(self, path: Path):
        self.path = path
        content = b""
        try:
            if path.exists():
                content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        whole, _, cut = content.rpartition(b"\n")
        self.rows: list[dict[str, Any]] = []
        self._ends: list[int] = [0]  # bytes until the end of each row
        for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UserError(f"{path} is damaged in line {number}; repair it, or move it away")
            self.rows.append(row)
            self._ends.append(self._ends[-1] + len(line) + 1)
        if cut:
            print_stderr(f"warning: the last line of {path} was cut off, and is dropped")
            self._truncate(self._ends[-1])

    def append(self, row: Mapping[str, Any]) -> None:
        """Adds a row.

        Raises:
            UserError: if it cannot be written; the rows before it are still there.
        """
        line = json.dumps(row).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error
        self.rows.append(dict(row))
        self._ends.append(self._ends[-1] + len(line))

    def undo(self) -> dict[str, Any] | None:
        """Takes the last row back, and returns it; None if there is none.

        Raises:
            UserError: if the file cannot be written.
        """
        if not self.rows:
            return None
        self._truncate(self._ends[-2])
        self._ends.pop()
        return self.rows.pop()

    def _truncate(self, size: int) -> None:
        try:
            with self.path.open("rb+") as file:
                file.truncate(size)
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error


class LabelFile:
    """The labels of a run.

    Args:
        path: the file.
        shape: of a clip's observations in this run.

    Raises:
        UserError: if the file cannot be read, a line is no label, or its clips are another run's; it stays as it is.
    """

    def __init__(self, path: Path, shape: tuple[int, int]):
        self._file = JsonLines(path)
        self.labels: list[Label] = []
        for number, row in enumerate(self._file.rows, start=1):
            try:
                label = Label.from_row(row)
            except (TypeError, ValueError, KeyError) as error:
                raise UserError(f"{path} is damaged in line {number}; repair it, or move it away") from error
            for clip in (label.query.left, label.query.right):
                if clip.observations.shape != shape:
                    found = clip.observations.shape
                    raise UserError(
                        f"{path}, line {number}: clips {found} are not this run's, which are {shape}"
                    )
            self.labels.append(label)

    def append(self, label: Label) -> None:
        """Adds a label; it is on the disk afterwards.

        Raises:
            UserError: if it cannot be written.
        """
        self._file.append(label.row())
        self.labels.append(label)

    def undo(self) -> Label | None:
        """Takes the last label back, and returns it; None if there is none."""
        return None if self._file.undo() is None else self.labels.pop()
