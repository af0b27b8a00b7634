"""The compared methods: each is the default run with one part swapped.

Every method has the same agent, observes the same, and learns by the same training call.
"""

from __future__ import annotations

from typing import Any

from ellm_agent.config.schema import Config

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
    "oracle": {"suggester.kind": "oracle"},
    "novelty": {"suggester.kind": "novelty"},
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
    "scratch": {"suggester.kind": "none", "reward.extrinsic_weight": 1.0},
    "random": {"suggester.kind": "none", "agent.algo": "random"},
}


def apply(name: str, config: Config) -> Config:
    """The configuration, changed into a compared method's."""
    return config.changed(**METHODS[name])
