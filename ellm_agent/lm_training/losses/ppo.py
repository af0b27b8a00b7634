"""Proximal policy optimisation on tokens: advantages, whitening, and the clipped losses (Schulman et al. 2017)."""

from __future__ import annotations

import torch


def advantages(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation over the tokens of answers (Schulman et al. 2016, equation 16).

        delta_t = r_t + gamma V_{t+1} - V_t;    A_t = delta_t + gamma lambda A_{t+1};    V = A = 0 behind the end

    Args:
        rewards: ``(answers, tokens)``.
        values: V of the state before each token, likewise.
        mask: whether it is a token of the answer, likewise, bool; padding only behind.
        gamma: discount per token.
        lam: lambda.

    Returns:
        Advantages, and returns A + V, ``(answers, tokens)``; 0 outside of answers.
    """
    values = values * mask
    result = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        after = values[:, t + 1] if t + 1 < rewards.shape[1] else 0.0
        following = (rewards[:, t] + gamma * after - values[:, t] + gamma * lam * following) * mask[:, t]
        result[:, t] = following
    return result, result + values


def whiten(values: torch.Tensor, mask: torch.Tensor, shift: bool = True) -> torch.Tensor:
    """Values of deviation 1 among those of the mask, and mean 0 if ``shift`` (rewards keep their mean, as published)."""
    chosen = values[mask]
    mean = chosen.mean()
    whitened = (values - mean) / (chosen.std(unbiased=False) + 1e-8) + (0.0 if shift else mean)
    return whitened * mask


def policy_loss(
    logp: torch.Tensor, old_logp: torch.Tensor, advantage: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """The clipped surrogate, to be minimised (Schulman et al. 2017, equation 7).

    L = -mean min(rho A, clip(rho, 1 - c, 1 + c) A),    rho = pi / pi_old
    """
    ratio = (logp - old_logp).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return masked_mean(-torch.min(ratio * advantage, clipped * advantage), mask)


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, clip: float
) -> torch.Tensor:
    """Half the squared error of values that may move by ``clip`` at most (as in the published implementations)."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * masked_mean(torch.max((values - returns) ** 2, (near - returns) ** 2), mask)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over the mask."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
