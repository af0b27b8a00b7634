"""Ways for a run to end early that are nobody's mistake in the code."""

from ellm_agent.terminal import one_line


class UserError(Exception):
    """Bad input. The message is one line: the value, and what would be right. Exit status 2."""

    def __init__(self, message: str):
        super().__init__(one_line(message))  # values and files may hold anything


class Stopped(Exception):
    """A signal asked the run to stop, and it has saved what it has. Exit status 128 + the signal's number.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by signal {number}")
        self.number = number
