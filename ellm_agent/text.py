"""Texts of language models and servers, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with escapes for what a terminal would obey instead of show, such as colours; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The same in one line."""
    return printable(" ".join(text.split()))
