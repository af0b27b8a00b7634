"""Any OpenAI-compatible endpoint, through the `openai` package and its retries."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Literal
from urllib.parse import urlsplit

from ellm_agent.llm.base import FAILURES, Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.llm.endpoint import DEFAULT_URL, check_endpoint, endpoint
from ellm_agent.llm.wire import (
    Reply,
    blamed,
    dispensable,
    ever_fewer,
    extras_of,
    failure_of,
    read_reply,
    request_body,
)

RETRIES = 3  # with the client's exponential back-off, honouring Retry-After
LONGEST_BODY = 2**24  # bytes of a response; no answer needs as many
COUNTED = ("tokens_read", "tokens_written", "seconds", *(f"failed_{kind}" for kind in FAILURES))


class OpenAIModel(LanguageModel):
    """Completions from an OpenAI-compatible server, several requests in flight at once.

    Log-probabilities and answers in JSON are asked for where a prompt wants them; a server that rejects the
    request for it is asked without from then on. So is one that rejects a temperature, and says so; one that rejects
    max_tokens, as newer models of OpenAI do, is told max_completion_tokens.

    Args:
        model: the model's name on the server.
        base_url: of the server; None: as `endpoint` finds it.
        concurrency: requests in flight, at most, over all threads.
        timeout: seconds for one try: until the answer begins, and again until it ends.
        api: "chat", or "completion" for the older endpoint, which goes on with a text.
        retries: further tries after one that may do better next time.

    Raises:
        UserError: see `check_endpoint`.
    """

    immediate = False

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        concurrency: int = 8,
        timeout: float = 60.0,
        api: Literal["chat", "completion"] = "chat",
        retries: int = RETRIES,
    ):
        if api not in ("chat", "completion"):
            raise ValueError(f"api is {api!r}; choose 'chat' or 'completion'")
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be at least 1")
        url = (endpoint(base_url) or DEFAULT_URL).rstrip("/")
        self._client = _client(url, check_endpoint(url), timeout, retries)
        resource = self._client.chat.completions if api == "chat" else self._client.completions
        self._create = resource.with_raw_response.create
        self._api, self._host, self._concurrency = api, urlsplit(url).netloc, concurrency
        # The two protocols word a prompt differently: their answers are kept apart.
        self.source, self.name = url if api == "chat" else f"{url}/completions", model
        self.description = f"{model} at {self._host}"

        self._lock = threading.Lock()  # for all below
        self._waiting: deque[tuple[Prompt, Future]] = deque()
        self._asked: set[Future] = set()  # waiting or in flight
        self._threads = 0
        self._closed = False
        self._rejected: frozenset[str] = frozenset()  # what the server does not know: extras and parameters
        self._counts = Counter({"tokens_read": 0, "tokens_written": 0, "seconds": 0.0})

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        futures = [self._submit(prompt) for prompt in prompts]
        try:
            return [self._outcome(future) for future in futures]
        finally:  # after Ctrl-C nobody waits for the rest
            for future in futures:
                future.cancel()

    def metrics(self) -> dict[str, float]:
        """Tokens as the server counts them, seconds waited for it (summed over requests), failures by kind."""
        with self._lock:
            return {f"llm/{name}": float(count) for name, count in self._counts.items()}

    def state(self) -> dict[str, float]:
        with self._lock:
            return dict(self._counts)

    def restore(self, state: Mapping[str, float]) -> None:
        with self._lock:
            for name in COUNTED:
                if name in state:
                    self._counts[name] = state[name]

    def close(self) -> None:
        """Gives up all questions, those in flight too: whoever waits for one is told that it failed."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            asked, self._asked = self._asked, set()
        for future in asked:
            future.cancel()
        self._client.close()

    # --- threads: as many as there are questions, and none that keeps the process from ending -------------

    def _submit(self, prompt: Prompt) -> Future:
        future: Future = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._waiting.append((prompt, future))
            self._asked.add(future)
            if self._threads < self._concurrency:
                # A daemon, unlike those of ThreadPoolExecutor, for whose requests Python waits before it ends.
                threading.Thread(target=self._work, daemon=True).start()
                self._threads += 1
        return future

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                prompt, future = self._waiting.popleft()
            try:
                if not future.cancelled():
                    future.set_result(self._answer(prompt))
            except InvalidStateError:  # given up meanwhile
                pass
            finally:
                with self._lock:
                    self._asked.discard(future)

    def _outcome(self, future: Future) -> Answer | LanguageModelError:
        try:
            return future.result()
        except CancelledError:
            told = "was not waited for"
        return self._error("unreachable", told, Answer(""))

    # --- one question -------------------------------------------------------------------------------------

    def _answer(self, prompt: Prompt) -> Answer | LanguageModelError:
        started, spent = time.monotonic(), Answer("")
        try:
            reply = self._ask(prompt)
            if reply.failed is None:
                return reply.answer
            (kind, told), spent = reply.failed, reply.answer
        except Exception as error:  # by what it sends, a server can make the layers below raise almost any
            kind, told = failure_of(error)
        finally:
            self._count(seconds=time.monotonic() - started)
        self._count(**{f"failed_{kind}": 1})
        # Made here, outside of the handler: no traceback leads from it to the library's error, which may hold the key.
        return self._error(kind, told, spent)

    def _ask(self, prompt: Prompt) -> Reply:
        """Asks with all that is wanted; if that is rejected, without the parameter that is blamed, or with less and less.

        Raises:
            openai.OpenAIError: for everything that can be expected.
            Exception: as `read_reply`.
        """
        from openai import BadRequestError, UnprocessableEntityError

        rejected = self._rejected
        wanted = extras_of(prompt, self._api) - rejected
        without = dispensable(self._api) & rejected
        fewer = ever_fewer(wanted)
        extras = next(fewer)
        while True:
            try:
                response = self._create(**request_body(prompt, self.name, self._api, extras, without))
            except (BadRequestError, UnprocessableEntityError) as error:
                if parameter := blamed(error.body, dispensable(self._api) - without):
                    without |= {parameter}
                elif (extras := next(fewer, None)) is None:
                    raise
                continue
            reply = read_reply(response.content, self._api)
            self._count(tokens_read=reply.answer.prompt_tokens, tokens_written=reply.answer.answer_tokens)
            with self._lock:
                self._rejected |= (wanted - extras) | without
            return reply

    def _count(self, **more: float) -> None:
        with self._lock:
            self._counts.update(more)

    def _error(self, kind: str, told: str, spent: Answer) -> LanguageModelError:
        message = f"the language model {self.name} at {self._host} {told}"
        return LanguageModelError(message, kind, spent.prompt_tokens, spent.answer_tokens)


def _client(url: str, key: str, timeout: float, retries: int) -> Any:
    """The `openai` package's client, with bounds on how long and how large a response may be."""
    import httpx2  # `openai`'s own; imported late, as that is: half a second
    import openai

    class Bounded(httpx2.SyncByteStream):
        def __init__(self, stream: httpx2.SyncByteStream):
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            received, deadline = 0, time.monotonic() + timeout
            for part in self._stream:
                received += len(part)
                if received > LONGEST_BODY:
                    raise ValueError("the response is too long")
                if time.monotonic() > deadline:  # httpx2 itself is content with a byte now and then
                    raise httpx2.ReadTimeout("the response does not end")
                yield part

        def close(self) -> None:
            self._stream.close()

    def bound(response: httpx2.Response) -> None:
        response.stream = Bounded(response.stream)

    # At their lower levels they tell what was sent and received, with headers.
    for name in ("openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    http = openai.DefaultHttpxClient(event_hooks={"response": [bound]})
    return openai.OpenAI(api_key=key, base_url=url, timeout=timeout, max_retries=retries, http_client=http)
