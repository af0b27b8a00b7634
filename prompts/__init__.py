"""Prompts: text, parser and version of each form are one module; the words about a world come from its ``Language``.

The version changes whenever the text or the parser changes: it is part of the answer cache's key.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One question to a language model."""

    system: str  # the standing instructions
    user: str  # the question
    max_tokens: int  # of the answer
    temperature: float  # of sampling; 0 for the most likely answer
    logprobs: bool  # whether log-probabilities of the first token are wanted
    version: str  # of the prompt text and its parser
    schema: str = (
        ""  # JSON schema that the answer should follow, where a server supports it; "" for free text
    )
    continuations: tuple[str, ...] = ()  # scored form: the log-probability of each after `user` is wanted
