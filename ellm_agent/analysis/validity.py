"""Is a reward what people mean? Agreement of rewards with people's ratings of the same transitions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from ellm_agent.analysis.agreement import auc, grouped_auc
from ellm_agent.analysis.figures import save_png, style

BINS = 10  # of a reliability plot, with equally many rewards
RESAMPLES = 1_000  # of the bootstrap


class Validity(NamedTuple):
    """How well rewards agree with ratings."""

    pairs: int
    rank: float  # Spearman's correlation of reward and rating, in [-1, 1]
    auc: float  # probability that a pair rated high is rewarded more than one rated low; ties half
    within: float  # the same within groups, such as the pairs of one object; nan without groups
    rewarded_high: float  # share of pairs rated high that are rewarded at all
    rewarded_low: float  # share of pairs rated low that are


def validity(
    rewards: np.ndarray, ratings: np.ndarray, least: float, groups: np.ndarray | None = None
) -> Validity:
    """Agreement of rewards with ratings.

    Args:
        rewards: ``(pairs,)``.
        ratings: ``(pairs,)``, of the same pairs.
        least: rating from which on a pair is rated high.
        groups: number of the group of each pair, ``(pairs,)``.
    """
    high = ratings >= least
    constant = np.ptp(rewards) == 0 or np.ptp(ratings) == 0
    rank = 0.0 if constant else float(spearmanr(rewards, ratings).statistic)
    everywhere = np.ones(len(rewards), bool)
    within = float("nan") if groups is None else grouped_auc(rewards, high, groups, everywhere)
    rewarded = rewards > 0
    shares = (float(rewarded[rows].mean()) if rows.any() else float("nan") for rows in (high, ~high))
    return Validity(len(rewards), rank, auc(rewards, high), within, *shares)


def reliability(
    rewards: np.ndarray, ratings: np.ndarray, seed: int = 0
) -> list[tuple[float, float, float, float, int]]:
    """Mean rating of the pairs of similar reward.

    Args:
        rewards: ``(pairs,)``.
        ratings: ``(pairs,)``.
        seed: of the bootstrap.

    Returns:
        Mean reward, mean rating, the ends of its 95 % bootstrap interval, and the number of pairs, bin by bin. Equal rewards
        are never in two bins.
    """
    edges = np.unique(np.quantile(rewards, np.linspace(0, 1, BINS + 1)))
    number = np.clip(np.searchsorted(edges, rewards, side="right"), 1, max(len(edges) - 1, 1))
    random, rows = np.random.default_rng(seed), []
    for k in np.unique(number):
        own = ratings[number == k]
        means = random.choice(own, (RESAMPLES, len(own))).mean(axis=1) if len(own) > 1 else own
        low, high = np.quantile(means, (0.025, 0.975))
        rows.append(
            (float(rewards[number == k].mean()), float(own.mean()), float(low), float(high), len(own))
        )
    return rows


def draw_reliability(path: Path, rewards: dict[str, np.ndarray], ratings: np.ndarray, title: str) -> None:
    """A reliability plot: mean rating over reward, one line for each source of rewards, with 95 % intervals."""
    with style():
        figure = Figure(figsize=(6.4, 4.4))
        axes = figure.subplots()
        for name, own in rewards.items():
            x, y, low, high, _ = np.array(reliability(own, ratings)).T
            axes.errorbar(x, y, [y - low, high - y], marker="o", markersize=4, capsize=2, label=name)
        axes.axhline(ratings.mean(), color="grey", linewidth=0.8, linestyle=":", label="mean rating")
        axes.set(xlabel="reward", ylabel="mean rating", title=title)
        axes.legend(fontsize=8)
        save_png(figure, path)


def table(rows: Sequence[tuple[str, Validity]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| reward | pairs | rank correlation | ROC AUC | within groups | rewarded, rated high | rewarded, rated low |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, v in rows:
        within = "" if np.isnan(v.within) else f"{v.within:.2f}"
        lines.append(
            f"| {name} | {v.pairs:,} | {v.rank:.2f} | {v.auc:.2f} | {within} | {v.rewarded_high:.0%} | {v.rewarded_low:.0%} |"
        )
    return "\n".join(lines)
