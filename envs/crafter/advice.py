"""Reads ``advice.yaml``: general knowledge of survival games."""

from __future__ import annotations

from pathlib import Path

import yaml

from envs.crafter.captions import clauses_of
from envs.interface import Advice


def read_advice() -> Advice:
    """The content of ``advice.yaml``."""
    data = yaml.safe_load(Path(__file__).with_name("advice.yaml").read_text(encoding="utf-8"))
    # A goal makes sense where a caption holds all its clauses.
    clauses = {
        goal: {
            *(f"You see {name}" for name in rule.get("sees", ())),
            *(f"You have in your inventory {name}" for name in rule.get("has", ())),
            *([f"You feel {rule['feels']}"] if "feels" in rule else ()),
        }
        for goal, rule in data["sensible"].items()
    }

    def sensible_goals(caption: str) -> list[str]:
        present = clauses_of(caption)
        return [goal for goal, needed in clauses.items() if needed <= present]

    return Advice(
        sensible_goals=sensible_goals,
        goals=tuple(data["sensible"]),
        paraphrases={goal: tuple(wordings) for goal, wordings in data["paraphrases"].items()},
        unprompted=data["unprompted"],
        **{name: tuple(data[name]) for name in ("meaningless", "outside", "urgency", "never_sensible")},
    )
