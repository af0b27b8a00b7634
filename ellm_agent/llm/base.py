"""What it takes to be a language model here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What can go wrong with one question; each kind is counted by itself.
FAILURES = (
    "rate_limited",  # 429, after all retries
    "server_error",  # 5xx
    "rejected",  # 4xx: the request or the key is wrong
    "unreachable",  # no connection
    "timeout",
    "malformed",  # not what the protocol says: HTML, cut-off JSON, bytes that are no text
    "empty",  # an answer without words
    "refused",  # the model would rather not
    "never_asked",  # replaying: no answer to this is on record
    "over_budget",  # asking would cost more than is left
)


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
        schema: JSON schema that the answer should follow where a server can see to that; "" for free text.
    """

    system: str
    user: str
    max_tokens: int
    temperature: float
    logprobs: bool
    version: str
    schema: str = ""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        text: the answer.
        logprobs: natural log-probabilities of the likeliest first tokens; empty if not given.
        prompt_tokens: tokens read, as the server counts them; 0 if it does not say, or if the answer cost nothing.
        answer_tokens: tokens written, likewise.
    """

    text: str
    logprobs: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    answer_tokens: int = 0


class LanguageModelError(Exception):
    """A question that was not answered, after all retries. The message names no secret.

    Args:
        message: one line for people.
        kind: one of ``FAILURES``.
        prompt_tokens: that it cost all the same, as far as the server says.
        answer_tokens: likewise.
    """

    def __init__(self, message: str, kind: str = "malformed", prompt_tokens: int = 0, answer_tokens: int = 0):
        assert kind in FAILURES, kind
        super().__init__(message)
        self.kind, self.prompt_tokens, self.answer_tokens = kind, prompt_tokens, answer_tokens


class LanguageModel:
    """Answers prompts in batches. May be called from several threads at once.

    Attributes:
        description: one line for people.
        source: where answers come from, "" for models in the process; with ``name``, part of a cache's key.
        name: the model's name.
        immediate: whether it answers by computing, so that nothing is won by asking ahead.
        goals: wordings that it is known to use, if that is known.
    """

    description: str
    source = ""
    name: str
    immediate = True
    goals: Sequence[str] = ()

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        """One answer, or the error that took its place, for each prompt."""
        raise NotImplementedError

    def metrics(self) -> dict[str, float]:
        """Counters for the log, by name."""
        return {}

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps of it: counters by name. Those of models around one another share a dictionary."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Takes up what ``state`` gave; counters of other models may be among it."""

    def close(self) -> None:
        """Gives up what is under way."""


class Wrapped(LanguageModel):
    """A language model around another, which it passes everything on to."""

    def __init__(self, model: LanguageModel):
        self.description, self.source, self.name = model.description, model.source, model.name
        self.immediate, self.goals = model.immediate, model.goals
        self.model = model

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return self.model.answer(prompts)

    def metrics(self) -> dict[str, float]:
        return self.model.metrics()

    def state(self) -> dict[str, float]:
        return self.model.state()

    def restore(self, state: Mapping[str, float]) -> None:
        self.model.restore(state)

    def close(self) -> None:
        self.model.close()
