"""Texts from elsewhere are safe to print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ellm_agent.terminal import escape_control, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("chop tree", "chop tree"),
        ("café 木", "café 木"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\x08\x9b", r"a\rb\x08\x9b"),
        ("right \u202e to left", r"right \u202e to left"),
        ("half \ud83c", r"half \ud83c"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert escape_control(text) == shown


def test_one_line():
    assert one_line(" a\n\tb\r\n \x1bc ") == r"a b \x1bc"


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_else_gets_through(text):
    assert one_line(text).isprintable()
    assert escape_control(text).replace("\n", "").isprintable()
    escape_control(text).encode()
