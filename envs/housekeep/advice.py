"""General knowledge of homes: what somebody would suggest who knows what belongs where, and typical mistakes."""

from __future__ import annotations

import functools

from envs.housekeep.captions import EXPLORE, PICK_UP, PLACE, explore, pick_up, put
from envs.housekeep.placements import Placements
from envs.housekeep.scenes import Reader, question
from envs.interface import Advice, Statement

# Pairs that mean nothing here, and goals of other households.
MEANINGLESS = ("pick up kitchen fridge", "place sofa in sink", "place door on bed", "explore apple")
OUTSIDE = (
    "wash the dishes",
    "make the bed",
    "vacuum the carpet",
    "cook dinner",
    "water the plants",
    "fold the laundry",
    "take out the garbage",
    "open the window",
    "feed the cat",
    "turn on the light",
)
JOINTS = ("have seen", "not been in", "hold", "keep", "the")
PREPOSITIONS = ("is in", "is on", "in", "on", "from")


@functools.cache
def advice(known: Placements) -> Advice:
    """Advice by placements, about all objects: those of the training split and the held-out ones."""
    reader = Reader(known)
    right, goals = {}, []
    for o, thing in enumerate(known.objects):
        for p, place in enumerate(known.places):
            belongs = bool(known.right[o, p])
            right[Statement(thing, known.where(p))] = belongs
            goals.append(put(thing, known.where(p)) if belongs else pick_up(thing, str(place)))
    truth = {question(statement): true for statement, true in right.items()}
    return Advice(
        sensible_goals=lambda caption: list(reader.goals(caption, right.get)),
        goals=(*goals, *map(explore, known.rooms)),
        meaningless=MEANINGLESS,
        outside=OUTSIDE,
        urgency=(PLACE, PICK_UP, EXPLORE),
        candidates=reader.candidates,
        is_true=truth.__getitem__,
        joints=JOINTS,
        prepositions=PREPOSITIONS,
        rearranged=reader.rearranged,
    )
