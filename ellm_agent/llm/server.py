"""Any language model of ours over HTTP, with OpenAI's protocol: chat and plain completions, log-probabilities, usage."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt

LONGEST_REQUEST = 2**20  # bytes
DEFAULT_TOKENS = 200


class BadRequest(Exception):
    """A request that makes no sense; the message says why."""


def make_server(model: LanguageModel, host: str, port: int) -> ThreadingHTTPServer:
    """A server that is ready to ``serve_forever``; port 0: any free one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.path.rstrip("/").endswith("/models"):
                entry = {"id": model.name, "object": "model", "created": 0, "owned_by": "ellm_agent"}
                self._reply(HTTPStatus.OK, {"object": "list", "data": [entry]})
            else:
                self._fail(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path}")

        def do_POST(self) -> None:
            chat = self.path.rstrip("/").endswith("/chat/completions")
            if not chat and not self.path.rstrip("/").endswith("/completions"):
                self.close_connection = True  # what it sends is not read
                self._fail(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path}")
                return
            try:
                prompt = read_request(self._body(), chat)
            except BadRequest as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))
                return
            (answer,) = model.answer([prompt])
            if isinstance(answer, LanguageModelError):
                self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, str(answer))
            else:
                self._reply(HTTPStatus.OK, write_reply(answer, model.name, chat))

        def _body(self) -> Any:
            try:
                length = int(self.headers.get("Content-Length", ""))
            except ValueError:
                self.close_connection = True
                raise BadRequest("the request has no length") from None
            if not 0 <= length <= LONGEST_REQUEST:
                self.close_connection = True  # what it sends is not read
                raise BadRequest(f"the request has {length} bytes; at most {LONGEST_REQUEST} are read")
            try:
                return json.loads(self.rfile.read(length))
            except (ValueError, RecursionError):
                raise BadRequest("the request is not JSON") from None

        def _reply(self, status: HTTPStatus, content: dict) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _fail(self, status: HTTPStatus, message: str) -> None:
            self._reply(status, {"error": {"message": message, "type": status.phrase, "code": status.value}})

        def log_message(self, *args: Any) -> None:
            """Says nothing: there are thousands of requests."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    return server


def read_request(body: Any, chat: bool) -> Prompt:
    """A prompt from the body of a request.

    Raises:
        BadRequest: if the body is none.
    """
    if not isinstance(body, dict):
        raise BadRequest("the request must be a JSON object")
    system, user = _messages(body.get("messages")) if chat else ("", body.get("prompt"))
    if not isinstance(user, str):
        raise BadRequest("prompt must be a text")
    most = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_TOKENS
    temperature = body.get("temperature", 1.0)
    if not isinstance(most, int) or most < 1:
        raise BadRequest(f"max_tokens is {most!r}; it must be a whole number above 0")
    if not isinstance(temperature, int | float) or not 0 <= temperature <= 100:
        raise BadRequest(f"temperature is {temperature!r}; it must be a number from 0 on")
    return Prompt(system, user, most, float(temperature), bool(body.get("logprobs")), "")


def _messages(messages: Any) -> tuple[str, Any]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest("messages must be a list of objects")
    told = {message.get("role"): message.get("content") for message in messages}
    return str(told.get("system", "")), told.get("user")


def write_reply(answer: Answer, model: str, chat: bool) -> dict[str, Any]:
    """The body of a reply."""
    top = sorted(answer.logprobs.items(), key=lambda pair: -pair[1])
    logprobs: dict[str, Any] | None = None
    if top and chat:
        entries = [{"token": token, "logprob": value, "bytes": None} for token, value in top]
        logprobs = {"content": [{**entries[0], "top_logprobs": entries}], "refusal": None}
    elif top:
        token, value = top[0]
        logprobs = {
            "tokens": [token],
            "token_logprobs": [value],
            "top_logprobs": [dict(top)],
            "text_offset": [0],
        }
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": logprobs}
    choice |= {"message": {"role": "assistant", "content": answer.text}} if chat else {"text": answer.text}
    return {
        "id": "0",
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.answer_tokens,
            "total_tokens": answer.prompt_tokens + answer.answer_tokens,
        },
    }
