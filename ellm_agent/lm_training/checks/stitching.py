"""Stitching: the data never shows the best behaviour from the start to the end often enough to imitate it.

At first the model chooses LEFT or RIGHT, each in half of the episodes. LEFT gives 0.5. After RIGHT the environment writes a
token, and the model chooses GOOD (3 of 10 episodes; reward 1) or BAD (reward 0). So RIGHT is worth 0.3 as the data plays, and 1
as it could be played. Q-learning prefers RIGHT; SARSA, which values the data's policy, prefers LEFT.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ellm_agent.llm.value_heads import ValueHeads
from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.checks import tiny
from ellm_agent.lm_training.ilql import ILQL, Episode, Row, Settings
from ellm_agent.lm_training.networks import read

START, LEFT, RIGHT, ASKED, GOOD, BAD = range(1, 7)  # tokens
SAFE, GOOD_SHARE = 0.5, 0.3


def episodes(count: int, rng: np.random.Generator) -> list[Episode]:
    """The data."""
    result = []
    for _ in range(count):
        if rng.random() < 0.5:
            rows = [Row([START, LEFT], [1], [SAFE])]
        elif rng.random() < GOOD_SHARE:
            rows = [Row([START, RIGHT, ASKED, GOOD], [1, 3], [0.0, 1.0])]
        else:
            rows = [Row([START, RIGHT, ASKED, BAD], [1, 3], [0.0, 0.0])]
        result.append(Episode(rows))
    return result


def check(
    seed: int,
    tau: float,
    steps: int = 300,
    beta: float = 16.0,
    report: Callable[[str], object] = lambda _: None,
) -> float:
    """Probability of RIGHT at the start, of a policy that was trained with this expectile."""
    data = episodes(2_000, np.random.default_rng([seed, 2]))
    model = tiny.tiny_model(7, 4, width=32, layers=1, heads=2, seed=seed)
    with resumable.seeded(seed):
        heads = ValueHeads(32, 7)
    learner = ILQL(model, heads, Settings(tau=tau, learning_rate=2e-3, polyak=0.05, batch=64, alpha=0.01))
    tiny.train(learner, data, steps, seed, report, f"tau {tau}")
    with torch.no_grad():
        hidden = read(model, torch.tensor([[START]]))[:, 0]
        logits = learner.policy(beta)(hidden, model.get_output_embeddings()(hidden))
    return float(torch.softmax(logits, dim=1)[0, RIGHT])
