"""Trains a small model of what belongs where, on Housekeep's training objects alone, and records its answers.

``run_housekeep.py --goal-mode closed --llm recorded:trained`` runs on them. It is no language model: it generalises the placements
of the training objects to similar words. Answers about a training object come from a model that did not see that object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ellm_agent import cli
from ellm_agent.analysis.agreement import auc, grouped_auc
from ellm_agent.build import SBERT_SHARE
from ellm_agent.goals.judged import CosineJudge
from ellm_agent.runs.folder import write_whole
from ellm_agent.text.sentence_bert import sentence_bert
from envs.housekeep.answers import put_right, recorded
from envs.housekeep.homes import fixed_homes, new_home
from envs.housekeep.placements import Placements, placements
from envs.interface import HELD_OUT_SEEDS, Statement

FOLDS = 10  # of the training objects
DECAYS = (
    1e-4,
    3e-4,
    1e-3,
    3e-3,
)  # weight decays: the one with the lowest error on left-out training objects is taken
STEPS, STEP_SIZE = 400, 0.05  # of Adam
HEAD = {
    "description": "a small model trained on the placements of Housekeep's training objects (not a language model)",
    "made": "python experiments/train_placements.py",
}


@dataclass(frozen=True)
class Options:
    out: Path = Path("envs/housekeep/trained.jsonl.gz")
    """File of the answers."""


def main(options: Options) -> None:
    """Trains, prints how good it is, and writes the file."""
    cli.writable(out=options.out)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    known = placements()
    vectors = torch.from_numpy(sentence_bert(list(known.objects)))  # (objects, 384)
    right = torch.from_numpy(known.right.astype(np.float32))
    train = np.flatnonzero(~known.held_out)
    fold = np.random.RandomState(0).permutation(len(train)) % FOLDS
    found = {}
    for decay in DECAYS:
        p = left_out(known, vectors, right, train, fold, decay)
        found[decay] = float(torch.nn.functional.binary_cross_entropy(p, right[train])), p
        print(f"weight decay {decay:g}: cross-entropy on left-out training objects {found[decay][0]:.4f}")
    decay = min(found, key=lambda decay: found[decay][0])
    p = torch.zeros(right.shape)
    held_out = np.flatnonzero(known.held_out)
    p[train], p[held_out] = found[decay][1], fit(known, vectors, right, train, decay)(vectors[held_out])
    # Right places are rare, so hardly any P exceeds .5. Shifted: yes as often as training objects have right places.
    least = torch.quantile(p[train].flatten(), 1 - right[train].mean())
    answers = torch.sigmoid(torch.logit(p, 1e-6) - torch.logit(least)).numpy().round(2)  # as in the file
    cosines, similar = cosine_baseline(known)
    for name, rows in (("training objects, each left out", train), ("held-out objects", held_out)):
        print(f"{name}: {quality(answers[rows], answers[rows] > 0.5, known.right[rows])}")
        print(f"{name}, SentenceBERT cosines: {quality(cosines[rows], similar[rows], known.right[rows])}")
    for name, homes in (
        ("the fixed homes", fixed_homes(known)),
        ("1,000 homes of held-out objects", [new_home(known, HELD_OUT_SEEDS + i) for i in range(1000)]),
    ):
        for judge, yes in (("answers", answers > 0.5), ("SentenceBERT cosines", similar)):
            share = put_right(homes, yes)
            print(f"{name}: following the {judge} puts {share:.3f} of the misplaced objects right")
    write_whole(options.out, recorded(HEAD, known, answers))
    print(f"wrote {answers.size:,} answers to {options.out}")


def left_out(
    known: Placements,
    vectors: torch.Tensor,
    right: torch.Tensor,
    train: np.ndarray,
    fold: np.ndarray,
    decay: float,
) -> torch.Tensor:
    """Probabilities for training objects, by models that did not see them, ``(training objects, places)``."""
    p = torch.zeros(len(train), right.shape[1])
    for k in range(FOLDS):
        p[fold == k] = fit(known, vectors, right, train[fold != k], decay)(vectors[train[fold == k]])
    return p


def fit(
    known: Placements, vectors: torch.Tensor, right: torch.Tensor, rows: np.ndarray, decay: float
) -> Callable[[torch.Tensor], torch.Tensor]:
    """A logistic regression: the logit of an object and a place is

        v . (w_room + w_receptacle + w_place) + b_place

    where v is the object's SentenceBERT vector, less the mean of the training objects'. Returns vectors -> probabilities.
    """
    rooms, receptacles = list(known.rooms), list(known.prepositions)
    of_room = torch.tensor([rooms.index(place.room) for place in known.places])
    of_receptacle = torch.tensor([receptacles.index(place.receptacle) for place in known.places])
    mean = vectors[rows].mean(dim=0)
    room, receptacle, place = (
        torch.zeros(count, vectors.shape[1], requires_grad=True)
        for count in (len(rooms), len(receptacles), len(known.places))
    )
    bias = torch.logit(right[rows].mean().clamp(1e-3)).repeat(len(known.places)).requires_grad_()

    def logits(v: torch.Tensor) -> torch.Tensor:
        return (v - mean) @ (room[of_room] + receptacle[of_receptacle] + place).T + bias  # (objects, places)

    adam = torch.optim.Adam([room, receptacle, place, bias], STEP_SIZE)
    for _ in range(STEPS):
        adam.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits(vectors[rows]), right[rows])
        (loss + decay * sum((w**2).sum() for w in (room, receptacle, place)) / len(known.places)).backward()
        adam.step()
    return lambda v: torch.sigmoid(logits(v)).detach()


def cosine_baseline(known: Placements) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of objects and places, and to which of them ``--goal-mode sbert`` says yes, ``(objects, places)``."""
    statements = [
        Statement(thing, known.where(p)) for thing in known.objects for p in range(len(known.places))
    ]
    judge = CosineJudge(statements, SBERT_SHARE)
    cosines = np.array([judge.cosines[one] for one in statements])
    return cosines.reshape(known.right.shape), np.array(judge.answer(statements)).reshape(known.right.shape)


def quality(p: np.ndarray, yes: np.ndarray, right: np.ndarray) -> str:
    """ROC AUC overall, within objects and within places, beside the base rate; precision and recall of the answer yes."""
    things, places = np.indices(p.shape)
    everywhere = np.ones(p.shape, bool).ravel()
    rate = np.repeat(right.mean(axis=0, keepdims=True), len(right), axis=0)
    flat = p.ravel(), right.ravel()
    return (
        f"ROC AUC {auc(*flat):.3f} (the place's share of right objects alone: {auc(rate.ravel(), right.ravel()):.3f}), "
        f"within objects {grouped_auc(*flat, things.ravel(), everywhere):.3f} "
        f"(alone: {grouped_auc(rate.ravel(), right.ravel(), things.ravel(), everywhere):.3f}), "
        f"within places {grouped_auc(*flat, places.ravel(), everywhere):.3f} (alone: .5); "
        f"yes: precision {right[yes].mean():.2f}, recall {yes[right].mean():.2f}"
    )


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
