"""``experiments/preferences.py``: from a finished run to the run in which a reward is learned from preferences."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.config import MAY_CHANGE, PRESETS, Config
from ellm_agent.config import files as config_files
from ellm_agent.config.agent import ENTROPY
from ellm_agent.config.offline import online
from ellm_agent.config.suggester import NO_MISTAKES
from ellm_agent.errors import UserError

LABELS = 300  # unless --labels says otherwise


@dataclass(frozen=True)
class Which:
    """Options beside those of every run."""

    finished: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    suggestions: bool = False
    """Choose the best of four suggestions for a scene instead."""


@dataclass(frozen=True)
class Command:
    """A parsed command line.

    Attributes:
        folder: of the run that is named.
        suggestions: whether the page shows suggestions.
        config: of the run that begins or goes on.
        goes_on: whether the named run goes on.
    """

    folder: Path
    suggestions: bool
    config: Config
    goes_on: bool


def main(description: str) -> None:
    """The script, but for its errors.

    Raises:
        UserError: for anything that a user can correct.
    """
    command = parse(sys.argv[1:], description)
    if command.suggestions:
        from ellm_agent.preferences.suggestions import choose_suggestions

        choose_suggestions(command.folder, command.config)
        return
    if command.config.reward.preference.judge == "person" and not command.goes_on:
        print("preparing the first clips", flush=True)  # half a minute passes until the page's address
    from ellm_agent.experiment import run_experiment

    run_experiment(command.config, command.folder if command.goes_on else None)


def parse(arguments: list[str], description: str) -> Command:
    """Reads the command line.

    Raises:
        UserError: naming the first thing that is wrong with it.
        SystemExit: after ``--help``, with status 0.
    """
    from ellm_agent.runs.folder import Run

    def read(defaults: Config) -> tuple[Which, Config]:
        @dataclass(frozen=True)
        class Options:
            which: Annotated[Which, tyro.conf.arg(name="")]
            run: Annotated[Config, tyro.conf.arg(name="")] = defaults

        known = [*config_files.options(), "suggestions"]
        options = cli.parse_options(Options, arguments, description, known)
        return options.which, options.run

    if any(word in ("-h", "--help") for word in arguments):
        read(PRESETS["default"])  # which ends here
    if not arguments or arguments[0].startswith("-"):
        raise UserError("the finished run's folder comes first, such as runs/NAME")
    folder = Path(arguments[0])
    run = Run.open(folder)
    goes_on = run.config.reward.preference.labels > 0
    with config_files.one_line():
        defaults = run.config if goes_on else taught_config(folder, run.config)
        which, config = read(defaults)
    config = config_files.check(config)
    if which.suggestions:
        return Command(folder, True, config, goes_on)
    if goes_on:
        changed = config_files.differences(run.config, config, ignore=MAY_CHANGE)
        if changed:
            raise UserError(f"a resumed run keeps its options: {'; '.join(changed)}")
    elif not any(run.replays.glob("*.json")):
        raise UserError(f"{run.folder} holds no recorded episodes yet; they are kept when a run ends")
    if config.reward.preference.labels < 1:
        raise UserError(f"labels is {config.reward.preference.labels}; it must be at least 1")
    return Command(folder, False, config, goes_on)


def taught_config(folder: Path, finished: Config) -> Config:
    """The configuration of a run like a finished one, but with a reward learned from preferences alone.

    In place of an algorithm that learns from logs, which plays no frames, stands the one that learns on from it. The usual
    weight of the entropy bonus, which files up to 0.13.0 have written out, gives way to that of such runs.
    """
    entropy = finished.agent.on_policy.entropy
    return finished.changed(
        **{
            **online(finished),
            "run.out": None,
            "agent.on_policy.entropy": None if entropy == ENTROPY else entropy,
            "suggester.kind": "none",
            "suggester.learned_filter": False,
            **NO_MISTAKES,
            "reward.novelty.kind": None,
            "reward.extrinsic_weight": 0.0,
            "reward.success": "effect",
            "reward.preference.labels": LABELS,
            "reward.preference.recordings": folder,
            "transfer": {"mode": "none"},
        }
    )
