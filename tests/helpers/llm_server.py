"""A real HTTP server that speaks the OpenAI protocol, well or badly, for tests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ellm_agent.llm.base import LanguageModel, Prompt


@dataclass(frozen=True)
class Reply:
    """A response, which need not be a good one.

    Attributes:
        body: bytes as they are; anything else is sent as JSON.
        status: of HTTP.
        headers: beside Content-Type and Content-Length, or in their place.
        delay: seconds before anything is sent.
        drip: seconds before each byte of the body; 0: all at once.
        cut: bytes of the body after which the connection is closed; None: all are sent.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    cut: int | None = None


Behaviour = Callable[[dict], Reply | tuple[int, Any]]  # request's body -> response, or status and body


@dataclass
class Served:
    """A running server: where it is, and what it has received.

    Attributes:
        url: where it is.
        requests: bodies received.
        keys: Authorization headers received.
        paths: asked for.
        times: of arrival, seconds.
        at_once: the most requests that were being answered at the same time.
    """

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0


def asked(body: dict) -> str:
    """The question in a request, of either endpoint."""
    return body["prompt"] if "prompt" in body else body["messages"][-1]["content"]


def bullets(body: dict) -> tuple[int, dict]:
    """Answers every open prompt with two goals; every closed one with yes where the goal holds "tree"."""
    question = asked(body)
    if "Yes or No?" not in question:
        if "response_format" in body:
            return 200, reply(body, json.dumps({"goals": ["chop the tree", "drink water"]}))
        return 200, reply(body, "Sure!\n- chop the tree\n- drink water")
    yes = 0.9 if "tree" in question.rsplit("\n", 1)[1] else 0.2
    logprobs = {"Yes": math.log(yes), "No": math.log(1 - yes)} if body.get("logprobs") else None
    return 200, reply(body, "Yes" if yes > 0.5 else "No", logprobs)


def answers_of(model: LanguageModel) -> Behaviour:
    """Answers as a language model of ours does."""

    def answer(body: dict) -> tuple[int, dict]:
        system = "" if "prompt" in body else body["messages"][0]["content"]
        logprobs = bool(body.get("logprobs"))
        prompt = Prompt(system, asked(body), body["max_tokens"], body["temperature"], logprobs, "")
        (answered,) = model.answer([prompt])
        content = reply(body, answered.text, dict(answered.logprobs))
        read, written = answered.prompt_tokens, answered.answer_tokens
        return 200, content | {"usage": {"prompt_tokens": read, "completion_tokens": written}}

    return answer


def reply(body: dict, text: str, logprobs: dict[str, float] | None = None) -> dict:
    """A completion for a request, as its endpoint words it."""
    if "prompt" in body:
        return text_completion(text, logprobs)
    top = [{"token": token, "logprob": p, "bytes": None} for token, p in (logprobs or {}).items()]
    return completion(text, top)


def completion(text: str, top_logprobs: list[dict] | None = None) -> dict:
    """A chat completion as OpenAI's servers word it."""
    logprobs = None
    if top_logprobs:
        logprobs = {"content": [{**top_logprobs[0], "top_logprobs": top_logprobs}], "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "test",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": logprobs,
                "message": {"role": "assistant", "content": text, "refusal": None},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def text_completion(text: str, logprobs: dict[str, float] | None = None) -> dict:
    """A completion of the older endpoint, as OpenAI's servers word it."""
    given = None
    if logprobs:
        first = max(logprobs, key=logprobs.get)
        given = {
            "tokens": [first],
            "token_logprobs": [logprobs[first]],
            "top_logprobs": [logprobs],
            "text_offset": [0],
        }
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 0,
        "model": "test",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": given, "text": text}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


# --- servers that misbehave: each of these makes an ``answer`` for `serve` ------------------------------

HANG = 60.0  # seconds; the server's end comes sooner


def busy(times: float, status: int = 429, retry_after: str = "0.01") -> Behaviour:
    """Turns so many requests away, then answers; the wait is over after ``retry_after`` seconds."""
    left = times

    def answer(body: dict) -> Reply | tuple[int, dict]:
        nonlocal left
        left -= 1
        content = {"error": {"message": f"slow down, {status}"}}
        return Reply(content, status, {"Retry-After": retry_after}) if left >= 0 else bullets(body)

    return answer


def rejects(*options: str, status: int = 400) -> Behaviour:
    """Rejects requests with an option that it does not know."""

    def answer(body: dict) -> Reply | tuple[int, dict]:
        unknown = [option for option in options if body.get(option)]
        return (status, {"error": {"message": f"unknown option {unknown[0]}"}}) if unknown else bullets(body)

    return answer


def newer(*parameters: str, blame: Callable[[str], Any], status: int = 400) -> Behaviour:
    """Rejects parameters as newer models do, naming them in the body that ``blame`` makes."""

    def answer(body: dict) -> Reply | tuple[int, Any]:
        unknown = [name for name in parameters if name in body]
        return (status, blame(unknown[0])) if unknown else bullets(body)

    return answer


BLAMES = {  # how servers word it
    "OpenAI": lambda name: {
        "error": {
            "message": f"Unsupported parameter: '{name}' is not supported with this model.",
            "type": "invalid_request_error",
            "param": name,
            "code": "unsupported_parameter",
        }
    },
    "in words": lambda name: {"error": {"message": f"{name} is not supported here", "param": None}},
    "a list": lambda name: {"detail": [{"loc": ["body", name], "msg": "extra fields not permitted"}]},
    "plain text": lambda name: f"bad request: {name}",
}


def by_caption(body: dict) -> tuple[int, dict]:
    """Answers every open prompt with two of the game's goals, which depend on the caption."""
    caption = asked(body).split("\n\n")[-1]
    goals = ("chop tree", "drink water", "chop grass", "eat cow", "sleep", "attack zombie", "place plant")
    first = hashlib.sha256(caption.encode()).digest()[0]
    return 200, reply(body, f"- {goals[first % 7]}\n- {goals[first // 7 % 7]}")


def says(text: str | None, **message: Any) -> Behaviour:
    """Always the same text, in an otherwise good response."""

    def answer(body: dict) -> tuple[int, dict]:
        content = reply(body, text)
        content["choices"][0].get("message", {}).update(message)
        return 200, content

    return answer


def sends(response: Reply) -> Behaviour:
    """Always the same response."""
    return lambda body: response


_GOOD = json.dumps(completion("- sleep")).encode()
_LATIN = json.dumps(completion("- caf@")).encode().replace(b"@", b"\xe9")
_REFUSAL = "I'm sorry, but I can't help with that."
_NO_LOGPROBS = "Yes, it should."


def faults() -> dict[str, tuple[Behaviour, str | None]]:
    """Fault -> a server that has it, and the kind of error that it leads to; None: it is answered all the same."""
    return {
        "429, then fine": (busy(2), None),
        "429 for ever": (busy(math.inf), "rate_limited"),
        "500": (busy(math.inf, 500), "server_error"),
        "503, then fine": (busy(2, 503), None),
        "401": (sends(Reply({"error": {"message": "bad key"}}, 401)), "rejected"),
        "404": (sends(Reply({"error": {"message": "no such model"}}, 404)), "rejected"),
        "304": (sends(Reply(b"", 304)), "malformed"),
        "redirects to itself": (sends(Reply(b"", 307, {"Location": "/v1"})), "malformed"),
        "hangs": (sends(Reply(_GOOD, delay=HANG)), "timeout"),
        "hangs in the middle": (sends(Reply(_GOOD, drip=HANG)), "timeout"),
        "a byte now and then": (sends(Reply(b" " * 10_000 + _GOOD, drip=0.02)), "timeout"),
        "closes at once": (sends(Reply(_GOOD, cut=-1)), "unreachable"),
        "closes in the middle": (sends(Reply(_GOOD, cut=len(_GOOD) // 2)), "unreachable"),
        "cut-off JSON": (sends(Reply(_GOOD[:-20])), "malformed"),
        "nested JSON": (sends(Reply(b"[" * 10**6)), "malformed"),
        "no choices": (sends(Reply({"choices": []})), "malformed"),
        "no message": (sends(Reply({"choices": [{"message": None}]})), "malformed"),
        "no content": (sends(Reply({"choices": [{"message": {"role": "assistant"}}]})), "malformed"),
        "numbers for text": (says(7), "malformed"),
        "a list": (sends(Reply([])), "malformed"),
        "nothing": (sends(Reply(b"")), "malformed"),
        "HTML": (
            sends(Reply(b"<html>sign in</html>", headers={"Content-Type": "text/html"})),
            "malformed",
        ),
        "invalid UTF-8": (sends(Reply(_LATIN)), "malformed"),
        "not gzip": (sends(Reply(_GOOD, headers={"Content-Encoding": "gzip"})), "malformed"),
        "no such charset": (
            sends(Reply(b"?", 400, {"Content-Type": "text/html; charset=undefined"})),
            "malformed",
        ),
        "20 MB": (sends(Reply(b" " * 20_000_000 + _GOOD)), "malformed"),
        "1 MB of text": (says("- sleep\n" * 2**17), None),
        "empty": (says(""), "empty"),
        "null": (says(None), "empty"),
        "no words": (says(" \n-- ...\n"), "empty"),
        "refusal": (says(None, refusal=_REFUSAL), "refused"),
        "refusal as text": (says(_REFUSAL), "refused"),
        "refusal and talk": (says(f"{_REFUSAL}\n\nIf you like, ask me something else!"), "refused"),
        "an AI": (says("As an AI language model, I do not play games."), "refused"),
        "no log-probabilities": (says(_NO_LOGPROBS), None),
        "odd log-probabilities": (sends(Reply(_odd_logprobs())), None),
        "odd usage": (sends(Reply(completion("- sleep") | {"usage": "lots"})), None),
        "half a character": (says("- sleep \ud83c"), None),
    }


def _odd_logprobs() -> dict:
    odd = [(None, -1.0), ("Yes", "?"), ("No", math.nan)]
    return completion("Yes", [{"token": token, "logprob": p} for token, p in odd])


@contextlib.contextmanager
def serve(answer: Behaviour = bullets) -> Iterator[Served]:
    """Runs a server on this machine; ``answer`` maps a request's body to a response."""
    lock, ending = threading.Lock(), threading.Event()
    busy_with = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            nonlocal busy_with
            arrived = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                served.paths.append(self.path)
                served.requests.append(body)
                served.keys.append(self.headers.get("Authorization"))
                served.times.append(arrived)
                busy_with += 1
                served.at_once = max(served.at_once, busy_with)
            try:
                response = answer(body)
                with contextlib.suppress(ConnectionError):  # the client may have gone
                    self.send(response if isinstance(response, Reply) else Reply(response[1], response[0]))
            finally:
                with lock:
                    busy_with -= 1

        def send(self, response: Reply):
            ending.wait(response.delay)
            data = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
            if response.cut == -1 or ending.is_set():
                return
            self.send_response(response.status)
            usual = {"Content-Type": "application/json", "Content-Length": str(len(data))}
            for name, value in (usual | dict(response.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            data = data[: response.cut]
            for i in range(len(data) if response.drip else 0):
                if ending.wait(response.drip):
                    return
                self.wfile.write(data[i : i + 1])
            if not response.drip:
                self.wfile.write(data)

        def log_message(self, *args):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        ending.set()
        server.shutdown()
        server.server_close()
