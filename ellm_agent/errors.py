"""Errors that a user can mend."""


class UserError(Exception):
    """Bad input. The message is one line: the value, and what would be right. Exit status 2."""
