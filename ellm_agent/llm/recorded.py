"""Language models with a cache: one that asks only what is not on record, and one that is the record alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped
from ellm_agent.llm.cache import AnswerCache
from ellm_agent.terminal import tell

LONGEST_QUESTION = 160  # characters of a question that an error repeats


class _Counts:
    """Counters that several threads may raise."""

    def __init__(self, *names: str):
        self._counts = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    def more(self, name: str, by: int) -> int:
        """Raises a counter, and returns it."""
        with self._lock:
            self._counts[name] += by
            return self._counts[name]

    def metrics(self) -> dict[str, float]:
        """The counters, for the log."""
        return {f"llm/{name}": float(count) for name, count in self.state().items()}

    def state(self) -> dict[str, float]:
        """The counters, for a checkpoint."""
        with self._lock:
            return {f"cache_{name}": count for name, count in self._counts.items()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Takes up what ``state`` gave."""
        with self._lock:
            self._counts = {name: state.get(f"cache_{name}", 0) for name in self._counts}


class CachedModel(Wrapped):
    """Asks a model only what is not on record, and records its answers (not its errors).

    What is on record, or asked twice in a batch, costs nothing and says so. Where the cache fails, a line on
    stderr tells of the first time, and the model is asked as if there were no cache.

    Args:
        model: to ask.
        cache: what is on record.
    """

    def __init__(self, model: LanguageModel, cache: AnswerCache):
        super().__init__(model)
        self._cache, self._counts = cache, _Counts("hits", "misses", "failures")

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        known: list[Answer | None] = [None] * len(prompts)
        with self._going_on():
            known = self._cache.get(self.source, self.name, prompts)
        found = {p: _free(answer) for p, answer in zip(prompts, known, strict=True) if answer}
        self._counts.more("hits", sum(prompt in found for prompt in prompts))
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in found]
        self._counts.more("misses", len(missing))
        if missing:
            found |= zip(missing, super().answer(missing), strict=True)
            new = [prompt for prompt in missing if isinstance(found[prompt], Answer)]
            with self._going_on():
                self._cache.put(self.source, self.name, new, [found[prompt] for prompt in new])
        answers = []
        for prompt in prompts:
            answers.append(found[prompt])
            found[prompt] = _free(found[prompt])
        return answers

    def metrics(self) -> dict[str, float]:
        """The model's; prompts found on record; questions asked of the model; times the cache failed."""
        return super().metrics() | self._counts.metrics()

    def state(self) -> dict[str, float]:
        return super().state() | self._counts.state()

    def restore(self, state: Mapping[str, float]) -> None:
        super().restore(state)
        self._counts.restore(state)

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            if self._counts.more("failures", 1) == 1:
                tell(f"warning: {error}; going on without it")


class ReplayModel(LanguageModel):
    """Answers from the record alone: repeats a run without its server.

    Args:
        cache: the record.
        source: whose answers to take; None: of the only one on record.
        name: the model's name; None: likewise.

    Raises:
        UserError: if that fits no model on record, or several.
    """

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
        known = self._cache.get(self.source, self.name, prompts)
        self._counts.more("hits", len(known) - known.count(None))
        self._counts.more("misses", known.count(None))
        return [_free(answer or self._never_asked(p)) for p, answer in zip(prompts, known, strict=True)]

    def metrics(self) -> dict[str, float]:
        return self._counts.metrics()

    def state(self) -> dict[str, float]:
        return self._counts.state()

    def restore(self, state: Mapping[str, float]) -> None:
        self._counts.restore(state)

    def _never_asked(self, prompt: Prompt) -> LanguageModelError:
        asked = " ".join(" ".join(prompt.user.splitlines()[-2:]).split())  # before that may come examples
        if len(asked) > LONGEST_QUESTION:
            asked = f"{asked[: LONGEST_QUESTION // 2]} ... {asked[-LONGEST_QUESTION // 2 :]}"
        return LanguageModelError(
            f"{self._cache.path} holds no answer of {self.name} to: {asked}", "never_asked"
        )


def _free(answer: Answer | LanguageModelError) -> Answer | LanguageModelError:
    return replace(answer, prompt_tokens=0, answer_tokens=0) if isinstance(answer, Answer) else answer
