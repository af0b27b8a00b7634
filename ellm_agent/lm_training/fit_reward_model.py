"""``train_suggester.py reward-model``: a reward model from suggestion logs and a judge, from people's choices, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellm_agent.errors import UserError
from ellm_agent.lm_training import report, resumable
from ellm_agent.lm_training.choices import read_choices
from ellm_agent.lm_training.data import Data, Sources, check_labels, check_model
from ellm_agent.lm_training.judge import NOISE
from ellm_agent.lm_training.networks import ScalarModel
from ellm_agent.lm_training.reward_model import Comparison, RewardTraining, accuracies, choice_ceiling, score
from ellm_agent.lm_training.suggester import Suggester
from ellm_agent.runs import checkpoints
from envs import registry

FILE = "reward_model.pt"


@dataclass(frozen=True)
class Recipe:
    """What is asked for."""

    sources: Sources  # without logs: no simulated labels
    choices: tuple[Path, ...] = ()  # files of people's choices
    scenes: int = 2_000  # captions whose answers are compared
    k: int = 6  # answers to each
    noise: float = NOISE  # share of random labels
    loss: str = "ranking"  # of simulated labels: of all pairs, or "best" of the k; that of choices is "best"
    steps: int = 400
    batch: int = 16  # captions in a step
    learning_rate: float = 3e-3  # of Adam, at first; falls linearly to a tenth
    tested: int = 300  # captions of held-out worlds
    seed: int = 0

    def __post_init__(self):
        if not self.sources.logs and not self.choices:
            raise UserError("there are no labels; name --logs, --choices, or both")
        check_labels(self.k, self.noise)


def fit(recipe: Recipe, folder: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Trains a reward model, and writes it with its figures to a folder.

    Raises:
        UserError: for data or a folder that cannot be used.
    """
    data = Data(recipe.sources) if recipe.sources.logs else None
    if not data:
        check_model(recipe.sources.model, registry.get(recipe.sources.world))
    suggester = data.suggester if data else Suggester(recipe.sources.model)
    choices, unseen_choices = read_choices(recipe.choices, suggester) if recipe.choices else ([], [])
    resumable.open_folder(folder, recipe, "reward-model")
    rng, generator = resumable.generators(recipe.seed, 2**20)
    simulated: list[Comparison] = []
    if data:
        simulated = data.comparisons(
            data.draw(recipe.scenes, rng, replace=False), recipe.k, recipe.seed, recipe.noise
        )
    model = ScalarModel(suggester.model, generator)
    loss = recipe.loss if data else "best"
    training = RewardTraining(model, recipe.learning_rate, loss, recipe.batch)
    labels = (simulated, choices) if data else (choices, ())

    def step(number: int) -> dict[str, float]:
        resumable.set_rate(training.optimizer, recipe.learning_rate * (1 - 0.9 * number / recipe.steps))
        return training.step(labels[0], resumable.generators(recipe.seed, number)[0], labels[1])

    rows = resumable.run(folder, {"reward model": training}, step, recipe.steps, say)
    questions = [compared.question for compared in (*simulated, *choices)]
    model.normalise(score(model, questions, suggester.sample(questions, generator)))
    figures = measure(model, data, recipe) if data else {}
    if unseen_choices:
        figures["four_way_accuracy_of_choices"] = accuracies(model, unseen_choices)["best_accuracy"]
        figures["held_out_choices"] = len(unseen_choices)
    learned = _usefulness(recipe.sources) if data else {}  # people's choices know none
    checkpoints.write(folder / FILE, {"model": model.state_dict(), **learned})
    report.draw_rows(rows, folder / "curves.png")
    report.write_card(
        folder,
        "a reward model for suggestions",
        "Scores an answer to an open question; higher is more useful. For `train_suggester.py ppo`.",
        recipe,
        figures,
    )
    return figures


def measure(model: ScalarModel, data: Data, recipe: Recipe) -> dict[str, float]:
    """Accuracy on held-out captions: against labels as noisy as in training, and against the judge itself;
    and the largest accuracies that are possible, since labels are random now and then, and answers tie.
    """
    rows = data.held_out[:: max(1, len(data.held_out) // recipe.tested)]
    figures = {}
    for name, noise in (("", recipe.noise), ("_without_noise", 0.0)):
        compared = data.comparisons(rows, recipe.k, recipe.seed + 1, noise)
        four = data.comparisons(rows, 4, recipe.seed + 2, noise)
        figures[f"pair_accuracy{name}"] = accuracies(model, compared)["pair_accuracy"]
        figures[f"four_way_accuracy{name}"] = accuracies(model, four)["best_accuracy"]
    ceiling = choice_ceiling(four)
    figures |= {
        "pair_ceiling": 1 - recipe.noise / 2,
        "four_way_ceiling": (1 - recipe.noise) * ceiling + recipe.noise / 4,
        "four_way_ceiling_without_noise": ceiling,
    }
    answers = [answer for c in compared for answer in c.answers]
    scores = score(model, [c.question for c in compared for _ in c.answers], answers).numpy()
    true = data.usefulness([row for row in rows for _ in range(recipe.k)], answers)
    pairs = [
        (i, j) for at in range(0, len(true), recipe.k) for i in range(at, at + recipe.k) for j in range(at, i)
    ]
    decided = [(i, j) for i, j in pairs if true[i] != true[j]]
    right = [(scores[i] > scores[j]) == (true[i] > true[j]) for i, j in decided]
    return figures | {
        "pair_accuracy_against_true_usefulness": float(np.mean(right)),
        "held_out_captions": len(rows),
    }


def _usefulness(sources: Sources) -> dict[str, float | str]:
    """What defines usefulness, by the names of the options."""
    return {"rarity_power": sources.rarity, "cost": sources.cost, "judge": sources.judge}


def load(folder: Path, data: Data) -> ScalarModel:
    """The reward model of a folder.

    Raises:
        UserError: if there is none, or it is of another language model or another usefulness.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} holds no reward model; train one with train_suggester.py reward-model")
    state = checkpoints.read(path)
    for name, asked in _usefulness(data.sources).items():
        learned = state.get(name, asked)
        if learned != asked:
            option = name.replace("_", "-")
            raise UserError(
                f"{option} is {asked}, but {folder} learned with {learned}; give --{option} {learned}"
            )
    model = ScalarModel(data.suggester.model, resumable.generators(0, 0)[1])
    with checkpoints.readable(path):
        model.load_state_dict(state["model"])
    return model.eval()
