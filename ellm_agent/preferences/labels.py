"""What judges answered: one line of JSON for each answer, on disk before anything else happens with it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ellm_agent.errors import DAMAGED, UserError
from ellm_agent.preferences.clips import Clip
from ellm_agent.preferences.queries import Query
from ellm_agent.runs.folder import to_disk
from ellm_agent.terminal import print_stderr
from ellm_agent.text.phrases import PhraseTable

LABELS = Path("preferences") / "labels.jsonl"  # in a run folder

Number = Callable[[Sequence[str]], list[int]]
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

    def row(self, phrases: PhraseTable) -> dict[str, Any]:
        """JSON values, for ``from_row``: the clips bring the texts of their phrases, since ids are a table's own."""
        return {
            "choice": self.choice,
            "judge": self.judge,
            "time": round(time.time(), 1),
            "left": _with_texts(self.query.left, phrases),
            "right": _with_texts(self.query.right, phrases),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any], number: Number) -> Label:
        """The label of such values.

        Args:
            row: the values.
            number: texts of phrases -> their ids in a table.

        Raises:
            TypeError, ValueError, LookupError: if they are none.
        """
        if row["choice"] not in PREFERRED:
            raise ValueError(f"choice is {row['choice']!r}")
        query = Query(*(_with_ids(row[side], number) for side in ("left", "right")))
        return cls(query, row["choice"], str(row["judge"]))


def _with_texts(clip: Clip, phrases: PhraseTable) -> dict[str, Any]:
    """A clip's JSON values, in which observations are places in a list of texts."""
    used, places = np.unique(clip.observations, return_inverse=True)
    numbered = replace(clip, observations=places.reshape(clip.observations.shape))
    return {**numbered.row(), "phrases": [phrases.text(phrase) for phrase in used.tolist()]}


def _with_ids(row: Mapping[str, Any], number: Number) -> Clip:
    """The clip of such values, in the ids of a table."""
    clip, texts = Clip.from_row(row), row["phrases"]
    if not all(isinstance(text, str) for text in texts) or clip.observations.min() < 0:
        raise ValueError("the phrases are damaged")
    return replace(clip, observations=np.array(number(texts), np.int32)[clip.observations])


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
            UserError: if it cannot be written; the rows before it are still there, and another one can be added.
        """
        line = json.dumps(row).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(self._ends[-1])  # a part of a line, if the last call failed
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if not self.rows:  # the file may be new
                to_disk(self.path.parent)
                to_disk(self.path.parent.parent)
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
    """The labels of a run. Safe to use from several threads: a page's server adds, training reads.

    Args:
        path: the file.
        shape: of a clip's observations in this run.
        phrases: the run's table.

    Attributes:
        choices: name of a query -> the answer to it.

    Raises:
        UserError: if the file cannot be read, a line is no label, or its clips are another run's; it stays as it is.
    """

    def __init__(self, path: Path, shape: tuple[int, int], phrases: PhraseTable):
        self._file, self._phrases, self._lock = JsonLines(path), phrases, threading.RLock()
        self.choices: dict[str, Choice] = {}
        self._labels: list[Label | None] = [None] * len(self._file.rows)  # None: not yet in the table's ids
        apart = PhraseTable()
        for number, row in enumerate(self._file.rows, start=1):
            try:
                label = Label.from_row(row, apart.ids)
            except DAMAGED as error:
                raise UserError(
                    f"{path} is damaged in line {number}, or of an earlier version; repair it, or move it away"
                ) from error
            for clip in (label.query.left, label.query.right):
                if clip.observations.shape != shape:
                    found = clip.observations.shape
                    raise UserError(
                        f"{path}, line {number}: clips {found} are not this run's, which are {shape}"
                    )
            self.choices[label.query.key] = label.choice

    def __len__(self) -> int:
        return len(self._file.rows)

    @property
    def labels(self) -> list[Label]:
        """All of them, in the ids of the run's table.

        Phrases that it does not hold are met at the first call only: the order of its ids, and so a resumed run, does not
        depend on labels that are looked up in ``choices`` alone.
        """
        with self._lock:
            for i, row in enumerate(self._file.rows):
                self._labels[i] = self._labels[i] or Label.from_row(row, self._phrases.meet)
            return list(self._labels)

    def append(self, label: Label) -> None:
        """Adds a label; it is on the disk afterwards.

        Raises:
            UserError: if it cannot be written.
        """
        with self._lock:
            self._file.append(label.row(self._phrases))
            self._labels.append(label)
            self.choices[label.query.key] = label.choice

    def undo(self) -> Label | None:
        """Takes the last label back, and returns it; None if there is none.

        Raises:
            UserError: if the file cannot be written.
        """
        with self._lock:
            if not len(self):
                return None
            label = self.labels[-1]
            self._file.undo()
            self._labels.pop()
            self.choices.pop(label.query.key, None)
            return label
