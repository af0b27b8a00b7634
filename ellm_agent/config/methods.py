"""What is compared with what: each method is the default run with a part swapped.

Every method has the same agent, reads the same observation, and learns by the same training call.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ellm_agent.config.schema import Config

METHODS: dict[str, dict[str, dict[str, Any]]] = {  # name -> section of the configuration -> changes
    "open": {"goals": {"goal_mode": "open"}},
    "closed": {"goals": {"goal_mode": "closed"}},
    # Rules instead of a language model, told the whole caption.
    "open-script": {"goals": {"goal_mode": "open", "llm": "script", "llm_scene": "whole"}},
    "closed-script": {"goals": {"goal_mode": "closed", "llm": "script", "llm_scene": "whole"}},
    "oracle": {"goals": {"goal_mode": "oracle"}},
    "novelty": {"goals": {"goal_mode": "novelty"}},
    "novelty-attempt": {"goals": {"goal_mode": "novelty", "success": "attempt"}},
    # Weights and learning rates of the bonuses: the best of those tried on seed 100 with PPO (docs/results.md).
    "rnd": {
        "goals": {"goal_mode": "none"},
        "novelty": {"bonus": "rnd", "bonus_weight": 10.0, "bonus_learning_rate": 1e-3},
    },
    "noveld": {
        "goals": {"goal_mode": "none"},
        "novelty": {"bonus": "noveld", "bonus_weight": 10.0, "bonus_alpha": 0.5},
    },
    "icm": {"goals": {"goal_mode": "none"}, "novelty": {"bonus": "icm", "bonus_weight": 3.0}},
    "apt": {"goals": {"goal_mode": "none"}, "novelty": {"bonus": "apt", "bonus_weight": 1.0}},
    "scratch": {"goals": {"goal_mode": "none", "extrinsic_weight": 1.0}},
    "random": {"goals": {"goal_mode": "none"}, "agent": {"algo": "random"}},
}


def apply(name: str, config: Config) -> Config:
    """A configuration, turned into a method's."""
    changes = {
        section: dataclasses.replace(getattr(config, section), **values)
        for section, values in METHODS[name].items()
    }
    return dataclasses.replace(config, **changes)
