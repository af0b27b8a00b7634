"""Recorded answers about what belongs where: their file, and how far a player who follows them gets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping

import numpy as np

from envs.housekeep.homes import Home
from envs.housekeep.placements import Placements
from envs.housekeep.scenes import question
from envs.interface import Statement
from prompts import statement


def recorded(head: Mapping[str, str], known: Placements, answers: np.ndarray) -> bytes:
    """The compressed file that ``ellm_agent.llm.recorded`` reads; the same answers are the same bytes.

    Args:
        head: what the first line says: at least ``description``, what answered.
        known: objects and places.
        answers: probability of yes, ``(objects, places)``.
    """
    lines = [json.dumps({**head, "version": statement.VERSION})]
    for o, thing in enumerate(known.objects):
        for p in range(len(known.places)):
            text = f"{question(Statement(thing, known.where(p)))} {statement.ANSWER}"
            lines.append(json.dumps({"user": text, "yes": round(float(answers[o, p]), 2)}))
    return gzip.compress("\n".join(lines).encode(), mtime=0)


def put_right(homes: Iterable[Home], yes: np.ndarray) -> float:
    """Share of the misplaced objects that a player puts right who follows answers to the letter.

    It picks up an object whose place the answers call wrong, and puts it into a place of the home that they call
    right, each as likely as the others; without such a place, nowhere.

    Args:
        homes: at the start of an episode.
        yes: what the answers call right, ``(objects, places)`` bool.
    """
    shares = []
    for home in homes:
        for i in home.misplaced:
            told = yes[home.objects[i], list(home.places)]
            follows = told.any() and not told[home.at[i]]
            shares.append(home.right[i][told].mean() if follows else 0.0)
    return float(np.mean(shares))
