"""Exceptions that end a run early and are not bugs."""

import zlib

from ellm_agent.terminal import one_line

# What reading a file of ours can raise if somebody else wrote it, or half of it.
DAMAGED = (
    OSError, EOFError, zlib.error, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
)  # fmt: skip


class UserError(Exception):
    """Bad input. The message is one line: the value, and what would be right. Exit status 2."""

    def __init__(self, message: str):
        super().__init__(one_line(message))  # values and files may contain control characters


class Stopped(Exception):
    """A signal asked the run to stop, and its state is saved. Exit status 128 + the signal's number.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by signal {number}")
        self.number = number
