"""``train_suggester.py ppo``: a suggester learns from a reward model, with fresh labels as it moves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ellm_agent.errors import UserError
from ellm_agent.lm_training import fit_reward_model, report, resumable
from ellm_agent.lm_training.data import Data, Sources, check_labels
from ellm_agent.lm_training.judge import NOISE
from ellm_agent.lm_training.networks import ScalarModel
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
    reward_model = fit_reward_model.load(recipe.reward_model, data)
    resumable.open_folder(folder, recipe, "ppo")
    training = _Training(recipe, data, reward_model)
    before, loss_before = data.measure(recipe.seed), training.corpus_loss()
    parts = {"ppo": training.ppo, "reward model": training.relearning}
    rows = resumable.run(folder, parts, training.step, recipe.iterations, say)
    after, loss_after = data.measure(recipe.seed), training.corpus_loss()
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
    data.suggester.save(folder)
    return figures


class _Training:
    """What an iteration needs: learner, reward model, captions, the pretraining corpus.

    Args:
        recipe: what is asked for.
        data: rows, and the suggester to train.
        reward_model: gives the scores, and learns from fresh labels.
    """

    def __init__(self, recipe: Recipe, data: Data, reward_model: ScalarModel):
        self._recipe, self._data, self._reward_model = recipe, data, reward_model
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
        self.ppo = PPO(data.suggester.model, copy.deepcopy(reward_model), settings)
        self.relearning = RewardTraining(reward_model, recipe.relearning_rate)
        self._pretraining = data.corpus(recipe.corpus, held_out=False, seed=recipe.seed)
        self._unseen = data.corpus(UNSEEN, held_out=True, seed=recipe.seed)
        self._measured = data.held_out[:: max(1, len(data.held_out) // MEASURED)]
        self._asked = data.questions(self._measured)
        rng, generator = resumable.generators(recipe.seed, 2**20)
        self._standard = data.questions(data.draw(recipe.scenes, rng))
        # Of the first weights, as in the reward model's own training: scores of 0 are what the reference earns.
        self._standard_answers = data.suggester.sample(self._standard, generator)

    def step(self, number: int) -> dict[str, float]:
        """One iteration; its metrics."""
        recipe, data, suggester = self._recipe, self._data, self._data.suggester
        rng, generator = resumable.generators(recipe.seed, number)
        self.ppo.anneal(number / recipe.iterations)
        if number and self._round(number) > self._round(number - 1):
            self._relabel(number)
        questions = data.questions(data.draw(recipe.answers, rng))
        answers = suggester.sample(questions, generator)
        scores = score(self._reward_model, questions, answers)
        scores = penalise_no_end(scores, answers, (suggester.end,), self.ppo.settings.no_end)
        texts = None
        if recipe.mix:
            texts = self._pretraining[torch.from_numpy(rng.choice(len(self._pretraining), recipe.answers))]
        metrics = self.ppo.learn(questions, answers, scores, generator, texts)
        if number % MEASURE_EVERY == 0 or number + 1 == recipe.iterations:
            metrics |= self._measure(generator)
        return metrics

    def corpus_loss(self) -> float:
        """Of the policy, on unseen captions of the pretraining corpus; nats a token."""
        with torch.no_grad():
            return likelihood_loss(self.ppo.policy, self._unseen).item()

    def _round(self, number: int) -> int:
        """The round to which an iteration belongs."""
        return number * self._recipe.rounds // self._recipe.iterations

    def _relabel(self, number: int) -> None:
        """The reward model learns from labels of the present policy's answers."""
        recipe, data = self._recipe, self._data
        rng, _ = resumable.generators(recipe.seed, 2**20 + number)
        rows = data.draw(recipe.scenes, rng)
        compared = data.comparisons(rows, recipe.k, recipe.seed + number, recipe.noise)
        self.relearning.relearn(compared, recipe.relearn, rng, self._standard, self._standard_answers)

    def _measure(self, generator: torch.Generator) -> dict[str, float]:
        """Score, true usefulness and corpus loss on what is held out."""
        answers = self._data.suggester.sample(self._asked, generator)
        return {
            "held_out_score": float(score(self._reward_model, self._asked, answers).mean()),
            "true_usefulness": float(self._data.usefulness(self._measured, answers).mean()),
            "corpus_loss": self.corpus_loss(),
        }
