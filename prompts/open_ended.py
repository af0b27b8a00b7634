"""The open form: what should the player do? Answered in bullets, each of which is a goal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ellm_agent.llm.base import Prompt

VERSION = "open-1"
MAX_TOKENS = 200
TEMPERATURE = 0.1  # the paper's
MAX_GOALS = 20  # in one answer; the rest is dropped
MAX_GOAL_CHARACTERS = 100

SYSTEM = """\
You advise a player in a survival game on a two-dimensional map. The player gathers resources, makes \
tools, places things, eats, drinks, sleeps and defends itself. Tools are made near a crafting table, \
and iron tools near a crafting table and a furnace. Stone and coal need a wood pickaxe, iron needs a \
stone pickaxe, diamond needs an iron pickaxe.
You are told what the player sees. Answer with what the player could sensibly do now: one short goal \
on each line, each starting with "- ", a verb and a noun, nothing else. Use only these verbs: {verbs}."""

EXAMPLES = """\
You see grass, tree. You are targeting tree. You feel hungry.
What should the player do?
- chop tree
- chop grass

You see crafting table, grass, stone, zombie. You are targeting stone. You have in your inventory \
sapling, wood, wood pickaxe. You feel sleepy.
What should the player do?
- mine stone
- attack zombie
- make wood sword
- place plant
- sleep
"""
QUESTION = "What should the player do?"

_BULLET = re.compile(r"^\s*(?:[-*•–—]|\(?\d{1,3}[.):]\)?)\s*(.*)$")


def prompt(caption: str, verbs: Sequence[str]) -> Prompt:
    """Asks for goals in the situation that a caption describes."""
    return Prompt(
        system=SYSTEM.format(verbs=", ".join(verbs)),
        user=f"{EXAMPLES}\n{caption}\n{QUESTION}\n",
        max_tokens=MAX_TOKENS,
        temperature=TEMPERATURE,
        logprobs=False,
        version=VERSION,
    )


def caption_of(user: str) -> str:
    """The caption inside a prompt's text (for models that are scripts)."""
    return user.rstrip().splitlines()[-2]


def parse(text: str) -> tuple[str, ...]:
    """The goals in an answer: its bulleted or numbered lines, cleaned, each once, in order.

    Lines without a bullet are talk and are dropped, unless no line has one: then each line is a goal,
    as some models leave the bullets out. Never raises.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bullets = [match.group(1) for match in map(_BULLET.match, lines) if match]
    goals = (_clean(goal) for goal in (bullets or lines))
    kept = dict.fromkeys(goal for goal in goals if goal and len(goal) <= MAX_GOAL_CHARACTERS)
    return tuple(kept)[:MAX_GOALS]


def _clean(goal: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in goal)
    return " ".join(printable.strip(" \t*_`\"'.,;:!").lower().split())
