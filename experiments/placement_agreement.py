"""Reports how far Housekeep's placements (envs/housekeep/placements.yaml) agree with people's votes, and with a blind labelling.

People ranked the receptacles of a given room for an object. So the agreement is measured given the room, for objects, rooms and
receptacles that both name, and always beside what the receptacle says alone, without the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ellm_agent import cli
from ellm_agent.analysis.agreement import auc, cohens_kappa, grouped_auc
from ellm_agent.errors import UserError
from envs.housekeep.placements import Place, placements
from envs.housekeep.vote_table import MAJORITY, read_rows, read_table
from envs.housekeep.votes import their_name

T = TypeVar("T")
LABELS = Path("tests/envs/housekeep/blind_labels.csv")


@dataclass(frozen=True)
class Options:
    votes: Path
    """Housekeep's data.npy, or its votes as a table: object,room,receptacle,right,misplaced (.csv or .csv.gz)."""
    labels: Path = LABELS
    """The blind labelling: object,room,receptacle,belongs."""


def main(options: Options) -> None:
    """Prints the figures.

    Raises:
        UserError: if a file cannot be read.
    """
    known = placements()
    votes, labels = (
        _read(path, how) for path, how in ((options.votes, read_table), (options.labels, read_labels))
    )
    for thing, place, _ in labels:
        if thing not in known.objects or place not in known.places:
            raise UserError(
                f"{options.labels} labels {thing!r} and {str(place)!r}; the placements do not name both"
            )
    place_of = {place: i for i, place in enumerate(known.places)}
    thing_of = {their_name(name): i for i, name in enumerate(known.objects)}
    rows = [(thing_of[o], place_of[p], r, w) for o, p, r, w in votes if o in thing_of and p in place_of]
    if not rows:
        raise UserError(f"{options.votes} names nothing that the placements name")
    things, places, right, wrong = (np.array(column) for column in zip(*rows, strict=True))
    ours, ours_wrong = known.right[things, places], known.wrong[things, places]
    belongs, typically_wrong = right >= MAJORITY, (wrong >= MAJORITY) & (right < MAJORITY)
    judged = belongs | typically_wrong
    rooms = np.array([list(known.rooms).index(place.room) for place in known.places])[places]
    print(
        f"{len(set(things))} objects, {len(set(places))} places, {len(rows)} pairs with a vote by both names"
    )
    print(
        f"of these {belongs.sum()} right and {typically_wrong.sum()} typically wrong by {MAJORITY} of 10 votes"
    )
    told = judged & (ours | ours_wrong)
    print(
        f"pairs that both call right or typically wrong: {told.sum()}; the same said of {np.mean(ours[told] == belongs[told]):.3f},"
        f" kappa {cohens_kappa(ours[told], belongs[told]):.3f}"
    )
    # Given the room: only where we say that the object belongs somewhere in this room.
    group = things * len(known.rooms) + rooms
    somewhere = np.isin(group, np.unique(group[ours])) & judged
    score = right - wrong
    base = _without_object(score, places, things)
    receptacles = np.array([place.receptacle for place in known.places])[places]
    same = np.unique(receptacles, return_inverse=True)[1]
    base_kind = _without_object(score, same, things)
    print(f"given the room (it has a right place by the placements): {somewhere.sum()} pairs")
    graded = ours.astype(float) - ours_wrong  # 1 right, -1 typically wrong, 0 neither
    for name, values in (
        ("placements", graded),
        ("the place's mean vote over other objects", base),
        ("the receptacle's mean vote over other objects", base_kind),
    ):
        within = grouped_auc(values, belongs, group, somewhere)
        print(
            f"  ROC AUC {auc(values[somewhere], belongs[somewhere]):.3f}, within object and room {within:.3f}: {name}"
        )
    # Without the object, each pair of a receptacle has one score: .5.
    print(
        f"  within receptacles (without the object: .5): placements {grouped_auc(graded, belongs, same, somewhere):.3f}"
    )
    everywhere = auc(graded[judged], belongs[judged])
    print(
        f"in all rooms: ROC AUC {everywhere:.3f}: placements; {auc(base_kind[judged], belongs[judged]):.3f}: the receptacle's mean vote"
    )
    own = _own_base_rate()
    print(
        f"within the placements alone: the place's share of right objects has ROC AUC {own:.3f} on right against wrong"
    )
    file = [known.right[known.objects.index(o), known.places.index(p)] for o, p, _ in labels]
    kappa = cohens_kappa(file, [label for *_, label in labels])
    print(f"blind labelling: {len(labels)} pairs, kappa {kappa:.3f}")


def _read(path: Path, how: Callable[[Path], list[T]]) -> list[T]:
    try:
        return how(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def read_labels(path: Path) -> list[tuple[str, Place, bool]]:
    """Labelled pairs: object, place, and whether it belongs there.

    Raises:
        OSError, ValueError: as ``read_rows``.
    """
    return [
        (row["object"], Place(row["room"], row["receptacle"]), row["belongs"] == "yes")
        for row in read_rows(path, ("object", "room", "receptacle", "belongs"))
    ]


def _without_object(score: np.ndarray, group: np.ndarray, things: np.ndarray) -> np.ndarray:
    """Mean score of a group's pairs with other objects: what the place says without the object."""
    sums, counts = np.bincount(group, score), np.bincount(group)
    pair = group * (things.max() + 1) + things
    own, own_counts = np.bincount(pair, score), np.bincount(pair)
    return (sums[group] - own[pair]) / np.maximum(counts[group] - own_counts[pair], 1)


def _own_base_rate() -> float:
    """ROC AUC of a place's share of right objects (among others) on right against typically wrong pairs of the file."""
    known = placements()
    pairs = np.argwhere(known.right | known.wrong)
    right = known.right[tuple(pairs.T)]
    return auc(_without_object(right.astype(float), pairs[:, 1], pairs[:, 0]), right)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
