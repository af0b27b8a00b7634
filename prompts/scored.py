"""The scored form: how likely is each candidate goal as the continuation of a caption?

No instructions and no examples: a continuation needs none, and small models rank worse with them (docs/llm.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from prompts import Prompt

VERSION = "scored-1"
NEUTRAL = "You see nothing."  # the caption whose scores are a goal's own likelihood
LEAD = "The player should"


def prompt(caption: str, goals: Sequence[str]) -> Prompt:
    """Asks for the log-likelihood of each goal after a caption.

    Args:
        caption: of the state, or ``NEUTRAL``.
        goals: to score.
    """
    return Prompt(
        system="",
        user=f"{caption} {LEAD}",
        max_tokens=0,
        temperature=0.0,
        logprobs=False,
        version=VERSION,
        continuations=tuple(f" {goal}" for goal in goals),
    )
