"""Reads tables of labels, and Housekeep's votes as rows: what people said of an object in a place."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs.housekeep.placements import Place
from envs.housekeep.votes import our_name, read_votes, their_name

MAJORITY = 6  # of 10 votes: Housekeep's rule


def read_table(path: Path) -> list[tuple[str, Place, int, int]]:
    """Votes as rows: object (their spelling), place (ours), how many say right, and how many misplaced.

    Raises:
        OSError: if it cannot be read.
        ValueError: one line, if it has another form.
    """
    if path.suffix == ".npy":
        known = read_votes(path)  # their rule is applied already: 10 votes or none
        pairs = np.argwhere(known.right | known.wrong)
        return [
            (
                their_name(known.objects[o]),
                known.places[p],
                10 * int(known.right[o, p]),
                10 * int(known.wrong[o, p]),
            )
            for o, p in pairs
        ]
    return [
        (
            row["object"],
            Place(our_name(row["room"]), our_name(row["receptacle"])),
            int(row["right"]),
            int(row["misplaced"]),
        )
        for row in read_rows(path, ("object", "room", "receptacle", "right", "misplaced"))
    ]


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table (``.csv`` or ``.csv.gz``), each with a text in each of some columns.

    Raises:
        OSError: if it cannot be read.
        ValueError: one line, if it is damaged, or a column or a cell is missing.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for column in columns:
                if column not in (reader.fieldnames or ()):
                    found = ", ".join(reader.fieldnames or ()) or "no rows"
                    raise ValueError(f"it has no column {column!r}; it has {found}")
            rows = list(reader)
    except (EOFError, UnicodeDecodeError, csv.Error, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"it is damaged, or no table ({error})") from error
    for number, row in enumerate(rows, 1):
        if any(row[column] is None for column in columns):
            raise ValueError(f"row {number} is shorter than the others")
    return rows
