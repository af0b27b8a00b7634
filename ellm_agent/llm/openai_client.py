"""Any OpenAI-compatible endpoint, through the `openai` package and its retries."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModelError, Prompt

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
DEFAULT_URL = "https://api.openai.com/v1"
TOP_LOGPROBS = 5  # the paper's
RETRIES = 3  # with the client's exponential back-off, honouring Retry-After


def endpoint(base_url: str | None) -> str | None:
    """The URL to use: the one given, the environment's, OpenAI's if there is a key, else None."""
    if base_url or os.environ.get(URL_VARIABLE):
        return base_url or os.environ[URL_VARIABLE]
    return DEFAULT_URL if os.environ.get(KEY_VARIABLE) else None


def check_url(url: str) -> str:
    """Returns the host of an endpoint's URL.

    Raises:
        UserError: for a URL that is none, or that holds anything which may be secret (it is saved with the
            configuration). The message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    if host is None or parts.scheme not in ("http", "https"):
        raise UserError(f"llm-base-url is not a URL such as {DEFAULT_URL}")
    if parts.username or parts.password:
        raise UserError(f"llm-base-url holds a password; put the key into {KEY_VARIABLE} instead")
    if parts.query or parts.fragment:
        raise UserError("llm-base-url has a query or a fragment; it must end with its path, such as /v1")
    return host


def check_endpoint(url: str) -> str:
    """Returns the key to send to a URL (a placeholder where none is needed: on this machine).

    Raises:
        UserError: for a bad URL, or one that needs a key while there is none.
    """
    host = check_url(url)
    key = os.environ.get(KEY_VARIABLE)
    if not key and not _is_local(host):
        raise UserError(f"{KEY_VARIABLE} is not set, and the language model at {host} needs a key")
    return key or "none"


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local")) or "." not in host
    return address.is_loopback or address.is_private


class OpenAIModel:
    """Chat completions from an OpenAI-compatible server, several requests in flight at once.

    Log-probabilities are asked for where a prompt wants them; a server that rejects the request
    for it is asked without from then on.

    Args:
        model: the model's name on the server.
        base_url: of the server; None: as `endpoint` finds it.
        concurrency: requests in flight.
        timeout: seconds for one try.

    Raises:
        UserError: see `check_endpoint`.
    """

    def __init__(self, model: str, base_url: str | None = None, concurrency: int = 8, timeout: float = 60.0):
        import openai  # imported late: half a second

        url = endpoint(base_url) or DEFAULT_URL
        key = check_endpoint(url)
        self._openai, self._model = openai, model
        self._client = openai.OpenAI(api_key=key, base_url=url, timeout=timeout, max_retries=RETRIES)
        self._concurrency = concurrency
        self._logprobs_rejected = False
        self._host = urlsplit(url).netloc
        self.description = f"{model} at {self._host}"

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        with ThreadPoolExecutor(self._concurrency) as pool:
            return list(pool.map(self._answer, prompts))

    def _answer(self, prompt: Prompt) -> Answer | LanguageModelError:
        openai = self._openai
        try:
            try:
                return self._request(prompt, prompt.logprobs and not self._logprobs_rejected)
            except (openai.BadRequestError, openai.UnprocessableEntityError):
                if not prompt.logprobs or self._logprobs_rejected:
                    raise
                answer = self._request(prompt, logprobs=False)
                self._logprobs_rejected = True
                return answer
        except openai.APIStatusError as error:
            # The server's own words may repeat the key: they go no further.
            reason = f"answered with status {error.status_code}"
        except openai.APITimeoutError:
            reason = "did not answer in time"
        except openai.APIConnectionError:
            reason = "could not be reached"
        except (openai.OpenAIError, ValueError, AttributeError, TypeError, IndexError):
            reason = "sent an answer that is no chat completion"
        return LanguageModelError(f"the language model {self._model} at {self._host} {reason}")

    def _request(self, prompt: Prompt, logprobs: bool) -> Answer:
        extra = {"logprobs": True, "top_logprobs": TOP_LOGPROBS} if logprobs else {}
        completion = self._client.chat.completions.create(
            model=self._model,
            messages=[
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            max_tokens=prompt.max_tokens,
            temperature=prompt.temperature,
            **extra,
        )
        choice = completion.choices[0]
        first = choice.logprobs.content[0].top_logprobs if _has_logprobs(choice) else ()
        return Answer(choice.message.content or "", {entry.token: entry.logprob for entry in first})


def _has_logprobs(choice) -> bool:
    given = getattr(choice, "logprobs", None)
    return bool(given and given.content)
