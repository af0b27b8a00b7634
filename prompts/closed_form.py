"""The closed form: a yes/no question for each candidate goal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prompts import Prompt

if TYPE_CHECKING:
    from envs.interface import Language

VERSION = "closed-3"
THRESHOLD = 0.5  # on P(yes); the paper's
MAX_TOKENS = 3
TEMPERATURE = 0.0  # the paper's
ROUNDING = 0.01  # servers round: a log-probability this little above 0 is one of 0; others above 0 are none

INSTRUCTIONS = """\
You are told what the player sees, and one goal. Answer Yes if the goal makes sense and the player can \
achieve it now, and No otherwise. Answer with one word."""

QUESTION = 'Should the player "{goal}" now? Yes or No?'

_ASKED = re.compile(r'Should the player "(.*)" now\? Yes or No\?\s*$')
_WORD = re.compile(r"[a-z]+")
# A token, in lower case: the word alone, with punctuation and the tokenisers' signs for space and new line.
_TOKEN = re.compile(r"[\W_ġċ]*(yes|no)[\W_ġċ]*")


def prompt(caption: str, goal: str, language: Language) -> Prompt:
    """Asks whether a goal is sensible in the state that a caption describes.

    Args:
        caption: of the state.
        goal: to judge.
        language: gives the world's briefing.
    """
    return Prompt(
        system=f"{language.briefing}\n{INSTRUCTIONS}" if language.briefing else INSTRUCTIONS,
        user=f"{caption}\n{QUESTION.format(goal=goal)}",
        max_tokens=MAX_TOKENS,
        temperature=TEMPERATURE,
        logprobs=True,
        version=VERSION,
    )


def caption_and_goal_of(user: str) -> tuple[str, str]:
    """The caption and the goal in a prompt's ``user`` text (for the scripted model)."""
    caption, question = user.rsplit("\n", 1)
    return caption, _ASKED.search(question).group(1)


def probability_of_yes(text: str, logprobs: Mapping[str, float]) -> float:
    """P(yes), renormalised over yes and no.

    Args:
        text: the answer.
        logprobs: natural log-probabilities of its likeliest first tokens; may be empty.

    Returns:
        From the log-probabilities, if any of these tokens is a yes or a no; otherwise from the answer's first
        yes or no: 1 or 0; 0 if it has neither. Never raises.
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
