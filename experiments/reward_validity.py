"""Is the similarity of a generated goal and what was seen a sound reward? Compares rewards with people's ratings.

Of Housekeep (``--votes FILE``): for each suggester and each pair of object and receptacle that people judged, the reward for
placing the object there, against their votes. Of anything else (``--csv FILE``): a table with a row for each pair of a
generated text (a goal, a rationale, a description) and what was seen, and its rating; the reward is the cosine of the two texts.

Prints a table, and with ``--out FOLDER`` keeps it, the rewards of all pairs and a reliability plot.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellm_agent import cli
from ellm_agent.analysis.validity import draw_reliability, table, validity
from ellm_agent.build import SBERT_SHARE
from ellm_agent.errors import UserError
from ellm_agent.goals.judged import CosineJudge
from ellm_agent.llm.recorded import RecordedModel
from ellm_agent.rewards.goal_similarity import ellm_reward
from ellm_agent.text.sentence_bert import sentence_bert
from envs import registry
from envs.housekeep.captions import put
from envs.housekeep.placements import Placements, placements
from envs.housekeep.vote_table import MAJORITY, read_rows, read_table
from envs.interface import Statement
from prompts import closed_form, statement

HOUSEKEEP = registry.get("housekeep")


@dataclass(frozen=True)
class Options:
    votes: Path | None = None
    """Housekeep's data.npy, or its votes as a table: object,room,receptacle,right,misplaced (.csv or .csv.gz)."""
    answers: tuple[Path, ...] = tuple(sorted(HOUSEKEEP.recorded_answers.parent.glob("*.jsonl.gz")))
    """With --votes: recorded answers of language models (docs/housekeep.md)."""
    csv: Path | None = None
    """A table of texts and ratings."""
    goal: str = "goal"
    """With --csv: the column of the generated text."""
    seen: str = "seen"
    """With --csv: the column of the text of what was seen."""
    rating: str = "rating"
    """With --csv: the column of the rating."""
    threshold: float | None = None
    """Cosine above which there is a reward. None: Housekeep's own; with --csv: none, the cosine itself is the reward."""
    least: float | None = None
    """Rating from which on a pair counts as rated high. None: the votes' majority; with --csv: the median rating."""
    out: Path | None = None
    """Folder for the table, the rewards and the plot."""


def main(options: Options) -> None:
    """Prints the table, and writes the files.

    Raises:
        UserError: if the input cannot be read, or is not what it should be.
    """
    if (options.votes is None) == (options.csv is None):
        raise UserError("give either --votes or --csv")
    for name, value in (("threshold", options.threshold), ("least", options.least)):
        if value is not None and not np.isfinite(value):
            raise UserError(f"{name} is {value}; it must be a number")
    if options.csv:
        names, rewards, ratings, groups = of_table(options)
        least, title = options.least, options.csv.stem
        least = float(np.median(ratings)) if least is None else least
    else:
        names, rewards, ratings, groups = of_votes(options)
        least, title = (
            MAJORITY if options.least is None else options.least,
            "Housekeep: reward and people's votes",
        )
    rows = [(name, validity(own, ratings, least, groups)) for name, own in rewards.items()]
    print(table(rows))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "validity.md").write_text(table(rows) + "\n", encoding="utf-8")
        draw_reliability(options.out / "reliability.png", rewards, ratings, title)
        with gzip.open(options.out / "rewards.csv.gz", "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["pair", "rating", *rewards])
            columns = (np.round(own, 4).tolist() for own in rewards.values())
            writer.writerows(zip(names, ratings.tolist(), *columns, strict=True))
        print(f"wrote {options.out}/validity.md, rewards.csv.gz and reliability.png")


def of_table(options: Options) -> tuple[list[str], dict[str, np.ndarray], np.ndarray, None]:
    """Pairs, rewards, ratings and no groups of a table of texts."""
    try:
        rows = read_rows(options.csv, (options.goal, options.seen, options.rating))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {options.csv}: {getattr(error, 'strerror', None) or error}") from error
    if not rows:
        raise UserError(f"{options.csv} has no rows")
    try:
        ratings = np.array([float(row[options.rating]) for row in rows])
    except ValueError as error:
        raise UserError(f"column {options.rating!r} of {options.csv} must hold numbers: {error}") from error
    if not np.isfinite(ratings).all():
        wrong = ratings[~np.isfinite(ratings)][0]
        raise UserError(f"column {options.rating!r} of {options.csv} must hold numbers, but one is {wrong}")
    texts = list(dict.fromkeys(row[column] for row in rows for column in (options.goal, options.seen)))
    vectors = dict(zip(texts, sentence_bert(texts), strict=True))
    cosines = np.array([vectors[row[options.goal]] @ vectors[row[options.seen]] for row in rows])
    rewards = {"cosine": cosines}
    if options.threshold is not None:
        rewards["cosine above the threshold"] = np.where(cosines > options.threshold, cosines, 0)
    names = [f"{row[options.goal]} | {row[options.seen]}" for row in rows]
    return names, rewards, ratings, None


def of_votes(options: Options) -> tuple[list[str], dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Pairs, rewards by suggester, votes (right less misplaced) and objects of Housekeep's pairs."""
    known = placements()
    try:
        votes = read_table(options.votes)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {options.votes}: {getattr(error, 'strerror', None) or error}"
        ) from error
    thing_of = {name.replace(" ", "_"): o for o, name in enumerate(known.objects)}
    place_of = {place: p for p, place in enumerate(known.places)}
    pairs = [(thing_of[o], place_of[p], r - m) for o, p, r, m in votes if o in thing_of and p in place_of]
    if not pairs:
        raise UserError(f"{options.votes} names nothing that the placements name")
    things, _, ratings = (np.array(column) for column in zip(*pairs, strict=True))
    threshold = (
        HOUSEKEEP.settings["default"]["reward.threshold"] if options.threshold is None else options.threshold
    )
    cosines = cosines_of_events(known, sorted(set(things.tolist())))
    rewards = {
        name: np.array([ellm_reward(cosines[o][p, yes[o]][None], threshold)[0] for o, p, _ in pairs])
        for name, yes in suggesters(known, options.answers).items()
    }
    names = [put(known.objects[o], known.where(p)) for o, p, _ in pairs]
    return names, rewards, ratings, things


def suggesters(known: Placements, files: Sequence[Path]) -> dict[str, np.ndarray]:
    """For each suggester, which placements it suggests, ``(objects, places)`` bool."""
    statements = [
        [Statement(thing, known.where(p)) for p in range(len(known.places))] for thing in known.objects
    ]
    judge = CosineJudge([one for row in statements for one in row], SBERT_SHARE)
    found = {
        "oracle (the placements)": known.right,
        "all goals": np.ones_like(known.right),
        "SentenceBERT": np.array([judge.answer(row) for row in statements]),
    }
    judgements = HOUSEKEEP.language(protocol="homes").judgements
    for file in files:
        model = RecordedModel(file)
        answers = [model.answer([statement.prompt(one, judgements) for one in row]) for row in statements]
        for error in (answer for row in answers for answer in row if isinstance(answer, Exception)):
            raise UserError(str(error))
        yes = [[closed_form.probability_of_yes(a.text, a.logprobs) for a in row] for row in answers]
        found[f"closed: {model.description}"] = np.array(yes) > closed_form.THRESHOLD
    return found


def cosines_of_events(known: Placements, things: Sequence[int]) -> Mapping[int, np.ndarray]:
    """For each object, the cosines of all events and goals of placing it, ``(places, places)``."""
    found = {}
    for thing in things:
        vectors = sentence_bert([put(known.objects[thing], known.where(p)) for p in range(len(known.places))])
        found[thing] = np.round(vectors @ vectors.T, 4)
    return found


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
