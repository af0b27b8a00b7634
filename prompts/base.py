"""The record of one question to a language model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One question to a language model.

    Attributes:
        system: the standing instructions.
        user: the question.
        max_tokens: of the answer.
        temperature: of sampling; 0 for the most likely answer.
        logprobs: whether log-probabilities of the first token are wanted.
        version: of the prompt text and its parser.
        schema: JSON schema that the answer should follow, where a server supports it; "" for free text.
    """

    system: str
    user: str
    max_tokens: int
    temperature: float
    logprobs: bool
    version: str
    schema: str = ""
