"""NovelD: the gain in novelty of a transition, measured by RND."""

from __future__ import annotations

import torch

from ellm_agent.rewards.novelty.rnd import RND


class NovelD(RND):
    """Rewards the step from a known into a novel state, once in an episode (Zhang et al. 2021, equations 2 and 3).

        novelty(s) = |predictor(s) - target(s)|
        bonus = max(novelty(s') - alpha novelty(s), 0) * [s' not yet visited in this episode]

    Args:
        inputs: length of a state.
        actions: number of actions (unused).
        hidden: width of both networks.
        alpha: 1 in ELLM's official code.
    """

    def __init__(self, inputs: int, actions: int, hidden: int, alpha: float = 1.0):
        super().__init__(inputs, actions, hidden)
        self.alpha, self.outputs = alpha, hidden

    def score(self, before, actions, after, first_visit) -> torch.Tensor:
        new, old = (
            self.novelty(s).mul(self.outputs).sqrt() for s in (after, before)
        )  # from mean square to norm
        gain = (new - self.alpha * old).clamp(min=0)
        return gain * first_visit
