"""Reads ``advice.yaml``: general knowledge of survival games."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from envs.crafter.captions import ASLEEP, clauses_of
from envs.interface import Advice

_HELD = "You have in your inventory "


def read_advice() -> Advice:
    """The content of ``advice.yaml``."""
    data = yaml.safe_load(Path(__file__).with_name("advice.yaml").read_text(encoding="utf-8"))

    def sensible_goals(caption: str) -> list[str]:
        clauses = clauses_of(caption)
        held = dict(_amount(clause) for clause in clauses if clause.startswith(_HELD))
        return [goal for goal, rule in data["sensible"].items() if _holds(rule, clauses, held)]

    return Advice(
        sensible_goals=sensible_goals,
        goals=tuple(data["sensible"]),
        paraphrases={goal: tuple(wordings) for goal, wordings in data["paraphrases"].items()},
        **{name: tuple(data[name]) for name in ("meaningless", "outside", "urgency")},
    )


def _holds(rule: dict[str, Any], clauses: frozenset[str], held: dict[str, float]) -> bool:
    """Whether a caption mentions all that a rule of ``advice.yaml`` asks for."""
    feels, asleep = rule.get("feels"), rule.get("asleep")
    return (
        all(f"You see {name}" in clauses for name in rule.get("sees", ()))
        and all(held.get(item, 0) >= count for item, count in rule.get("has", {}).items())
        and (feels is None or any(f"You feel {feeling}" in clauses for feeling in feels))
        and (asleep is None or asleep == (ASLEEP in clauses))
    )


def _amount(clause: str) -> tuple[str, float]:
    """An item held, and how many of it at least; without a number there may be any number."""
    item, _, amount = clause.removeprefix(_HELD).partition(": ")
    return item, float(amount.split()[0]) if amount else math.inf
