"""The closed form about statements: a yes/no question about something that is so, or not, in every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompts import Prompt
from prompts.closed_form import MAX_TOKENS, TEMPERATURE

if TYPE_CHECKING:
    from envs.interface import Judgements, Statement

VERSION = "statement-1"
ANSWER = "Yes or No?"


def prompt(statement: Statement, judgements: Judgements) -> Prompt:
    """Asks whether a statement is true. ``closed_form.probability_of_yes`` reads the answer.

    Args:
        statement: to judge.
        judgements: give the world's question and what is said before it.
    """
    return Prompt(
        system=judgements.instructions,
        user=f"{judgements.question(statement)} {ANSWER}",
        max_tokens=MAX_TOKENS,
        temperature=TEMPERATURE,
        logprobs=True,
        version=VERSION,
    )
