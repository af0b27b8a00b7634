"""Text from language models and servers, made safe for a terminal."""

from __future__ import annotations

import contextlib
import sys


def escape_control(text: str) -> str:
    """The text with escapes in place of control characters, which could recolour or rename a terminal; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """``escape_control``, with all white space as single spaces."""
    return escape_control(" ".join(text.split()))


def print_stderr(line: str) -> None:
    """Prints one line to stderr, escaped. A stderr that is closed (``| tee`` has ended) does not end a run."""
    with contextlib.suppress(OSError, ValueError):
        print(escape_control(" ".join(line.splitlines())), file=sys.stderr, flush=True)
