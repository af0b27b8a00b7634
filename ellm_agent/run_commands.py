"""The command lines of runs: training, learning a task, learning from logs. Options are those of the configuration."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent.cli import one_line_errors, parse_options
from ellm_agent.config import MAY_CHANGE, PRESETS, Config, methods
from ellm_agent.config import files as config_files
from ellm_agent.config.downstream import downstream_config, from_scratch_config
from ellm_agent.config.offline import offline_config
from ellm_agent.errors import UserError
from envs import registry


@dataclass(frozen=True)
class Sources:
    """Options that decide about the defaults of the others."""

    config: Path | None = None
    """A YAML file with the defaults, such as another run's config.yaml."""
    resume: Path | None = None
    """A run folder to continue, from its last checkpoint."""
    estimate_cost: bool = False
    """Only estimate what the run would ask a language model, and its cost, from a short dry run."""


@dataclass(frozen=True)
class Request:
    """A parsed command line."""

    config: Config
    resume: Path | None
    estimate_cost: bool = False


@dataclass(frozen=True)
class Downstream:
    """Options of a script that learns a task after pretraining, beside those of every run."""

    pretrained_run: Annotated[Path, tyro.conf.Positional]
    """Folder of the pretrained run, whose options are the defaults here."""
    from_scratch: bool = False
    """Take over its options only, not its agent: the control."""


def parse(
    arguments: Sequence[str], description: str, method: str | None = None, world: str = "crafter"
) -> Request:
    """Reads a command line.

    Args:
        arguments: the words after the script's name.
        description: the beginning of ``--help``.
        method: one of ``methods.METHODS``, whose options are the defaults.
        world: the default world.

    Raises:
        UserError: naming the first thing that is wrong with it.
        SystemExit: after ``--help``, with status 0.
    """
    early = _early(arguments, "preset", "config", "resume", "world")
    preset = early["preset"] or "default"
    if preset not in PRESETS:
        raise UserError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    if early["config"] and early["resume"]:
        raise UserError("--config and --resume exclude each other: a resumed run keeps its options")
    saved = None
    if early["resume"]:
        from ellm_agent.runs.folder import Run

        saved = defaults = Run.open(Path(early["resume"])).config
    elif early["config"]:
        defaults = config_files.load(Path(early["config"]), early["preset"], early["world"] or world)
        if early["world"] not in (None, defaults.env.name):
            raise UserError(f"world is {early['world']}, but {early['config']} names {defaults.env.name}")
    else:
        defaults = config_files.in_world(PRESETS[preset], early["world"] or world)
    if method and not early["resume"]:
        with config_files.one_line():
            defaults = methods.apply(method, defaults)

    @dataclass(frozen=True)
    class Options:
        run: Annotated[Config, tyro.conf.arg(name="")] = defaults
        sources: Annotated[Sources, tyro.conf.arg(name="")] = Sources()

    own = registry.get(defaults.env.name).options
    arguments = _with_world_options(arguments, own, defaults.env.own)
    if own:
        described = "; ".join(f"--{name}: {text}" for name, text in own.items())
        description = f"{description}\n\nOptions of this world: {described}"
    known = [*config_files.options(), *own, "config", "resume", "estimate-cost"]
    options = parse_options(Options, arguments, description, known)
    config = config_files.check(options.run)
    if saved:
        changed = config_files.differences(saved, config, ignore=MAY_CHANGE)
        if changed:
            raise UserError(f"a resumed run keeps its options: {'; '.join(changed)}")
    return Request(config, options.sources.resume, options.sources.estimate_cost)


def experiment(description: str, method: str | None = None, world: str = "crafter") -> None:
    """A script: parses the command line, runs, and turns a user's errors into one line.

    Exit status 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    with one_line_errors("stopped; --resume continues from the last checkpoint"):
        request = parse(sys.argv[1:], description, method, world)
        # Imported late: --help must not wait for PyTorch.
        if request.estimate_cost:
            from ellm_agent.cost_estimate import print_estimate

            print_estimate(request.config)
            return
        from ellm_agent.experiment import run_experiment

        run_experiment(request.config, request.resume)


def downstream(description: str, transfer: str) -> None:
    """A script: learns a task with a pretrained agent's help, by the same training call as ``experiment``.

    Args:
        description: the beginning of ``--help``.
        transfer: "finetune" or "guide", see ``config.downstream``.
    """
    with one_line_errors("stopped; run_crafter.py --resume continues from the last checkpoint"):
        config = parse_downstream(sys.argv[1:], description, transfer)
        from ellm_agent.experiment import run_experiment

        run_experiment(config)


def parse_downstream(arguments: Sequence[str], description: str, transfer: str) -> Config:
    """Reads the command line of such a script.

    Raises:
        UserError: naming the first thing that is wrong with it.
        SystemExit: after ``--help``, with status 0.
    """
    from ellm_agent.runs.folder import Run

    def read(defaults: Config) -> tuple[Downstream, Config]:
        @dataclass(frozen=True)
        class Options:
            which: Annotated[Downstream, tyro.conf.arg(name="")]
            run: Annotated[Config, tyro.conf.arg(name="")] = defaults

        options = parse_options(Options, words, description, [*config_files.options(), "from-scratch"])
        return options.which, options.run

    words = list(arguments)
    if any(word in ("-h", "--help") for word in words):
        read(PRESETS["default"])  # which ends here
    if not words or words[0].startswith("-"):
        raise UserError("the pretrained run's folder comes first, such as runs/NAME")
    task = _early(words, "task")["task"]
    if task is None:
        raise UserError("name a task: --task 'mine stone' (docs/tasks.md lists them)")
    folder = Path(words[0])
    pretraining = Run.open(folder).config
    with config_files.one_line():
        defaults = downstream_config(folder, pretraining, task, transfer)
        words = _with_world_options(words, registry.get(defaults.env.name).options, defaults.env.own)
        which, config = read(defaults)
        if which.from_scratch:
            defaults = from_scratch_config(folder, pretraining, task, transfer)
            _, config = read(defaults)
    before, now = config_files.flatten(defaults), config_files.flatten(config)
    for name in ("run.preset", "transfer.pretrained", "transfer.mode"):
        if now[name] != before[name]:
            raise UserError(
                f"{config_files.option(name)} is {now[name]}, but this script and {folder} make it {before[name]}"
            )
    return config_files.check(config)


def offline(description: str) -> None:
    """A script: learns from logs, by the same training call as ``experiment``."""
    with one_line_errors("stopped; --resume continues from the last checkpoint"):
        request = parse_offline(sys.argv[1:], description)
        from ellm_agent.experiment import run_experiment

        run_experiment(request.config, request.resume)


def parse_offline(arguments: Sequence[str], description: str) -> Request:
    """Reads the command line of ``experiments/offline.py``: folders of logs, then options.

    Raises:
        UserError: naming the first thing that is wrong with it.
        SystemExit: after ``--help``, with status 0.
    """
    words = list(arguments)
    folders = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    if any(word == "--resume" or word.startswith("--resume=") for word in words):
        if folders:
            raise UserError("a resumed run keeps its logs; give --resume without other folders")
        return parse(words, description)
    if any(word in ("-h", "--help") for word in words):
        defaults = PRESETS["default"]
    elif not folders:
        raise UserError("folders of logs come first, such as runs/NAME (played with --record)")
    else:
        from ellm_agent.datasets.logs import check_interface, interface_of

        preset = _early(words, "preset")["preset"] or "default"
        if preset not in PRESETS:
            raise UserError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
        with config_files.one_line():
            logged = [interface_of(Path(folder)) for folder in folders]
            defaults = offline_config(PRESETS[preset], logged[0], tuple(map(Path, folders)))

    @dataclass(frozen=True)
    class Options:
        folders: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
        """Runs played with --record, or datasets."""
        run: Annotated[Config, tyro.conf.arg(name="")] = defaults

    options = parse_options(Options, words, description, [*config_files.options(), "resume"])
    config = config_files.check(options.run)
    for interface in logged:  # before there is a run folder
        check_interface(interface, config)
    return Request(config, None)


def _with_world_options(
    arguments: Sequence[str], own: Mapping[str, str], defaults: Mapping[str, str]
) -> list[str]:
    """The command line with the options that only this world has (``--placements FILE``) as ``--world-options``.

    Raises:
        UserError: if one stands without a value.
    """
    given = {name: value for name, value in _early(arguments, *own).items() if value is not None}
    if not given:
        return list(arguments)
    words, left = list(arguments), []
    while words:
        word = words.pop(0)
        name = word.removeprefix("--").partition("=")[0] if word.startswith("--") else None
        if name not in given:
            left.append(word)
        elif "=" not in word:
            words.pop(0)
    pairs = [text for pair in ({**defaults, **given}).items() for text in pair]
    return [*left, "--world-options", *pairs]


def _early(arguments: Sequence[str], *names: str) -> dict[str, str | None]:
    """The values of options that decide about the defaults of the others.

    Raises:
        UserError: if one stands without a value.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(f"--{name}", default=None)
    try:
        return vars(parser.parse_known_args(list(arguments))[0])
    except argparse.ArgumentError as error:
        raise UserError(f"{error.argument_name} needs a value") from None
