"""A real HTTP server that speaks the OpenAI chat protocol, for tests."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """A running server: where it is, and what it has received."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def bullets(body: dict) -> tuple[int, dict]:
    """Answers every open prompt with two goals; every closed one with yes where the goal holds "tree"."""
    asked = body["messages"][-1]["content"]
    if "Yes or No?" not in asked:
        return 200, completion("Sure!\n- chop the tree\n- drink water")
    yes = 0.9 if "tree" in asked.rsplit("\n", 1)[1] else 0.2
    if not body.get("logprobs"):
        return 200, completion("Yes" if yes > 0.5 else "No")
    top = [
        {"token": token, "logprob": math.log(p), "bytes": None}
        for token, p in (("Yes", yes), ("No", 1 - yes))
    ]
    return 200, completion("Yes" if yes > 0.5 else "No", top)


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
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


@contextlib.contextmanager
def serve(answer: Callable[[dict], tuple[int, dict]] = bullets) -> Iterator[Served]:
    """Runs a server on this machine; ``answer`` maps a request's body to a status and a body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.paths.append(self.path)
            served.requests.append(body)
            served.keys.append(self.headers.get("Authorization"))
            status, reply = answer(body)
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
