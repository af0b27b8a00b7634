"""A stand-in for a language model: rules that read the same prompts and answer in the same form.

It knows what the captions tell (names, no counts), so its advice is often poorly timed, as a language
model's is; and it makes the mistakes that language models make, in stated proportions: a goal forgotten,
a real goal that is not possible now, a meaningless pair, a goal outside the game, a paraphrase.
Its answer is a function of the prompt alone.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Sequence

from ellm_agent.llm.base import Answer, LanguageModelError, Prompt
from prompts import closed_form, open_ended

FORGOTTEN = 0.1  # share of sensible goals left out of an open answer
PARAPHRASED = 0.1  # share of sensible goals worded freely in an open answer
MISTAKES = {"poorly_timed": 0.3, "bad": 0.1, "outside": 0.05}  # answers with one such goal each
MISJUDGED = 0.05  # share of closed questions answered wrongly

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


class ScriptedModel:
    """Answers open and closed prompts by rule, offline. Not a language model, and says so."""

    description = "the built-in offline script, which is NOT a language model"

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        # A generator of its own for each prompt: the same question has the same answer.
        rng = random.Random(hashlib.sha256(prompt.user.encode()).digest())
        if prompt.version == closed_form.VERSION:
            caption, goal = closed_form.caption_and_goal_of(prompt.user)
            yes = 0.1 if (goal in sensible_goals(caption)) == (rng.random() < MISJUDGED) else 0.9
            logprobs = {"Yes": math.log(yes), "No": math.log(1 - yes)}
            return Answer("Yes" if yes > 0.5 else "No", logprobs)
        return Answer(_bullets(open_ended.caption_of(prompt.user), rng))


def sensible_goals(caption: str) -> list[str]:
    """Goals that make sense to someone who has read only the caption."""
    seen, held, felt = (_names(pattern, caption) for pattern in (_SEEN, _HELD, _FELT))
    goals = [goal for goal, (sees, has) in SENSIBLE.items() if sees <= seen and has <= held]
    return goals + [goal for goal, feeling in FELT.items() if feeling in felt]


def _names(pattern: re.Pattern, caption: str) -> set[str]:
    match = pattern.search(caption)
    return set(match.group(1).split(", ")) if match else set()


def _bullets(caption: str, rng: random.Random) -> str:
    sensible = sensible_goals(caption)
    goals = [goal for goal in sensible if rng.random() >= FORGOTTEN]
    goals = [
        rng.choice(PARAPHRASES[goal]) if goal in PARAPHRASES and rng.random() < PARAPHRASED else goal
        for goal in goals
    ]
    pools = {
        "poorly_timed": sorted({*SENSIBLE, *FELT} - set(sensible)),
        "bad": MEANINGLESS,
        "outside": OUTSIDE,
    }
    for kind, share in MISTAKES.items():
        if rng.random() < share:
            goals.append(rng.choice(pools[kind]))
    rng.shuffle(goals)
    return "\n".join(f"- {goal}" for goal in goals)
