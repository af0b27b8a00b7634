"""``train_suggester.py interpolate``: a suggester between the first weights and those that a training made of them.

Weights on the straight line between the two gain less, and forget less (Wortsman et al. 2022, Ramé et al. 2024). So how far
a training has gone can be chosen after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ellm_agent.errors import UserError
from ellm_agent.lm_training import report, resumable
from ellm_agent.lm_training.data import Data, Sources
from ellm_agent.lm_training.losses import kl
from ellm_agent.lm_training.networks import Answers, log_probabilities
from ellm_agent.lm_training.ppo import likelihood_loss
from ellm_agent.lm_training.suggester import Suggester

UNSEEN = 1_000  # captions of the pretraining corpus, held out


@dataclass(frozen=True)
class Recipe:
    """What is asked for."""

    sources: Sources  # its model has the first weights
    trained: Path  # folder of the suggester that was made of it
    share: float = 0.5  # of the way from the first weights to the trained ones
    seed: int = 0  # of the answers that are measured

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise UserError(f"share is {self.share:g}; it must be from 0 to 1")


def interpolate(first: torch.nn.Module, trained: torch.nn.Module, share: float) -> None:
    """Moves the weights of a network a share of the way to those of another one of the same kind."""
    with torch.no_grad():
        for own, other in zip(first.parameters(), trained.parameters(), strict=True):
            own.lerp_(other, share)


def fit(recipe: Recipe, folder: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Makes a suggester, measures it, and writes it to a folder.

    Args:
        recipe: what is asked for.
        folder: to write.
        say: receives lines about the progress.

    Raises:
        UserError: for data, models or a folder that cannot be used.
    """
    data, trained = Data(recipe.sources), Suggester(recipe.trained).model
    model = data.suggester.model
    shapes = [[tuple(p.shape) for p in network.parameters()] for network in (model, trained)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"trained is {recipe.trained}, whose network is another one than that of {data.suggester.folder}"
        )
    resumable.open_folder(folder, recipe, "interpolate")
    unseen = data.corpus(UNSEEN, held_out=True, seed=recipe.seed)
    reference = Suggester(recipe.sources.model).model
    with torch.no_grad():
        before, loss_before = data.measure(recipe.seed), likelihood_loss(model, unseen).item()
        interpolate(model, trained, recipe.share)
        say(f"{recipe.share:g} of the way from {data.suggester.folder} to {recipe.trained}")
        after, loss = data.measure(recipe.seed), likelihood_loss(model, unseen).item()
        questions = data.questions(data.held_out)
        answers = data.suggester.sample(questions, resumable.generators(recipe.seed, 0)[1])
        batch = Answers.of(questions, answers)
        moved, old = (log_probabilities(network, batch) for network in (model, reference))
    figures = report.improvement(before, after) | {
        "kl": kl.divergence(moved, old, batch.mask),
        "corpus_loss_before": loss_before,
        "corpus_loss": loss,
        "corpus_loss_change": loss / loss_before - 1,
        "held_out_captions": len(data.held_out),
    }
    use = report.SUGGESTS.format(report.command(recipe.sources.world, folder))
    report.write_card(folder, "a suggester between two others", use, recipe, figures)
    data.suggester.save(folder)
    return figures
