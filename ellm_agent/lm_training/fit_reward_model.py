"""``train_suggester.py reward-model``: a reward model from suggestion logs and a judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellm_agent.errors import UserError
from ellm_agent.lm_training import report, resumable
from ellm_agent.lm_training.data import Data, Sources
from ellm_agent.lm_training.networks import ScalarModel
from ellm_agent.lm_training.reward_model import RewardTraining, accuracies, score
from ellm_agent.runs import checkpoints

FILE = "reward_model.pt"


@dataclass(frozen=True)
class Recipe:
    """What is asked for."""

    sources: Sources
    scenes: int = 2_000  # captions whose answers are compared
    k: int = 6  # answers to each
    noise: float = 0.1  # share of random labels
    loss: str = "ranking"  # of all pairs, or "best" of the k
    steps: int = 400
    batch: int = 16  # captions in a step
    learning_rate: float = 1e-3  # of Adam, at first; falls linearly to a tenth
    tested: int = 300  # captions of held-out worlds
    seed: int = 0

    def __post_init__(self):
        if not 4 <= self.k <= 9:
            raise UserError(f"k is {self.k}; it must be from 4 to 9")
        if not 0 <= self.noise <= 1:
            raise UserError(f"noise is {self.noise}; it must be from 0 to 1")


def fit(recipe: Recipe, folder: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Trains a reward model, and writes it with its figures to a folder.

    Raises:
        UserError: for data or a folder that cannot be used.
    """
    resumable.open_folder(folder, recipe, "reward-model")
    data = Data(recipe.sources)
    rng, generator = resumable.generators(recipe.seed, 2**20)
    chosen = rng.choice(len(data.train), min(recipe.scenes, len(data.train)), replace=False)
    compared = data.comparisons([data.train[i] for i in chosen], recipe.k, recipe.seed, recipe.noise)
    model = ScalarModel(data.suggester.model, generator)
    training = RewardTraining(model, recipe.learning_rate, recipe.loss, recipe.batch)

    def step(number: int) -> dict[str, float]:
        for group in training.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 - 0.9 * number / recipe.steps)
        return training.step(compared, resumable.generators(recipe.seed, number)[0])

    rows = resumable.run(folder, {"reward model": training}, step, recipe.steps, say)
    sampled = data.suggester.sample([c.question for c in compared], generator)
    model.normalise(score(model, [c.question for c in compared], sampled))
    figures = measure(model, data, recipe)
    checkpoints.write(folder / FILE, {"model": model.state_dict()})
    report.draw_rows(rows, ("loss", "pair_accuracy"), folder / "curves.png", "step")
    report.write_card(
        folder,
        "a reward model for suggestions",
        "Scores an answer to an open question; higher is more useful. For `train_suggester.py ppo`.",
        recipe,
        figures,
    )
    return figures


def measure(model: ScalarModel, data: Data, recipe: Recipe) -> dict[str, float]:
    """Accuracy on captions of held-out worlds: against labels as noisy as in training, and against the judge itself."""
    rows = data.held_out[:: max(1, len(data.held_out) // recipe.tested)]
    figures = {}
    for name, noise in (("", recipe.noise), ("_without_noise", 0.0)):
        compared = data.comparisons(rows, recipe.k, recipe.seed + 1, noise)
        four = data.comparisons(rows, 4, recipe.seed + 2, noise)
        figures[f"pair_accuracy{name}"] = accuracies(model, compared)["pair_accuracy"]
        figures[f"four_way_accuracy{name}"] = accuracies(model, four)["best_accuracy"]
    answers = [answer for c in compared for answer in c.answers]
    scores = score(model, [c.question for c in compared for _ in c.answers], answers).numpy()
    true = data.usefulness([row for row in rows for _ in range(recipe.k)], answers)
    pairs = [
        (i, j) for at in range(0, len(true), recipe.k) for i in range(at, at + recipe.k) for j in range(at, i)
    ]
    decided = [(i, j) for i, j in pairs if true[i] != true[j]]
    right = [(scores[i] > scores[j]) == (true[i] > true[j]) for i, j in decided]
    return figures | {
        "pair_accuracy_against_what_happened": float(np.mean(right)),
        "held_out_captions": len(rows),
    }


def load(folder: Path, data: Data) -> ScalarModel:
    """The reward model of a folder.

    Raises:
        UserError: if there is none, or it is of another language model.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no reward model; train one with train_suggester.py reward-model")
    state = checkpoints.read(path)
    model = ScalarModel(data.suggester.model, resumable.generators(0, 0)[1])
    with checkpoints.readable(path):
        model.load_state_dict(state["model"])
    return model.eval()
