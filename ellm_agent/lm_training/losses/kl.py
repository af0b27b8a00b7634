"""Keeping a policy near its reference: rewards per token, and the weight of the divergence."""

from __future__ import annotations

import torch

HORIZON = 10_000  # answers in which the weight can grow by the factor e^.2 at most (Ziegler et al. 2019)
LARGEST_ERROR = 0.2


def token_rewards(
    logp: torch.Tensor, reference_logp: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor, beta: float
) -> torch.Tensor:
    """Rewards of tokens: the divergence everywhere, the answer's score at its last token (Ziegler et al. 2019, eq. 2).

        r_t = -beta (log pi(y_t | .) - log rho(y_t | .)) + [t = T] r(x, y)

    Args:
        logp: log pi of the answers' tokens, ``(answers, tokens)``.
        reference_logp: log rho of them, likewise.
        scores: r(x, y), ``(answers,)``.
        mask: whether it is a token of the answer, ``(answers, tokens)`` bool; padding only behind.
        beta: weight of the divergence.

    Returns:
        ``(answers, tokens)``, 0 outside of answers.
    """
    rewards = -beta * (logp - reference_logp) * mask
    rows = torch.arange(len(scores))
    rewards[rows, mask.sum(dim=1) - 1] += scores
    return rewards


def divergence(logp: torch.Tensor, reference_logp: torch.Tensor, mask: torch.Tensor) -> float:
    """Monte-Carlo estimate of KL(pi || rho) of whole answers that were sampled from pi, in nats."""
    return float(((logp - reference_logp) * mask).sum(dim=1).mean())


class FixedBeta:
    """A weight that stays (Ouyang et al. 2022: .02)."""

    def __init__(self, beta: float):
        self.beta = beta

    def update(self, kl: float, answers: int) -> None:
        """Does nothing."""

    def state_dict(self) -> dict[str, float]:
        return {"beta": self.beta}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.beta = state["beta"]


class AdaptiveBeta(FixedBeta):
    """A weight that steers the divergence to a target (Ziegler et al. 2019, section 2.2).

        e = clip(KL / target - 1, -.2, .2);    beta <- beta (1 + e n / horizon)

    Args:
        beta: to start with.
        target: of the divergence, nats an answer.
        horizon: answers; the published one is for trainings on two million answers.
    """

    def __init__(self, beta: float, target: float, horizon: float = HORIZON):
        super().__init__(beta)
        self._target, self._horizon = target, horizon

    def update(self, kl: float, answers: int) -> None:
        """Takes the divergence that was measured on n answers."""
        error = min(max(kl / self._target - 1, -LARGEST_ERROR), LARGEST_ERROR)
        self.beta *= 1 + error * answers / self._horizon
