"""Several questions to one language model at once, on daemon threads.

The only threads of the language-model stack: models themselves answer in the calling thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from queue import SimpleQueue

from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt


class RequestPool:
    """Asks a language model that waits for a server, with a bounded number of requests in flight.

    Its threads are daemons, unlike those of ``ThreadPoolExecutor``, for whose requests Python waits before it exits.

    Args:
        model: to ask.
        in_flight: requests at once, at most.
    """

    def __init__(self, model: LanguageModel, in_flight: int):
        if in_flight < 1:
            raise ValueError(f"in_flight is {in_flight}; it must be at least 1")
        self._model, self._in_flight = model, in_flight
        self._waiting: SimpleQueue[tuple[Prompt, Future] | None] = SimpleQueue()  # None: a thread ends
        self._open: set[Future] = set()  # waiting or in flight
        self._closed = False
        for _ in range(in_flight):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, prompt: Prompt) -> Future[Answer | LanguageModelError]:
        """Starts a question. Its future is cancelled by ``close``."""
        future: Future = Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        if self._closed:
            future.cancel()
        else:
            self._waiting.put((prompt, future))
        return future

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        """One answer, or the error in its place, for each prompt; waits for all."""
        futures = [self.submit(prompt) for prompt in prompts]
        try:
            return [self.result(future) for future in futures]
        finally:  # after Ctrl-C nobody waits for the others
            for future in futures:
                future.cancel()

    def result(self, future: Future[Answer | LanguageModelError]) -> Answer | LanguageModelError:
        """The answer to a question that was submitted; waits for it."""
        try:
            return future.result()
        except CancelledError:
            return LanguageModelError(f"{self._model.description} was not waited for", "unreachable")

    def close(self) -> None:
        """Gives up all questions, those in flight too, and closes the model."""
        self._closed = True
        for future in list(self._open):
            future.cancel()
        for _ in range(self._in_flight):
            self._waiting.put(None)
        self._model.close()

    def _work(self) -> None:
        for prompt, future in iter(self._waiting.get, None):
            with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
                if not future.cancelled():
                    self._answer(prompt, future)

    def _answer(self, prompt: Prompt, future: Future) -> None:
        try:
            (answer,) = self._model.answer([prompt])
        except BaseException as error:  # whoever waits for the future raises it
            future.set_exception(error)
        else:
            future.set_result(answer)
