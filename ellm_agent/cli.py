"""The command line: options from the configuration, errors in one line, exit status 2."""

from __future__ import annotations

import contextlib
import difflib
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from ellm_agent.config import files as config_files
from ellm_agent.config import methods
from ellm_agent.config.presets import MAY_CHANGE, PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import Stopped, UserError
from ellm_agent.terminal import tell

T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """Options that say where the other options' defaults come from."""

    config: Path | None = None
    """A YAML file with the defaults, such as another run's config.yaml."""
    resume: Path | None = None
    """A run folder to go on with, from its last checkpoint."""
    estimate_cost: bool = False
    """Only say what the run would ask a language model, and what that costs, from a short dry run."""


@dataclass(frozen=True)
class Request:
    """What a command line asks for."""

    config: Config
    resume: Path | None
    estimate_cost: bool = False


def parse(arguments: Sequence[str], description: str, method: str | None = None) -> Request:
    """Reads a command line.

    Args:
        arguments: the words after the script's name.
        description: what ``--help`` begins with.
        method: one of ``methods.METHODS``, which the options then start from.

    Raises:
        UserError: naming the first thing that is wrong with it.
        SystemExit: after ``--help``, with status 0.
    """
    chosen = _peek(arguments, "--preset", "default")
    if chosen not in PRESETS:
        raise UserError(f"preset is {chosen!r}; choose one of {', '.join(PRESETS)}")
    file, resume = _peek(arguments, "--config"), _peek(arguments, "--resume")
    if file and resume:
        raise UserError("--config and --resume exclude each other: a run goes on as it began")
    defaults = PRESETS[chosen]
    saved = None
    if resume:
        from ellm_agent.runs.folder import Run

        saved = defaults = Run.open(Path(resume)).config
    elif file:
        defaults = config_files.load(Path(file), _peek(arguments, "--preset"))
    if method and not resume:
        defaults = methods.apply(method, defaults)

    config, estimate_cost = _options(arguments, defaults, description)
    config_files.check(config)
    if saved:
        changed = config_files.differences(saved, config, ignore=MAY_CHANGE)
        if changed:
            raise UserError(f"a run goes on as it began: {'; '.join(changed)}")
    return Request(config, Path(resume) if resume else None, estimate_cost)


def experiment(description: str, method: str | None = None) -> None:
    """A script: parses the command line, runs, and turns a user's errors into one line.

    Exit status 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    with one_line_errors("stopped; --resume goes on from the last checkpoint"):
        request = parse(sys.argv[1:], description, method)
        # Imported late: --help must not wait for PyTorch.
        if request.estimate_cost:
            from ellm_agent import cost_estimate as estimate

            estimate.tell(request.config)
            return
        from ellm_agent.experiment import run_experiment

        run_experiment(request.config, request.resume)


@dataclass(frozen=True)
class Downstream:
    """Options of a script that learns a task after pretraining, beside those of every run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the pretrained run, whose options are the defaults here."""
    from_scratch: bool = False
    """Take nothing over from it but its options: the control."""


def downstream(description: str, transfer: str) -> None:
    """A script: learns a task with a pretrained agent's help, by the same training call as ``experiment``.

    Args:
        description: what ``--help`` begins with.
        transfer: "finetune" or "guide", see ``config.downstream``.
    """
    with one_line_errors("stopped; run_crafter.py --resume goes on from the last checkpoint"):
        config = parse_downstream(sys.argv[1:], description, transfer)
        from ellm_agent.experiment import run_experiment

        run_experiment(config)


def parse_downstream(arguments: Sequence[str], description: str, transfer: str) -> Config:
    """Reads the command line of such a script.

    Raises:
        UserError: naming the first thing that is wrong with it.
        SystemExit: after ``--help``, with status 0.
    """
    from ellm_agent.config.downstream import downstream_config, from_scratch_config
    from ellm_agent.runs.folder import Run

    def read(defaults: Config) -> tuple[Downstream, Config]:
        @dataclass(frozen=True)
        class Options:
            which: Annotated[Downstream, tyro.conf.arg(name="")]
            run: Annotated[Config, tyro.conf.arg(name="")] = defaults

        names = [config_files.option(name) for name in config_files.flatten(defaults)]
        options = parse_options(Options, words, description, [*names, "from-scratch"])
        return options.which, options.run

    words = list(arguments)
    if any(word in ("-h", "--help") for word in words):
        read(PRESETS["default"])  # which ends here
    if not words or words[0].startswith("-"):
        raise UserError("the pretrained run's folder comes first, such as runs/NAME")
    task = _peek(words, "--task")
    if task is None:
        raise UserError("name a task: --task 'mine stone' (docs/tasks.md lists them)")
    folder = Path(words[0])
    pretraining = Run.open(folder).config
    defaults = downstream_config(folder, pretraining, task, transfer)
    which, config = read(defaults)
    if which.from_scratch:
        defaults = from_scratch_config(folder, pretraining, task, transfer)
        _, config = read(defaults)
    before, now = config_files.flatten(defaults), config_files.flatten(config)
    for name in ("preset", "transfer.pretrained", "transfer.transfer"):
        if now[name] != before[name]:
            raise UserError(
                f"{config_files.option(name)} is {now[name]}, but this script and {folder} make it {before[name]}"
            )
    return config_files.check(config)


@contextlib.contextmanager
def one_line_errors(stopped: str = "stopped") -> Iterator[None]:
    """Turns what a user can mend into one line on stderr and exit status 2.

    Args:
        stopped: what is said after Ctrl-C.
    """
    from ellm_agent.llm.base import LanguageModelError

    try:
        yield
    except (UserError, LanguageModelError) as error:
        tell(f"error: {error}")
        sys.exit(2)
    except OSError as error:
        tell(f"error: {error.strerror or error}: {error.filename or 'unknown file'}")
        sys.exit(2)
    except KeyboardInterrupt:
        tell(stopped)
        sys.exit(130)
    except Stopped as stop:
        tell(stopped)
        sys.exit(128 + stop.number)


def _options(arguments: Sequence[str], defaults: Config, description: str) -> tuple[Config, bool]:
    @dataclass(frozen=True)
    class Options:
        run: Annotated[Config, tyro.conf.arg(name="")] = defaults
        sources: Annotated[Sources, tyro.conf.arg(name="")] = Sources()

    names = [config_files.option(name) for name in config_files.flatten(defaults)]
    known = [*names, "config", "resume", "estimate-cost"]
    options = parse_options(Options, arguments, description, known)
    return options.run, options.sources.estimate_cost


def script(main: Callable[[T], None], kind: type[T], description: str) -> None:
    """A small script: parses the command line, runs, and turns a user's errors into one line.

    Args:
        main: what it does with its options.
        kind: see `parse_options`.
        description: likewise.
    """
    with one_line_errors():
        main(parse_options(kind, sys.argv[1:], description))


def at_least(least: int, **values: int) -> None:
    """Checks the values of options.

    Raises:
        UserError: naming the first that is too small.
    """
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name.replace('_', '-')} is {value}; it must be at least {least}")


def parse_options(
    kind: type[T], arguments: Sequence[str], description: str, known: Sequence[str] | None = None
) -> T:
    """tyro's reading of a command line, with its boxed error as one line.

    Args:
        kind: a dataclass of the options, or a union of them, one for each subcommand.
        arguments: the words after the script's name.
        description: what ``--help`` begins with.
        known: names of the options that exist; None: those of the dataclass.

    Raises:
        UserError: for a value that does not fit, or an option that does not exist.
        SystemExit: after ``--help``, with status 0.
    """
    told, words = io.StringIO(), list(arguments)
    try:
        with contextlib.redirect_stderr(told):
            options, unknown = tyro.cli(kind, args=words, description=description, return_unknown_args=True)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        text = " ".join(re.sub(r"[^\x20-\x7e]", " ", told.getvalue()).split())
        text = re.split(r" Argument helptext| For full helptext", text)[0]
        text = re.sub(r"^-{3,} | -{3,}$", "", text)  # a frame's corners
        text = re.sub(r"^(Invalid choice|Missing argument|Parsing error|Value error) ", "", text)
        raise UserError(text) from None
    if unknown:
        names = map(config_files.option, config_files.flatten(options)) if known is None else known
        raise unknown_option(unknown, [*names, "help"])
    return options


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


def _peek(arguments: Sequence[str], option: str, default: str | None = None) -> str | None:
    """The value of an option that decides about the defaults of the others."""
    for i, argument in enumerate(arguments):
        if argument == option:
            if i + 1 == len(arguments):
                raise UserError(f"{option} needs a value")
            return arguments[i + 1]
        if argument.startswith(option + "="):
            return argument.partition("=")[2]
    return default
