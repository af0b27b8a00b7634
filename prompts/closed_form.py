"""The closed form: is this goal sensible now? Answered by yes or no, for each candidate goal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from ellm_agent.llm.base import Prompt

VERSION = "closed-2"
THRESHOLD = 0.5  # on P(yes); the paper's
MAX_TOKENS = 3
TEMPERATURE = 0.0  # the paper's
ROUNDING = 0.01  # servers round: a log-probability this little above 0 is one of 0; others above 0 are none

SYSTEM = """\
You advise a player in a survival game on a two-dimensional map. The player gathers resources, makes \
tools, places things, eats, drinks, sleeps and defends itself. Tools are made near a crafting table, \
and iron tools near a crafting table and a furnace. Stone and coal need a wood pickaxe, iron needs a \
stone pickaxe, diamond needs an iron pickaxe.
You are told what the player sees, and one goal. Answer Yes if the goal makes sense and the player can \
achieve it now, and No otherwise. Answer with one word."""

QUESTION = 'Should the player "{goal}" now? Yes or No?'

_ASKED = re.compile(r'Should the player "(.*)" now\? Yes or No\?\s*$')
_WORD = re.compile(r"[a-z]+")
# A token, in lower case: the word alone, with punctuation and the tokenisers' signs for space and new line.
_TOKEN = re.compile(r"[\W_ġċ]*(yes|no)[\W_ġċ]*")


def prompt(caption: str, goal: str) -> Prompt:
    """Asks whether a goal is sensible in the situation that a caption describes."""
    return Prompt(
        system=SYSTEM,
        user=f"{caption}\n{QUESTION.format(goal=goal)}",
        max_tokens=MAX_TOKENS,
        temperature=TEMPERATURE,
        logprobs=True,
        version=VERSION,
    )


def caption_and_goal_of(user: str) -> tuple[str, str]:
    """The caption and the goal inside a prompt's text (for models that are scripts)."""
    caption, question = user.rsplit("\n", 1)
    return caption, _ASKED.search(question).group(1)


def probability_of_yes(text: str, logprobs: Mapping[str, float]) -> float:
    """P(yes), renormalised over yes and no.

    From the log-probabilities of the first token if any of them is a yes or a no; from the answer's
    first yes or no otherwise (1 or 0); 0 if it says neither. Never raises.
    """
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in logprobs.items():
        match = _TOKEN.fullmatch(token.lower())
        if match and -math.inf < logprob <= ROUNDING:  # neither infinite nor NaN
            mass[match.group(1)] += math.exp(min(logprob, 0.0))
    total = mass["yes"] + mass["no"]
    if total > 0:
        return mass["yes"] / total
    words = (match.group() for match in _WORD.finditer(text.lower()))
    return float(next((word for word in words if word in mass), "no") == "yes")
