"""URL and key of a language model's server, from options and the environment."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from ellm_agent.errors import UserError

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "gpt-4o-mini"


def endpoint(base_url: str | None) -> str | None:
    """The URL to use: ``base_url``, or the environment's, or OpenAI's if there is a key; else None."""
    if base_url or os.environ.get(URL_VARIABLE):
        return base_url or os.environ[URL_VARIABLE]
    return DEFAULT_URL if os.environ.get(KEY_VARIABLE) else None


def check_url(url: str) -> str:
    """Returns the host of an endpoint's URL.

    Raises:
        UserError: for an invalid URL, or one with parts that may be secret (it is saved with the configuration).
            The message does not repeat it.
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


def model_at(url: str, name: str | None) -> str:
    """The model's name at an endpoint: ``name``, or the default at OpenAI.

    Raises:
        UserError: for a bad URL, or another server and no name.
    """
    host = check_url(url)
    if not name and not f".{host}".endswith(f".{urlsplit(DEFAULT_URL).hostname}"):
        raise UserError(f"llm-model is not given: say with --llm-model which one to ask at {url}")
    return name or DEFAULT_MODEL


def check_endpoint(url: str) -> str:
    """Returns the key to send to a URL; a placeholder if the server is local and there is none.

    Raises:
        UserError: for a bad URL, a missing key, or a key with characters that cannot be sent.
    """
    host = check_url(url)
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key and not _is_local(host):
        raise UserError(f"{KEY_VARIABLE} is not set, and the language model at {host} needs a key")
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"{KEY_VARIABLE} holds characters that no key has")
    return key or "none"


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local")) or "." not in host
    return address.is_loopback or address.is_private
