"""The compared methods: each is the default run with one part swapped.

Every method has the same agent, observes the same, and learns by the same training call.
"""

from __future__ import annotations

from typing import Any

from ellm_agent.config.schema import Config
from ellm_agent.config.suggester import NO_MISTAKES

RECALLS, PRECISIONS = (1.0, 0.8, 0.6, 0.4, 0.2), (1.0, 0.6, 0.3)  # of the oracles with mistakes

METHODS: dict[str, dict[str, Any]] = {  # name -> changed options
    "open": {"suggester.kind": "open"},
    "closed": {"suggester.kind": "closed"},
    # Rules instead of a language model; they read the whole caption.
    "open-script": {
        "suggester.kind": "open",
        "suggester.llm.kind": "script",
        "suggester.llm.caption": "whole",
    },
    "closed-script": {
        "suggester.kind": "closed",
        "suggester.llm.kind": "script",
        "suggester.llm.caption": "whole",
    },
    # Pretrained language models' recorded answers (docs/llm.md).
    **{
        f"{name}-{form}": {
            "suggester.kind": form,
            "suggester.llm.kind": "recorded",
            "suggester.llm.answers": name,
        }
        for name, forms in (("claude", ("open", "closed")), ("smollm2", ("open", "closed", "scored")))
        for form in forms
    },
    "oracle": {"suggester.kind": "oracle"},
    # How good must a suggester be? docs/llm.md
    **{
        f"oracle-r{100 * recall:.0f}-p{100 * precision:.0f}": {
            "suggester.kind": "noisy-oracle",
            "suggester.oracle_recall": recall,
            "suggester.oracle_precision": precision,
        }
        for recall in RECALLS
        for precision in PRECISIONS
    },
    "novelty": {"suggester.kind": "novelty"},
    "novelty-filtered": {"suggester.kind": "novelty", "suggester.learned_filter": True},
    "common": {"suggester.kind": "common"},
    "sbert": {"suggester.kind": "sbert"},
    # Which part of the result is the reward's, and which that of goals in the observation and of the prior?
    "oracle-observed": {
        "suggester.kind": "oracle",
        "reward.goal_weight": 0.0,
        "reward.extrinsic_weight": 1.0,
    },
    "open-observed": {
        "suggester.kind": "open",
        "reward.goal_weight": 0.0,
        "reward.extrinsic_weight": 1.0,
    },
    "novelty-observed": {
        "suggester.kind": "novelty",
        "reward.goal_weight": 0.0,
        "reward.extrinsic_weight": 1.0,
    },
    "rnd-observed": {
        "suggester.kind": "novelty",
        "reward.goal_weight": 0.0,
        "reward.novelty.kind": "rnd",
        "reward.novelty.weight": 10.0,
        "reward.novelty.learning_rate": 1e-3,
    },
    "oracle-no-prior": {"suggester.kind": "oracle", "agent.action_prior": 0.0},
    # The prior's features without its starting weights, and its starting weights without learning.
    "oracle-features": {"suggester.kind": "oracle", "agent.action_prior": 1e-9},
    "oracle-untrained": {
        "suggester.kind": "oracle",
        "agent.dqn.learning_rate": 1e-12,
        "agent.on_policy.learning_rate": 1e-12,
    },
    "novelty-untrained": {
        "suggester.kind": "novelty",
        "agent.dqn.learning_rate": 1e-12,
        "agent.on_policy.learning_rate": 1e-12,
    },
    "novelty-attempt": {"suggester.kind": "novelty", "reward.success": "attempt"},
    # Weights and learning rates of the bonuses: the best of those tried on seed 100 with PPO (docs/log.md).
    "rnd": {
        "suggester.kind": "none",
        "reward.novelty.kind": "rnd",
        "reward.novelty.weight": 10.0,
        "reward.novelty.learning_rate": 1e-3,
    },
    "noveld": {
        "suggester.kind": "none",
        "reward.novelty.kind": "noveld",
        "reward.novelty.weight": 10.0,
        "reward.novelty.alpha": 0.5,
    },
    "icm": {"suggester.kind": "none", "reward.novelty.kind": "icm", "reward.novelty.weight": 3.0},
    "apt": {"suggester.kind": "none", "reward.novelty.kind": "apt"},
    # A reward learned from comparisons of clips, judged by the environment's own reward with 10 % errors.
    **{
        f"preferences-{n}": {"suggester.kind": "none", "reward.preference.labels": n}
        for n in (175, 350, 700, 1_400)
    },
    # Goals of a language model guide; comparisons say which of their results are better.
    "preferences-1400-observed": {
        "suggester.kind": "open",
        "reward.goal_weight": 0.0,
        "reward.preference.labels": 1_400,
    },
    "preferences-random": {
        "suggester.kind": "none",
        "reward.preference.labels": 700,
        "reward.preference.queries": "random",
    },
    "scratch": {"suggester.kind": "none", "reward.extrinsic_weight": 1.0},
    "random": {"suggester.kind": "none", "agent.algo": "random"},
}


def apply(name: str, config: Config) -> Config:
    """The configuration, changed into a compared method's."""
    return config.changed(**{**NO_MISTAKES, **METHODS[name]})
