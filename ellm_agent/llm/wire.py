"""OpenAI's protocol: request bodies, and the meaning of responses and failures. Knows nothing of the network."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ellm_agent.llm.base import Answer, Prompt
from ellm_agent.llm.endpoint import KEY_VARIABLE
from prompts import open_ended

TOP_LOGPROBS = 5  # the paper's
LONGEST_ANSWER = 20_000  # characters; the rest is cut off
ROUNDING = 0.01  # servers round: a log-probability this little above 0 is one of 0
DISPENSABLE = ("max_tokens", "temperature")  # parameters that some models reject
EXTRAS = ("response_format", "logprobs")  # parameters that some servers do not know
_HINTS = {  # by HTTP status
    401: f": check {KEY_VARIABLE}",
    403: f": check {KEY_VARIABLE}",
    404: ": check --llm-model and --llm-base-url",
}

_WORD = re.compile(r"\w")


def request_body(
    prompt: Prompt,
    model: str,
    api: Literal["chat", "completion"] = "chat",
    without: Collection[str] = (),
) -> dict[str, Any]:
    """The request for a prompt.

    Args:
        prompt: the question.
        model: the model's name on the server.
        api: see ``OpenAIModel``.
        without: of ``EXTRAS`` and ``DISPENSABLE``, those to leave out; max_completion_tokens stands in for max_tokens.
    """
    longest = "max_completion_tokens" if "max_tokens" in without else "max_tokens"
    body = {"model": model, longest: prompt.max_tokens, "temperature": prompt.temperature}
    if api == "completion":
        body["prompt"] = f"{prompt.system}\n\n{prompt.user}"
        if prompt.logprobs:
            body["logprobs"] = TOP_LOGPROBS
        else:  # a closed answer is one word, and may come after a blank line
            body["stop"] = "\n\n"  # after which, as in the prompt's examples, the next question would follow
    else:
        body["messages"] = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        if prompt.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        if prompt.schema:
            schema = {"name": "answer", "schema": json.loads(prompt.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
    left_out = {*without, "top_logprobs"} if "logprobs" in without else without
    return {name: value for name, value in body.items() if name not in left_out}


def scoring_body(prompt: Prompt, model: str) -> dict[str, Any]:
    """The request for the log-probabilities of a prompt's continuations, to the older endpoint: all as one batch."""
    texts = [prompt.user + text for text in prompt.continuations]
    return {"model": model, "prompt": texts, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}


def read_scores(body: bytes, prompt: Prompt) -> Reply:
    """Parses the response to ``scoring_body``: the sums over each continuation's tokens.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: if it does not tell them all.
    """
    completion = json.loads(body.decode("utf-8-sig"))
    start, logprobs = len(prompt.user), {}
    for choice in completion["choices"]:
        text, given = prompt.continuations[choice["index"]], choice["logprobs"]
        tokens = zip(given["token_logprobs"], given["text_offset"], strict=True)
        # Behind it stands the one token that the server must write.
        own = [value for value, at in tokens if start <= at < start + len(text)]
        if not own or not all(-1e300 < value <= ROUNDING for value in own):
            raise ValueError("log-probabilities are missing")
        logprobs[text] = float(sum(own))
    if len(logprobs) < len(prompt.continuations):
        raise ValueError("continuations are missing")
    usage = completion.get("usage")
    read, written = _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens")
    return Reply(Answer(max(logprobs, key=logprobs.get), logprobs, read, written), None)


def to_leave_out(rejection: Any, body: Mapping[str, Any], api: str) -> str | None:
    """The parameter without which a rejected request is worth another try; None: there is none.

    It is the one that the rejection names, in its field for that or else in its text; or else an extra.

    Args:
        rejection: body of the response.
        body: of the request.
        api: see ``OpenAIModel``.
    """
    # The older endpoint has no max_completion_tokens.
    dispensable = [name for name in DISPENSABLE if name in body and (api == "chat" or name != "max_tokens")]
    extras = [name for name in EXTRAS if name in body]
    named = rejection.get("param") if isinstance(rejection, dict) else None
    if isinstance(named, str) and named:
        blamed = [named] if named in (*dispensable, *extras) else []
    else:
        blamed = [name for name in dispensable if re.search(rf"\b{name}\b", str(rejection))]
    return next(iter(blamed + extras), None)


@dataclass(frozen=True)
class Reply:
    """A parsed response."""

    answer: Answer  # its tokens are counted by the server, 0 if it does not say
    failed: tuple[str, str] | None  # why it cannot be used: a kind of `base.FAILURES`, and words for people


def read_reply(body: bytes, api: str) -> Reply:
    """Parses a response.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: if the body is no completion.
        RecursionError: if it is nested too deeply.
    """
    completion = json.loads(body.decode("utf-8-sig"))
    choice = completion["choices"][0]
    message = choice["message"] if api == "chat" else {"content": choice["text"]}
    refusal = message.get("refusal")
    text = message.get("content") if refusal else message["content"]
    if not isinstance(text, str | None):
        raise TypeError("the answer is no text")
    text = _encodable((text or "")[:LONGEST_ANSWER])
    logprobs = _first_token(choice.get("logprobs"))
    usage = completion.get("usage")
    answer = Answer(text, logprobs, _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens"))
    failed = None
    if refusal or open_ended.refuses(text):
        failed = "refused", "would rather not answer"
    elif not (_WORD.search(text) or logprobs):
        filtered = choice.get("finish_reason") == "content_filter"
        failed = "refused" if filtered else "empty", "sent an empty answer"
    return Reply(answer, failed)


def failure_of(error: Exception) -> tuple[str, str]:
    """The kind of a failure, and our words for it: the server's or the library's may repeat the key."""
    import httpx2
    import openai

    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        kind = "server_error" if status >= 500 else "rejected" if status >= 400 else "malformed"
        message = f"answered with status {status}{_HINTS.get(status, '')}"
        return "rate_limited" if status == 429 else kind, message
    if isinstance(error, openai.APITimeoutError):
        return "timeout", "did not answer in time"
    cause = error.__cause__
    nonsense = isinstance(cause, httpx2.DecodingError | httpx2.TooManyRedirects)
    if isinstance(error, openai.APIConnectionError) and not nonsense:
        reached = not isinstance(cause, httpx2.ConnectError)
        return "unreachable", "broke off the connection" if reached else "could not be reached"
    return "malformed", "sent an answer that is no completion"


def _first_token(given: Any) -> dict[str, float]:
    """Log-probabilities of the likeliest first tokens, from either protocol; {} if there are none."""
    try:
        if "content" in given:
            likeliest = {entry["token"]: entry["logprob"] for entry in given["content"][0]["top_logprobs"]}
        else:
            likeliest = dict(given["top_logprobs"][0])
        return {
            _encodable(token): min(float(logprob), 0.0)
            for token, logprob in likeliest.items()
            if -1e300 < logprob <= ROUNDING  # no infinity, no NaN
        }
    except (TypeError, LookupError, ValueError, AttributeError):
        return {}


def _tokens(usage: Any, name: str) -> int:
    """A count of tokens; 0 if it is missing or invalid."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < 2**31 else 0


def _encodable(text: str) -> str:
    """The text without lone surrogates, which JSON can contain but UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
