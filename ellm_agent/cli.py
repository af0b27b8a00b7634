"""The command line of any script: tyro's options, checks of values, errors in one line, exit status 2."""

from __future__ import annotations

import contextlib
import difflib
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import tyro
from pydantic import ValidationError

from ellm_agent.config import files as config_files
from ellm_agent.errors import Stopped, UserError
from ellm_agent.terminal import print_stderr

T = TypeVar("T")


@contextlib.contextmanager
def one_line_errors(stopped: str = "stopped") -> Iterator[None]:
    """Turns errors that a user can correct into one line on stderr and exit status 2.

    Args:
        stopped: the line after Ctrl-C.
    """
    from ellm_agent.llm.base import LanguageModelError

    try:
        yield
    except (UserError, LanguageModelError) as error:
        print_stderr(f"error: {error}")
        sys.exit(2)
    except OSError as error:
        print_stderr(f"error: {error.strerror or error}: {error.filename or 'unknown file'}")
        sys.exit(2)
    except KeyboardInterrupt:
        print_stderr(stopped)
        sys.exit(130)
    except Stopped as stop:
        print_stderr(stopped)
        sys.exit(128 + stop.number)


def script(main: Callable[[T], None], kind: type[T], description: str) -> None:
    """A small script: parses the command line, runs, and turns a user's errors into one line.

    Args:
        main: called with the options.
        kind: see `parse_options`.
        description: likewise.
    """
    with one_line_errors():
        main(parse_options(kind, sys.argv[1:], description))


def at_least(least: float, **values: float) -> None:
    """Checks the values of options.

    Raises:
        UserError: naming the first that is too small.
    """
    for name, value in values.items():
        if not least <= value < math.inf:  # NaN is neither
            raise UserError(f"{name.replace('_', '-')} is {value}; it must be at least {least}")


def writable(**files: Path | None) -> None:
    """Checks that files can be written, before the work whose results they are for.

    Args:
        files: by the names of their options; None is no file.

    Raises:
        UserError: naming the first that cannot.
    """
    for name, path in files.items():
        if path is not None and (
            path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK)
        ):
            raise UserError(
                f"{name.replace('_', '-')} is {path}, which cannot be written; name a file in a folder that exists"
            )


def folder_name(**values: str) -> None:
    """Checks the values of options that are used as a folder's name.

    Raises:
        UserError: naming the first that is none.
    """
    for name, value in values.items():
        if not value or value != Path(value).name or value == "..":
            raise UserError(
                f"{name} is {value!r}, but it is a folder's name: give one without slashes and dots"
            )


def parse_options(
    kind: type[T], arguments: Sequence[str], description: str, known: Sequence[str] | None = None
) -> T:
    """tyro's reading of a command line, with its boxed error as one line.

    Args:
        kind: a dataclass of the options, or a union of them, one for each subcommand.
        arguments: the words after the script's name.
        description: the beginning of ``--help``.
        known: names of the options that exist; None: those of the dataclass.

    Raises:
        UserError: for a value that does not fit, or an option that does not exist.
        SystemExit: after ``--help``, with status 0.
    """
    box, words = io.StringIO(), _recorded(arguments)
    try:
        with contextlib.redirect_stderr(box):
            options, unknown = tyro.cli(kind, args=words, description=description, return_unknown_args=True)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise UserError(_unboxed(end, box.getvalue())) from None
    except ValidationError as error:
        raise UserError(config_files.explain(error)) from None
    if unknown:
        names = map(config_files.option, config_files.flatten(options)) if known is None else known
        raise unknown_option(unknown, [*names, "help"])
    return options


def _recorded(arguments: Sequence[str]) -> list[str]:
    """``--llm recorded:FILE`` as the two options that it stands for."""
    words: list[str] = []
    for word in arguments:
        match = re.fullmatch(r"(--llm=)?recorded:(.*)", word)
        if match and (match[1] or words[-1:] == ["--llm"]):
            words += [*(["--llm"] if match[1] else []), "recorded", "--llm-answers", match[2]]
        else:
            words.append(word)
    return words


def _unboxed(end: SystemExit, text: str) -> str:
    """The content of tyro's boxed error, or the validation error behind it, in one line."""
    cause: BaseException | None = end
    while cause is not None:
        if isinstance(cause, ValidationError):
            return config_files.explain(cause)
        cause = cause.__cause__ or cause.__context__
    text = " ".join(re.sub(r"[^\x20-\x7e]", " ", text).split())
    text = re.split(r" Argument helptext| For full helptext", text)[0]
    text = re.sub(r"^-{3,} | -{3,}$", "", text)  # a frame's corners
    return re.sub(r"^(Invalid choice|Missing argument|Parsing error|Value error) ", "", text)


def unknown_option(unknown: Sequence[str], known: Sequence[str]) -> UserError:
    """The error for an option that does not exist, with the nearest that does."""
    first = next((word for word in unknown if word.startswith("-")), unknown[0])
    if not first.startswith("-"):
        return UserError(f"unexpected argument {first!r}; options start with --")
    name = first.lstrip("-").partition("=")[0]
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    hint = f"did you mean --{near[0]}?" if near else "see --help"
    if near == [name]:
        hint = "it stands after a subcommand, see --help"
    return UserError(f"unknown option --{name}; {hint}")
