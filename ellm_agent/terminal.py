"""Texts of language models and servers, made fit for a terminal."""

from __future__ import annotations

import contextlib
import sys


def escape_control(text: str) -> str:
    """The text with escapes for what a terminal would obey instead of show, such as colours; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The same in one line."""
    return escape_control(" ".join(text.split()))


def print_stderr(line: str) -> None:
    """Writes a line to stderr. Whoever read it may have gone (``| tee``, a closed terminal): no reason to end a run."""
    with contextlib.suppress(OSError, ValueError):
        print(escape_control(" ".join(line.splitlines())), file=sys.stderr, flush=True)
