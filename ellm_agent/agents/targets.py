"""TD targets of the DQN, as pure functions."""

from __future__ import annotations

import torch


def double_q_target(
    rewards: torch.Tensor,
    dones: torch.Tensor,
    discounts: torch.Tensor | float,
    next_q_online: torch.Tensor,
    next_q_target: torch.Tensor,
) -> torch.Tensor:
    """y = R + discount * (1 - done) * Q_target(s', argmax_a Q_online(s', a)).

    van Hasselt et al. 2016, equation 4, for n-step returns R (discount = gamma^n).

    Args:
        rewards: ``(batch, 1)`` n-step returns.
        dones: ``(batch, 1)``, 1 where the episode terminated.
        discounts: ``(batch, 1)`` or a number.
        next_q_online: ``(batch, actions)``.
        next_q_target: ``(batch, actions)``.

    Returns:
        ``(batch, 1)``
    """
    best = next_q_online.argmax(dim=1, keepdim=True)
    return rewards + discounts * (1 - dones) * next_q_target.gather(1, best)


def munchausen_target(
    rewards: torch.Tensor,
    dones: torch.Tensor,
    discounts: torch.Tensor | float,
    actions: torch.Tensor,
    q_target: torch.Tensor,
    next_q_target: torch.Tensor,
    temperature: float,
    scale: float,
    clip: float,
) -> torch.Tensor:
    """y = R + scale * clip(t log pi(a|s), clip, 0) + discount * (1 - done) * soft value of s'.

    With pi = softmax(Q_target / t), the soft value of s' is sum_a pi(a|s') (Q_target(s', a) - t log
    pi(a|s')) = t logsumexp(Q_target(s', .) / t).  Vieillard, Pietquin & Geist 2020, equation 2. With
    n-step returns the bonus is added for the first action only.

    Args:
        rewards: ``(batch, 1)`` n-step returns.
        dones: ``(batch, 1)``, 1 where the episode terminated.
        discounts: ``(batch, 1)`` or a number.
        actions: ``(batch, 1)`` int64, taken in s.
        q_target: ``(batch, actions)``, of s.
        next_q_target: ``(batch, actions)``, of s'.
        temperature: t.
        scale: alpha, weight of the bonus.
        clip: l0 <= 0, the least that the bonus t log pi can be.

    Returns:
        ``(batch, 1)``
    """
    log_pi = torch.log_softmax(q_target / temperature, dim=1).gather(1, actions)
    bonus = scale * (temperature * log_pi).clamp(min=clip, max=0.0)
    soft_value = temperature * torch.logsumexp(next_q_target / temperature, dim=1, keepdim=True)
    return rewards + bonus + discounts * (1 - dones) * soft_value
