"""Reads ``advice.yaml``: general knowledge of survival games."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from envs.interface import Advice

_SEEN = re.compile(r"You see ([^.]*)\.")
_HELD = re.compile(r"You have in your inventory ([^.]*)\.")
_FELT = re.compile(r"You feel ([^.]*)\.")


def read_advice() -> Advice:
    """The content of ``advice.yaml``."""
    data = yaml.safe_load(Path(__file__).with_name("advice.yaml").read_text(encoding="utf-8"))
    rules = [
        (goal, frozenset(rule.get("sees", ())), frozenset(rule.get("has", ())), rule.get("feels"))
        for goal, rule in data["sensible"].items()
    ]

    def sensible_goals(caption: str) -> list[str]:
        seen, held, felt = (_names(pattern, caption) for pattern in (_SEEN, _HELD, _FELT))
        return [
            goal
            for goal, sees, has, feels in rules
            if sees <= seen and has <= held and (feels is None or feels in felt)
        ]

    return Advice(
        sensible_goals=sensible_goals,
        goals=tuple(data["sensible"]),
        paraphrases={goal: tuple(wordings) for goal, wordings in data["paraphrases"].items()},
        meaningless=tuple(data["meaningless"]),
        outside=tuple(data["outside"]),
        urgency=tuple(data["urgency"]),
        never_sensible=tuple(data["never_sensible"]),
        unprompted=data["unprompted"],
    )


def _names(pattern: re.Pattern, caption: str) -> set[str]:
    match = pattern.search(caption)
    return set(match.group(1).split(", ")) if match else set()
