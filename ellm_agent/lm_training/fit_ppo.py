"""``train_suggester.py ppo``: a suggester learns from a reward model, with fresh labels as it moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ellm_agent.errors import UserError
from ellm_agent.lm_training import fit_reward_model, report, resumable
from ellm_agent.lm_training.data import Data, Sources, check_labels
from ellm_agent.lm_training.judge import NOISE
from ellm_agent.lm_training.ppo import PPO, Settings, likelihood_loss, penalise_no_end
from ellm_agent.lm_training.reward_model import RewardTraining, score

MEASURED = 300  # rows of held-out worlds, for curves
MEASURE_EVERY = 5  # iterations
UNSEEN = 400  # captions of the pretraining corpus, held out
HORIZON = 500.0  # answers; Ziegler et al.: 10,000, in trainings on two million


@dataclass(frozen=True)
class Recipe:
    """What is asked for."""

    sources: Sources
    reward_model: Path  # folder of train_suggester.py reward-model
    iterations: int = 40
    answers: int = 128  # in an iteration
    beta: float = 0.1  # weight of the divergence, or its first value
    target_kl: float | None = None  # nats an answer, for the adaptive weight; None: fixed
    horizon: float = HORIZON  # answers, of the adaptive weight
    whiten_rewards: bool = False  # as published: to deviation 1, the mean stays
    mix: float = 0.05  # weight of the pretraining loss; 0: none
    rounds: int = 2  # of labels; the first are the reward model's own
    scenes: int = 500  # captions with fresh labels in a round
    k: int = 6  # answers to each
    noise: float = NOISE  # share of random labels
    relearn: int = 60  # steps of the reward model on them
    relearning_rate: float = 1e-4  # of Adam, in these steps
    learning_rate: float = 1e-3  # of Adam, at first; falls linearly to 0
    epochs: int = 2  # passes over the answers of an iteration
    corpus: int = 1_000  # captions of the pretraining corpus
    seed: int = 0

    def __post_init__(self):
        for name in ("iterations", "answers", "rounds", "scenes", "corpus", "epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.rounds > self.iterations:
            raise UserError(
                f"rounds is {self.rounds}, but iterations is {self.iterations}; a round needs one at least"
            )
        if self.target_kl is not None and not self.target_kl > 0:
            raise UserError(f"target-kl is {self.target_kl}; it must be above 0, or None for a fixed weight")
        if self.horizon <= 0:
            raise UserError(f"horizon is {self.horizon:g}; it must be above 0")
        check_labels(self.k, self.noise)


def fit(recipe: Recipe, folder: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Trains a suggester, and writes it with its figures and curves to a folder.

    Raises:
        UserError: for data, models or a folder that cannot be used.
    """
    data = Data(recipe.sources)
    suggester = data.suggester
    reward_model = fit_reward_model.load(recipe.reward_model, data)
    resumable.open_folder(folder, recipe, "ppo")
    settings = Settings(
        learning_rate=recipe.learning_rate,
        epochs=recipe.epochs,
        minibatches=2,
        beta=recipe.beta,
        target_kl=recipe.target_kl,
        horizon=recipe.horizon,
        whiten_rewards=recipe.whiten_rewards,
        mix=recipe.mix,
    )
    ppo = PPO(suggester.model, fit_reward_model.load(recipe.reward_model, data), settings)
    relearning = RewardTraining(reward_model, recipe.relearning_rate)
    pretraining = data.corpus(recipe.corpus, held_out=False, seed=recipe.seed)
    unseen = data.corpus(UNSEEN, held_out=True, seed=recipe.seed)
    measured = data.held_out[:: max(1, len(data.held_out) // MEASURED)]
    asked = data.questions(measured)
    before = data.measure(recipe.seed)
    rng, generator = resumable.generators(recipe.seed, 2**20)
    standard = data.questions(data.draw(recipe.scenes, rng))
    # Of the first weights, as in the reward model's own training: scores of 0 are what the reference earns.
    standard_answers = suggester.sample(standard, generator)

    def corpus_loss() -> float:
        with torch.no_grad():
            return likelihood_loss(ppo.policy, unseen).item()

    loss_before = corpus_loss()

    def round_of(number: int) -> int:
        return number * recipe.rounds // recipe.iterations

    def step(number: int) -> dict[str, float]:
        rng, generator = resumable.generators(recipe.seed, number)
        ppo.anneal(number / recipe.iterations)
        if number and round_of(number) > round_of(number - 1):
            _relabel(number)
        questions = data.questions(data.draw(recipe.answers, rng))
        answers = suggester.sample(questions, generator)
        scores = penalise_no_end(
            score(reward_model, questions, answers), answers, (suggester.end,), settings.no_end
        )
        texts = None
        if recipe.mix:
            texts = pretraining[torch.from_numpy(rng.choice(len(pretraining), recipe.answers))]
        metrics = ppo.learn(questions, answers, scores, generator, texts)
        if number % MEASURE_EVERY == 0 or number + 1 == recipe.iterations:
            answers = suggester.sample(asked, generator)
            metrics["held_out_score"] = float(score(reward_model, asked, answers).mean())
            metrics["true_usefulness"] = float(data.usefulness(measured, answers).mean())
            metrics["corpus_loss"] = corpus_loss()
        return metrics

    def _relabel(number: int) -> None:
        """The reward model learns from labels of the present policy's answers."""
        rng, _ = resumable.generators(recipe.seed, 2**20 + number)
        compared = data.comparisons(
            data.draw(recipe.scenes, rng), recipe.k, recipe.seed + number, recipe.noise
        )
        relearning.relearn(compared, recipe.relearn, rng, standard, standard_answers)

    rows = resumable.run(folder, {"ppo": ppo, "reward model": relearning}, step, recipe.iterations, say)
    after, loss_after = data.measure(recipe.seed), corpus_loss()
    figures = report.improvement(before, after) | {
        "kl": float(np.mean([row["kl"] for row in rows[-5:]])),
        "corpus_loss_before": loss_before,
        "corpus_loss": loss_after,
        "corpus_loss_change": loss_after / loss_before - 1,
        "held_out_captions": len(data.held_out),
    }
    report.draw_over_optimisation(rows, folder / "curves.png")
    title = "a suggester that learned by PPO"
    use = report.SUGGESTS.format(report.command(recipe.sources.world, folder))
    report.write_card(folder, title, use, recipe, figures)
    suggester.save(folder)
    return figures
