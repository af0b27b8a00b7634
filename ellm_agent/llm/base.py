"""What it takes to be a language model here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Prompt:
    """One question to a language model.

    Attributes:
        system: the standing instructions.
        user: the question.
        max_tokens: of the answer.
        temperature: 0 for the most likely answer.
        logprobs: whether log-probabilities of the first token are wanted.
        version: of the prompt text and its parser.
    """

    system: str
    user: str
    max_tokens: int
    temperature: float
    logprobs: bool
    version: str


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: the answer.
        logprobs: natural log-probabilities of the likeliest first tokens; empty if not given.
    """

    text: str
    logprobs: Mapping[str, float] = field(default_factory=dict)


class LanguageModelError(Exception):
    """A request that failed for good, after all retries. The message names no secret."""


class LanguageModel(Protocol):
    """Answers prompts in batches; ``description`` is one line for people."""

    description: str

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        """One answer, or the error that took its place, for each prompt."""
        ...
