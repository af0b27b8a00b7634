"""The interface of a language model: prompts in, answers or errors out."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prompts import Prompt as Prompt

# Kinds of failures of one question; each is counted separately.
FAILURES = (
    "rate_limited",  # 429, after all retries
    "server_error",  # 5xx
    "rejected",  # 4xx: the request or the key is wrong
    "unreachable",  # no connection
    "timeout",
    "malformed",  # violates the protocol: HTML, truncated JSON, invalid UTF-8
    "empty",  # an answer without words
    "refused",  # the model declined to answer
    "never_asked",  # replaying: no answer to this prompt is recorded
    "over_budget",  # asking would exceed the budget
    "not_recorded",  # a file of recorded answers leaves it out
)

FATAL_AT_FIRST = ("rejected", "unreachable")  # those that end a run, if nothing was answered before


@dataclass(frozen=True)
class Answer:
    """The answer to one question. Tokens are as the server counts them: 0 if it does not say, or they cost nothing."""

    text: str
    # Natural; of the likeliest first tokens, or in scored form of all the continuations; or empty.
    logprobs: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int = 0  # read
    answer_tokens: int = 0  # written


class LanguageModelError(Exception):
    """A question that was not answered, after all retries. The message contains no secret.

    Args:
        message: one line for people.
        kind: one of ``FAILURES``.
        prompt_tokens: tokens that the server charged nevertheless, as far as it says.
        answer_tokens: likewise.
    """

    def __init__(self, message: str, kind: str = "malformed", prompt_tokens: int = 0, answer_tokens: int = 0):
        assert kind in FAILURES, kind
        super().__init__(message)
        self.kind, self.prompt_tokens, self.answer_tokens = kind, prompt_tokens, answer_tokens


class Counters:
    """Counters for the log and for checkpoints; safe to use from several threads.

    Args:
        *names: counters that are there from the beginning, at 0.
    """

    def __init__(self, *names: str):
        self._counts: dict[str, float] = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    def add(self, **more: float) -> None:
        """Increases counters, new ones from 0."""
        with self._lock:
            for name, by in more.items():
                self._counts[name] = self._counts.get(name, 0) + by

    def __getitem__(self, name: str) -> float:
        return self._counts[name]

    def state_dict(self) -> dict[str, float]:
        """All counters, by name."""
        with self._lock:
            return dict(self._counts)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restores the result of ``state_dict``."""
        with self._lock:
            self._counts = dict(state)


class LanguageModel:
    """Answers prompts in batches. May be called from several threads at once."""

    description: str  # one line for people
    name: str
    source: str = ""  # URL of its server, if it has one; with `name`, part of the answer cache's key
    in_process: bool = True  # computes its answers in the calling thread; otherwise it waits for a server
    can_be_asked_ahead: bool = (
        True  # whether `llm.every` applies; otherwise new captions are asked about at once
    )
    leaves_out: bool = (
        False  # whether it never answers some prompts; their captions then borrow goals from others
    )
    default_temperature: float | None = None  # of open answers, unless configured; None: the prompt's
    likely_goals: Sequence[str] = ()  # that it is known to suggest, if any are known beforehand
    counted: Sequence[str] = ()  # names of its counters

    @functools.cached_property
    def counts(self) -> Counters:
        """Its own counters, for the log and checkpoints."""
        return Counters(*self.counted)

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        """One answer, or the error in its place, for each prompt."""
        raise NotImplementedError

    def look_up(self, prompts: Sequence[Prompt]) -> list[Answer | None]:
        """For evaluation: the answers that are there without asking anybody; None elsewhere. Counts nothing."""
        return [None] * len(prompts)

    def metrics(self) -> dict[str, float]:
        """Counters for the log, by name."""
        return {f"llm/{name}": float(count) for name, count in self.counts.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Counters for a checkpoint, as JSON values."""
        return self.counts.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``."""
        self.counts.load_state_dict(state)

    def close(self) -> None:
        """Gives up the questions in flight."""


class Wrapped(LanguageModel):
    """A language model around another one, to which it passes everything on.

    Args:
        model: the inner model.
    """

    def __init__(self, model: LanguageModel):
        self.model = model
        self.description, self.source, self.name = model.description, model.source, model.name
        self.in_process, self.can_be_asked_ahead = model.in_process, model.can_be_asked_ahead
        self.leaves_out = model.leaves_out
        self.default_temperature, self.likely_goals = model.default_temperature, model.likely_goals

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return self.model.answer(prompts)

    def look_up(self, prompts: Sequence[Prompt]) -> list[Answer | None]:
        return self.model.look_up(prompts)

    def metrics(self) -> dict[str, float]:
        return self.model.metrics() | super().metrics()

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "counts": super().state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        super().load_state_dict(state["counts"])

    def close(self) -> None:
        self.model.close()
