"""A client for any OpenAI-compatible endpoint, through the ``openai`` package and its retries; several questions at once.

The only threads of the language-model stack are here: models themselves answer in the calling thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from queue import SimpleQueue
from typing import Any, Literal
from urllib.parse import urlsplit

from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.llm.endpoint import DEFAULT_URL, check_endpoint, endpoint
from ellm_agent.llm.wire import (
    Reply,
    failure_of,
    read_reply,
    read_scores,
    request_body,
    scoring_body,
    to_leave_out,
)

RETRIES = 3  # with the package's exponential back-off, honouring Retry-After
LONGEST_BODY = 2**24  # bytes of a response; longer ones are no answers


class OpenAIModel(LanguageModel):
    """Completions from an OpenAI-compatible server, one request after the other in each thread.

    Log-probabilities and JSON answers are requested where a prompt wants them; if a server rejects a request because
    of them, it is asked without them from then on. The same holds for a temperature that is rejected by name. Where
    max_tokens is rejected, as by newer models of OpenAI, max_completion_tokens is sent instead.

    Args:
        model: the model's name on the server.
        base_url: of the server; None: see ``endpoint``.
        timeout: seconds for one try: until the answer begins, and again until it ends.
        api: "chat", or "completion" for the older endpoint, which continues a text.
        retries: further tries after a temporary failure.

    Raises:
        UserError: see ``check_endpoint``.
    """

    in_process = False
    counted = ("tokens_read", "tokens_written", "seconds")

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        timeout: float = 60.0,
        api: Literal["chat", "completion"] = "chat",
        retries: int = RETRIES,
    ):
        if api not in ("chat", "completion"):
            raise ValueError(f"api is {api!r}; choose 'chat' or 'completion'")
        url = (endpoint(base_url) or DEFAULT_URL).rstrip("/")
        self._client = _client(url, check_endpoint(url), timeout, retries)
        resource = self._client.chat.completions if api == "chat" else self._client.completions
        self._create = resource.with_raw_response.create
        self._api, self._host = api, urlsplit(url).netloc
        # The two protocols word a prompt differently: their answers have different cache keys.
        self.source, self.name = url if api == "chat" else f"{url}/completions", model
        self.description = f"{model} at {self._host}"

        self._rejected: frozenset[str] = frozenset()  # parameters that the server rejects

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [self._answer(prompt) for prompt in prompts]

    def close(self) -> None:
        """Closes the connections: requests in flight fail."""
        self._client.close()

    def _answer(self, prompt: Prompt) -> Answer | LanguageModelError:
        started, spent = time.monotonic(), Answer("")
        try:
            reply = self._ask(prompt)
            if reply.failed is None:
                return reply.answer
            (kind, message), spent = reply.failed, reply.answer
        except Exception as error:  # a server's response can make the layers below raise almost anything
            kind, message = failure_of(error)
        finally:
            self.counts.add(seconds=time.monotonic() - started)
        self.counts.add(**{f"failed_{kind}": 1})
        # Made outside of the handler: no traceback leads from it to the library's error, which may contain the key.
        text = f"the language model {self.name} at {self._host} {message}"
        return LanguageModelError(text, kind, spent.prompt_tokens, spent.answer_tokens)

    def _ask(self, prompt: Prompt) -> Reply:
        """Asks with all parameters; if that is rejected, with ever fewer.

        Raises:
            openai.OpenAIError: for all expected failures.
            Exception: see ``read_reply``.
        """
        from openai import BadRequestError, UnprocessableEntityError

        if prompt.continuations:
            response = self._client.completions.with_raw_response.create(**scoring_body(prompt, self.name))
            reply = read_scores(response.content, prompt)
            self.counts.add(tokens_read=reply.answer.prompt_tokens, tokens_written=reply.answer.answer_tokens)
            return reply
        without = self._rejected
        while True:
            body = request_body(prompt, self.name, self._api, without)
            try:
                response = self._create(**body)
            except (BadRequestError, UnprocessableEntityError) as error:
                name = to_leave_out(error.body, body, self._api)
                if name is None:
                    raise
                without |= {name}
                continue
            reply = read_reply(response.content, self._api)
            self.counts.add(tokens_read=reply.answer.prompt_tokens, tokens_written=reply.answer.answer_tokens)
            self._rejected |= without  # a thread that overwrites another's finding only delays it
            return reply


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
        self._given_up = LanguageModelError(f"{model.description} was not waited for", "unreachable")
        for _ in range(in_flight):
            threading.Thread(target=self._work, daemon=True).start()

    def submit(self, prompt: Prompt) -> Future[Answer | LanguageModelError]:
        """Starts a question. ``close`` gives it up: then its result is an error."""
        future: Future = Future()
        self._open.add(future)
        future.add_done_callback(self._open.discard)
        if self._closed:
            future.set_result(self._given_up)
        else:
            self._waiting.put((prompt, future))
        return future

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        """One answer, or the error in its place, for each prompt; waits for all."""
        futures = [self.submit(prompt) for prompt in prompts]
        try:
            return [future.result() for future in futures]
        finally:  # after Ctrl-C nobody waits for the others
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Gives up all questions, those in flight too, and closes the model."""
        self._closed = True
        for future in list(self._open):
            with contextlib.suppress(InvalidStateError):  # done meanwhile
                future.set_result(self._given_up)
        for _ in range(self._in_flight):
            self._waiting.put(None)
        self._model.close()

    def _work(self) -> None:
        for prompt, future in iter(self._waiting.get, None):
            with contextlib.suppress(InvalidStateError):  # given up meanwhile
                if future.done():
                    continue
                try:
                    (answer,) = self._model.answer([prompt])
                except BaseException as error:  # whoever waits for the future raises it
                    future.set_exception(error)
                else:
                    future.set_result(answer)


def _client(url: str, key: str, timeout: float, retries: int) -> Any:
    """The ``openai`` package's client, with bounds on the time and size of a response."""
    import httpx2  # the one that `openai` uses; both are imported late: half a second
    import openai

    def bound(response: httpx2.Response) -> None:
        body, deadline = bytearray(), time.monotonic() + timeout
        for part in response.stream:
            body += part
            if len(body) > LONGEST_BODY:
                raise ValueError("the response is too long")
            if time.monotonic() > deadline:  # httpx2's own timeout starts anew with each byte
                raise httpx2.ReadTimeout("the response does not end")
        response.stream.close()
        response.stream = httpx2.ByteStream(bytes(body))

    # At lower levels they log requests and responses with their headers.
    for name in ("openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    http = openai.DefaultHttpxClient(event_hooks={"response": [bound]})
    return openai.OpenAI(api_key=key, base_url=url, timeout=timeout, max_retries=retries, http_client=http)
