"""What somebody who knows survival games would advise, as data: sensible goals, other words for them, and mistakes.

The offline script and the corpus of the embedded model are made from it. It reads captions, and knows nothing that
they do not say.
"""

from __future__ import annotations

import re

# Goal -> words that the caption must contain: seen, held. From general knowledge of such games.
SENSIBLE = {
    "chop tree": ({"tree"}, set()),
    "chop grass": ({"grass"}, set()),
    "drink water": ({"water"}, set()),
    "eat cow": ({"cow"}, set()),
    "eat plant": ({"plant"}, set()),
    "attack zombie": ({"zombie"}, set()),
    "attack skeleton": ({"skeleton"}, set()),
    "mine stone": ({"stone"}, {"wood pickaxe"}),
    "mine coal": ({"coal"}, {"wood pickaxe"}),
    "mine iron": ({"iron"}, {"stone pickaxe"}),
    "mine diamond": ({"diamond"}, {"iron pickaxe"}),
    "place stone": (set(), {"stone"}),
    "place plant": ({"grass"}, {"sapling"}),
    "place crafting table": (set(), {"wood"}),
    "place furnace": ({"crafting table"}, {"stone"}),
    "make wood pickaxe": ({"crafting table"}, {"wood"}),
    "make wood sword": ({"crafting table"}, {"wood"}),
    "make stone pickaxe": ({"crafting table"}, {"wood", "stone"}),
    "make stone sword": ({"crafting table"}, {"wood", "stone"}),
    "make iron pickaxe": ({"crafting table", "furnace"}, {"wood", "coal", "iron"}),
    "make iron sword": ({"crafting table", "furnace"}, {"wood", "coal", "iron"}),
}
FELT = {"sleep": "sleepy"}  # goal -> what the caption must say is felt
PARAPHRASES = {
    "chop tree": ("chop down a tree", "cut down the tree"),
    "chop grass": ("collect sapling", "gather a sapling"),
    "drink water": ("drink some water", "take a drink of water"),
    "eat cow": ("kill the cow for food", "eat the cow"),
    "attack zombie": ("fight the zombie", "defeat the zombie"),
    "attack skeleton": ("fight the skeleton", "defeat the skeleton"),
    "mine stone": ("mine some stone", "dig stone"),
    "mine coal": ("dig for coal", "mine some coal"),
    "place crafting table": ("build a crafting table", "make crafting table"),
    "make wood pickaxe": ("craft a wooden pickaxe",),
    "make stone pickaxe": ("craft a stone pickaxe",),
    "make wood sword": ("craft a wooden sword",),
    "sleep": ("go to sleep", "get some sleep"),
}
MEANINGLESS = ("drink tree", "eat stone", "attack grass", "make water", "place cow", "mine zombie")
OUTSIDE = ("build a house", "look for a village", "tame the cow", "go fishing", "explore the cave")

_SEEN = re.compile(r"You see ([^.]*)\.")
_HELD = re.compile(r"You have in your inventory ([^.]*)\.")
_FELT = re.compile(r"You feel ([^.]*)\.")


def sensible_goals(caption: str) -> list[str]:
    """Goals that make sense to someone who has read only the caption."""
    seen, held, felt = (_names(pattern, caption) for pattern in (_SEEN, _HELD, _FELT))
    goals = [goal for goal, (sees, has) in SENSIBLE.items() if sees <= seen and has <= held]
    return goals + [goal for goal, feeling in FELT.items() if feeling in felt]


def _names(pattern: re.Pattern, caption: str) -> set[str]:
    match = pattern.search(caption)
    return set(match.group(1).split(", ")) if match else set()
