"""Language models over the answer cache: one that asks only what is not recorded, and one that only replays."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped
from ellm_agent.llm.cache import AnswerCache
from ellm_agent.terminal import print_stderr

LONGEST_QUESTION = 160  # characters of a question in an error message


class _Counts:
    """Thread-safe counters."""

    def __init__(self, *names: str):
        self._counts = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    def more(self, name: str, by: int) -> int:
        """Increases a counter, and returns it."""
        with self._lock:
            self._counts[name] += by
            return self._counts[name]

    def metrics(self) -> dict[str, float]:
        """The counters, for the log."""
        return {f"llm/cache_{name}": float(count) for name, count in self.state_dict().items()}

    def state_dict(self) -> dict[str, int]:
        """The counters, for a checkpoint."""
        with self._lock:
            return dict(self._counts)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Restores the result of ``state_dict``."""
        with self._lock:
            self._counts = {name: state[name] for name in self._counts}


class CachedModel(Wrapped):
    """Asks a model only what is not recorded, and records its answers (not its errors).

    Recorded answers, and repeated questions of a batch, cost no tokens. If the cache fails, the model is asked as if
    there were no cache, and the first failure is reported on stderr.

    Args:
        model: to ask.
        cache: of recorded answers.
    """

    def __init__(self, model: LanguageModel, cache: AnswerCache):
        super().__init__(model)
        self._cache, self._counts = cache, _Counts("hits", "misses", "failures")

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        known: list[Answer | None] = [None] * len(prompts)
        with self._tolerating_failures():
            known = self._cache.get(self.source, self.name, prompts)
        found = {p: _free(answer) for p, answer in zip(prompts, known, strict=True) if answer}
        self._counts.more("hits", sum(prompt in found for prompt in prompts))
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in found]
        self._counts.more("misses", len(missing))
        if missing:
            found |= zip(missing, super().answer(missing), strict=True)
            new = [prompt for prompt in missing if isinstance(found[prompt], Answer)]
            with self._tolerating_failures():
                self._cache.put(self.source, self.name, new, [found[prompt] for prompt in new])
        answers = []
        for prompt in prompts:
            answers.append(found[prompt])
            found[prompt] = _free(found[prompt])
        return answers

    def metrics(self) -> dict[str, float]:
        """The model's; prompts found in the cache; questions to the model; failures of the cache."""
        return super().metrics() | self._counts.metrics()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"cache": self._counts.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._counts.load_state_dict(state["cache"])

    @contextlib.contextmanager
    def _tolerating_failures(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            if self._counts.more("failures", 1) == 1:
                print_stderr(f"warning: {error}; going on without it")


class ReplayModel(LanguageModel):
    """Recorded answers only: repeats a run without its server.

    Args:
        cache: of recorded answers.
        source: URL of the model's server; None: that of the only recorded model.
        name: the model's name; None: likewise.

    Raises:
        UserError: if no recorded model fits, or several do.
    """

    can_be_asked_ahead = False

    def __init__(self, cache: AnswerCache, source: str | None = None, name: str | None = None):
        known = sorted({(group.source, group.model) for group in cache.groups()})
        fitting = [pair for pair in known if source in (None, pair[0]) and name in (None, pair[1])]
        if len(fitting) != 1:
            found = "answers of several models" if fitting else "no such answers" if known else "no answers"
            listed = ", ".join(f"{model!r} at {source!r}" for source, model in known)
            hint = f"; choose with --llm-model and --llm-base-url among {listed}" if known else ""
            raise UserError(f"{cache.path} holds {found}{hint}")
        ((self.source, self.name),) = fitting
        self.description = f"{self.name}, replayed from {cache.path}"
        self._cache, self._counts = cache, _Counts("hits", "misses")

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        recorded = self._cache.get(self.source, self.name, prompts)
        self._counts.more("hits", len(recorded) - recorded.count(None))
        self._counts.more("misses", recorded.count(None))
        return [_free(answer or self._never_asked(p)) for p, answer in zip(prompts, recorded, strict=True)]

    def metrics(self) -> dict[str, float]:
        return self._counts.metrics()

    def state_dict(self) -> dict[str, Any]:
        return self._counts.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._counts.load_state_dict(state)

    def _never_asked(self, prompt: Prompt) -> LanguageModelError:
        question = " ".join(
            " ".join(prompt.user.splitlines()[-2:]).split()
        )  # the lines before may be examples
        if len(question) > LONGEST_QUESTION:
            question = f"{question[: LONGEST_QUESTION // 2]} ... {question[-LONGEST_QUESTION // 2 :]}"
        return LanguageModelError(
            f"{self._cache.path} holds no answer of {self.name} to: {question}", "never_asked"
        )


def _free(answer: Answer | LanguageModelError) -> Answer | LanguageModelError:
    return replace(answer, prompt_tokens=0, answer_tokens=0) if isinstance(answer, Answer) else answer
