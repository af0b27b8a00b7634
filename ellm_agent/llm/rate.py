"""Keeps to an endpoint's limits on requests and tokens per minute, by spreading questions evenly over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped
from ellm_agent.llm.budget import size

MINUTE = 60.0  # seconds


class Paced(Wrapped):
    """A language model that is asked no faster than its server allows.

    A question starts no sooner than max(60 / rpm, 60 n / tpm) seconds after the one before, which had n tokens: those of
    its text, as ``budget.size`` estimates them, and the most that it may be answered with (hosted servers count so).
    Retries after failures are not counted.

    Args:
        model: to ask.
        rpm: requests per minute; None: no limit.
        tpm: tokens per minute; None: no limit.
        now: the time, seconds.
    """

    def __init__(
        self,
        model: LanguageModel,
        rpm: int | None = None,
        tpm: int | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        super().__init__(model)
        self._rpm, self._tpm, self._now = rpm, tpm, now
        self._free_at = now()  # when the next question may start
        self._lock, self._closed = threading.Lock(), threading.Event()

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        answers: list[Answer | LanguageModelError] = []
        for prompt in prompts:
            self._closed.wait(self.reserve(prompt))
            answers += super().answer([prompt])
        return answers

    def reserve(self, prompt: Prompt) -> float:
        """Takes the next turn for a question; seconds until then."""
        spacing = MINUTE / self._rpm if self._rpm else 0.0
        if self._tpm:
            spacing = max(spacing, MINUTE * sum(size(prompt)) / self._tpm)
        with self._lock:
            starts = max(self._free_at, self._now())
            self._free_at = starts + spacing
        return starts - self._now()

    def close(self) -> None:
        self._closed.set()  # whoever waits for a turn goes on, and fails
        super().close()
