"""A reward model: a language model with a scalar head, trained on comparisons of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ellm_agent.errors import UserError
from ellm_agent.lm_training.losses import preference
from ellm_agent.lm_training.networks import Answers, ScalarModel

SCORED = 256  # answers at once


@dataclass(frozen=True)
class Comparison:
    """K answers to one question, compared.

    Attributes:
        question: token ids.
        answers: token ids of each.
        preferred: ``(K, K)`` bool: whether the row's answer was preferred to the column's; neither: they tie.
        best: of the answers, as far as the judge says; labels of the K-way choice.
    """

    question: Sequence[int]
    answers: Sequence[Sequence[int]]
    preferred: torch.Tensor
    best: int

    def __post_init__(self):
        k = len(self.answers)
        if self.preferred.shape != (k, k) or not 0 <= self.best < k:
            raise UserError(
                f"labels are for {tuple(self.preferred.shape)} pairs and best is {self.best}, but there are {k} answers"
            )

    @classmethod
    def of_choice(cls, question: Sequence[int], answers: Sequence[Sequence[int]], best: int) -> Comparison:
        """Of somebody who chose the best answer, and said nothing about the others."""
        preferred = torch.zeros(len(answers), len(answers), dtype=torch.bool)
        preferred[best] = True
        preferred[best, best] = False
        return cls(question, answers, preferred, best)


def collate(comparisons: Sequence[Comparison]) -> tuple[Answers, torch.Tensor, torch.Tensor]:
    """All answers, question by question; ``preferred`` ``(questions, K, K)``; ``best`` ``(questions,)``.

    Raises:
        UserError: if the numbers of answers differ.
    """
    counts = {len(comparison.answers) for comparison in comparisons}
    if len(counts) > 1:
        raise UserError(
            f"questions have {' and '.join(map(str, sorted(counts)))} answers; all must have as many"
        )
    answers = Answers.of(
        [c.question for c in comparisons for _ in c.answers], [a for c in comparisons for a in c.answers]
    )
    preferred = torch.stack([comparison.preferred for comparison in comparisons])
    return answers, preferred, torch.tensor([comparison.best for comparison in comparisons])


class RewardTraining:
    """Fits a reward model to comparisons, a batch at a time.

    Args:
        model: to train.
        learning_rate: of Adam.
        loss: "ranking" (all pairs of a question) or "best" (the choice among K).
        batch: questions in a step.
    """

    def __init__(self, model: ScalarModel, learning_rate: float, loss: str = "ranking", batch: int = 16):
        if loss not in ("ranking", "best"):
            raise ValueError(f"loss is {loss!r}; choose 'ranking' or 'best'")
        self.model, self._loss, self._batch = model, loss, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, eps=1e-5, fused=True)

    def step(
        self,
        comparisons: Sequence[Comparison],
        rng: np.random.Generator,
        choices: Sequence[Comparison] = (),
    ) -> dict[str, float]:
        """One gradient step on randomly chosen comparisons; and as many choices, whose own loss ("best") is added."""
        loss, accuracy = self._loss_of(comparisons, self._loss, rng)
        metrics = {"loss": loss.item(), "pair_accuracy": accuracy}
        if choices:
            added, accuracy = self._loss_of(choices, "best", rng)
            metrics |= {"choice_loss": added.item(), "choice_pair_accuracy": accuracy}
            loss = loss + added
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return metrics

    def relearn(
        self,
        comparisons: Sequence[Comparison],
        steps: int,
        rng: np.random.Generator,
        questions: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
    ) -> None:
        """Some steps on fresh comparisons; then the scores of these answers have mean 0 and deviation 1 again."""
        for _ in range(steps):
            self.step(comparisons, rng)
        self.model.normalise(score(self.model, questions, answers))

    def _loss_of(
        self, comparisons: Sequence[Comparison], kind: str, rng: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        """The loss of a batch, and the share of its pairs that are in the right order."""
        chosen = rng.choice(len(comparisons), min(self._batch, len(comparisons)), replace=False)
        answers, preferred, best = collate([comparisons[i] for i in chosen])
        scores = self.model.scores(answers).view(len(chosen), -1)
        loss = (
            preference.ranking(scores, preferred) if kind == "ranking" else preference.best_of_k(scores, best)
        )
        return loss, preference.pair_accuracy(scores.detach(), preferred)

    def state_dict(self) -> dict:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.no_grad()
def score(
    model: ScalarModel, questions: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Scores of answers, ``(answers,)``."""
    parts = [
        model.scores(Answers.of(questions[i : i + SCORED], answers[i : i + SCORED]))
        for i in range(0, len(questions), SCORED)
    ]
    return torch.cat(parts)


def accuracies(model: ScalarModel, comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Share of pairs, and of best answers, on which the model and the labels agree."""
    answers, preferred, best = collate(comparisons)
    rows = torch.arange(len(answers)).split(SCORED)
    with torch.no_grad():
        scores = torch.cat([model.scores(answers[part]) for part in rows]).view(len(comparisons), -1)
    return {
        "pair_accuracy": preference.pair_accuracy(scores, preferred),
        "best_accuracy": float((scores.argmax(dim=1) == best).float().mean()),
    }


def choice_ceiling(comparisons: Sequence[Comparison]) -> float:
    """The largest expected share of best answers that a model can name, if the labels have no noise.

    Different answers that tie with the best one are a coin toss; equal ones are not, as their scores are equal.
    """
    tied = [
        {tuple(c.answers[i]) for i in range(len(c.answers)) if not c.preferred[c.best, i]}
        for c in comparisons
    ]
    return float(np.mean([1 / len(answers) for answers in tied]))
