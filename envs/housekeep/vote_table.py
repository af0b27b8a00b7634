"""Reads Housekeep's votes as rows, from its own file or from a table: what people said of an object in a place."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from envs.housekeep.placements import Place
from envs.housekeep.votes import our_name, read_votes, their_name

MAJORITY = 6  # of 10 votes: Housekeep's rule


def read_table(path: Path) -> list[tuple[str, Place, int, int]]:
    """Votes as rows: object (their spelling), place (ours), how many say right, and how many misplaced.

    Raises:
        OSError: if it cannot be read.
        ValueError, KeyError: if it has another form.
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
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        return [
            (
                row["object"],
                Place(our_name(row["room"]), our_name(row["receptacle"])),
                int(row["right"]),
                int(row["misplaced"]),
            )
            for row in csv.DictReader(file)
        ]
