"""Tuning of any options with Optuna: trials are runs, and one whose learning curve stays below the median is stopped.

The study lies in a journal file that several processes share, here or on machines with a shared folder: each of them plays
trials until there are enough. A trial whose process has ended goes on from its runs' last checkpoints.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from ellm_agent import cli, run_commands
from ellm_agent.analysis.results import Cell
from ellm_agent.config import files as config_files
from ellm_agent.config.methods import METHODS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run, write_whole
from ellm_agent.sweeps.job import Job
from ellm_agent.sweeps.local import Process, lock
from ellm_agent.terminal import print_stderr
from envs import registry

INTERVAL = 0.5  # seconds between looks at a run
STARTUP = 4  # trials that are never pruned
WARM_UP = 0.25  # share of a run in which nothing is pruned
JOURNAL = "journal.log"
FOLDER = "folder"  # attribute of a trial: the one that it goes on from
FAILED = 3  # runs in a row that fail before tuning gives up
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Options:
    name: str = "tuning"
    """Name of the study: a folder under --work, and a file under --results."""
    space: tuple[str, ...] = ()
    """Options to tune, each with its range or its choices: ppo.learning-rate=1e-4..1e-2:log ppo.epochs=1..8
    agent.hidden=128,256."""
    method: str = "oracle"
    """Method that is tuned, see ellm_agent/config/methods.py."""
    trials: int = 20
    """Trials of the study, over all processes; the first has the defaults."""
    seeds: tuple[int, ...] = (100, 101)
    """Seeds of each trial. Those below 100 are for reported results."""
    frames: int = 100_000
    """Frames of each run."""
    results: Path = Path("results/tuning")
    """Folder for the study's table."""
    work: Path = Path("runs/tune")
    """Folder of the study's journal and of the runs under way; processes that share it work on one study."""


@dataclass(frozen=True)
class Range:
    """The values of an option that is tuned.

    Attributes:
        option: its name on the command line.
        low, high: the bounds, both possible.
        log: whether the logarithm is uniform.
        choices: in place of bounds.
    """

    option: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Range:
        """Reads ``option=low..high``, ``option=low..high:log`` or ``option=a,b,c``.

        Raises:
            UserError: if it is none of them.
        """
        option, _, values = text.partition("=")
        option = option.lstrip("-")
        if option not in config_files.options():
            raise cli.unknown_option([f"--{option}"], config_files.options())
        bounds, colon, scale = values.partition(":")
        low, dots, high = bounds.partition("..")
        if not dots:
            choices = tuple(values.split(","))
            if len(choices) < 2 or not all(choices):
                raise UserError(
                    f"space is {text!r}; write OPTION=LOW..HIGH, OPTION=LOW..HIGH:log or OPTION=A,B"
                )
            return cls(option, choices=choices)
        try:
            found = cls(option, _number(low), _number(high), log=bool(colon))
        except ValueError:
            raise UserError(f"space is {text!r}; {low!r} and {high!r} must be numbers") from None
        finite = math.isfinite(found.low) and math.isfinite(found.high)
        fits = finite and found.low < found.high and (found.low > 0 or not found.log)
        if not fits or scale not in ("", "log"):
            raise UserError(f"space is {text!r}; it needs LOW < HIGH, and with :log LOW above 0")
        return found

    def suggest(self, trial: Trial) -> Any:
        """A value for a trial."""
        if self.choices:
            return trial.suggest_categorical(self.option, self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.option, self.low, self.high, log=self.log)
        return trial.suggest_float(self.option, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        if self.choices:
            return str(value) in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


def tune(options: Options, more: Sequence[str] = ()) -> dict[str, Any]:
    """Plays trials until the study has enough; its table, which is also written.

    Args:
        options: what to tune.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, or runs keep failing.
    """
    cli.folder_name(name=options.name)
    cli.at_least(1, trials=options.trials, frames=options.frames)
    ranges = [Range.parse(text) for text in options.space]
    if not ranges or not options.seeds:
        raise UserError("nothing to tune; --space and --seeds need a value each")
    cli.at_least(0, seeds=min(options.seeds))
    if len({own.option for own in ranges}) < len(ranges):
        raise UserError(f"space is {' '.join(options.space)}; it names an option twice")
    if options.method not in METHODS:
        raise UserError(f"method is {options.method!r}; choose from {', '.join(METHODS)}")
    defaults = _config(options, more, {})
    folder = options.work / options.name
    study = _study(options, more, folder, ranges, defaults)
    failed = 0
    while _wanted(study, options.trials):
        _adopt(study, folder)
        trial = study.ask()
        home = folder / trial.user_attrs.get(FOLDER, f"trial{trial.number}")
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(lock(home))
            except UserError:  # another process is just looking whether the trial's process has ended
                continue
            if _state(study, trial) != TrialState.RUNNING:  # and has put it back into the queue
                continue
            outcome = _play(trial, ranges, options, more, home)
            _tell(study, trial, outcome)
        failed = failed + 1 if isinstance(outcome, str) else 0
        if failed == FAILED:
            raise UserError(f"{FAILED} trials in a row failed, the last: {outcome}")
    table = _table(study, options, more)
    options.results.mkdir(parents=True, exist_ok=True)
    write_whole(options.results / f"{options.name}.json", json.dumps(table, indent=1))
    return table


def _tell(study: optuna.Study, trial: Trial, outcome: float | str | None) -> None:
    """Tells the study, and the user, how a trial ended; see ``_play``."""
    if isinstance(outcome, str):
        study.tell(trial, state=TrialState.FAIL)
        print_stderr(f"trial {trial.number} FAILED: {outcome}")
        return
    study.tell(trial, outcome, state=TrialState.PRUNED if outcome is None else TrialState.COMPLETE)
    value = "pruned" if outcome is None else f"{outcome:.2f}"
    print_stderr(f"trial {trial.number}: {value}  {as_options(trial.params)}")


def _number(text: str) -> float:
    """A whole number if the text is one."""
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def as_options(params: Mapping[str, Any]) -> str:
    """Parameters as options."""
    return " ".join(
        f"--{name} {value:.3g}" if isinstance(value, float) else f"--{name} {value}"
        for name, value in params.items()
    )


def _config(options: Options, more: Sequence[str], params: Mapping[str, Any]) -> Config:
    """The configuration of a trial's runs, but for their seeds."""
    own = [
        "--frames",
        str(options.frames),
        "--threads",
        "1",
        "--replays",
        "0",
        "--no-tensorboard",
        "--no-report",
    ]
    tuned = [word for name, value in params.items() for word in (f"--{name}", str(value))]
    return run_commands.parse([*more, *own, *tuned], "", options.method).config


def _study(
    options: Options, more: Sequence[str], folder: Path, ranges: Sequence[Range], defaults: Config
) -> optuna.Study:
    """The study in its file, made if there is none. Its first trial has the defaults, where these are in the space.

    Raises:
        UserError: if the file cannot be read, or holds another study.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            study_name=options.name,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(constant_liar=True),
            pruner=optuna.pruners.MedianPruner(STARTUP, int(WARM_UP * options.frames)),
        )
        wanted = {
            "method": options.method,
            "options": list(more),
            "space": list(options.space),
            "seeds": list(options.seeds),
            "frames": options.frames,
        }
        known = study.user_attrs.get("wanted")
        if known is None:
            study.set_user_attr("wanted", wanted)
        elif known != wanted:
            raise UserError(f"{folder} holds a study of {known}; choose another --name")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / JOURNAL} is no study, or a damaged one; choose another --name") from error
    flat = {
        config_files.option(name): value for name, value in config_files.flatten(defaults.resolved).items()
    }
    usual = {own.option: flat.get(own.option) for own in ranges}
    if all(own.holds(usual[own.option]) for own in ranges):
        study.enqueue_trial(
            {own.option: str(usual[own.option]) if own.choices else usual[own.option] for own in ranges},
            skip_if_exists=True,
        )
    return study


def _wanted(study: optuna.Study, trials: int) -> bool:
    """Whether another trial is to be played: too few have ended or are under way, or one waits."""
    found = study.get_trials(deepcopy=False)
    under_way = sum(trial.state in (*ENDED, TrialState.RUNNING) for trial in found)
    return under_way < trials or any(trial.state == TrialState.WAITING for trial in found)


def _adopt(study: optuna.Study, folder: Path) -> None:
    """Puts trials whose process has ended back into the queue; their runs go on from their checkpoints."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        home = trial.user_attrs.get(FOLDER, f"trial{trial.number}")
        try:
            with lock(folder / home):
                if _state(study, trial) == TrialState.RUNNING:
                    study.tell(trial.number, state=TrialState.FAIL)
                    study.enqueue_trial(trial.params, user_attrs={FOLDER: home})
        except UserError:
            continue  # it is at work


def _state(study: optuna.Study, trial: Trial | FrozenTrial) -> TrialState:
    return study.get_trials(deepcopy=False)[trial.number].state


def _play(
    trial: Trial, ranges: Sequence[Range], options: Options, more: Sequence[str], home: Path
) -> float | str | None:
    """A trial's mean score over its seeds; None: it was pruned; a line: it failed."""
    params = {own.option: own.suggest(trial) for own in ranges}
    try:
        trial_config = _config(options, more, params)
    except UserError as error:  # values that do not go together
        return str(error)
    scores: list[float] = []
    for number, seed in enumerate(options.seeds):
        config = trial_config.changed(**{"run.seed": seed})
        cell = Cell(config.env.options["protocol"], config.agent.algo, f"trial {trial.number}", seed)
        job = Job(cell, config, home / f"seed{seed}", options.results, keeps_agent=True)

        def poor(frames: int, score: float, first: int = number * options.frames) -> bool:
            trial.report(float(np.mean([*scores, score])), first + frames)
            return trial.should_prune()

        score = _run(job, poor)
        if not isinstance(score, float):
            return score
        scores.append(score)
    return float(np.mean(scores))


def _run(job: Job, poor: Callable[[int, float], bool]) -> float | str | None:
    """Runs a job; its last score, None if it was stopped because it was poor, or a line if it failed."""
    name = registry.get(job.config.env.name).score[0]
    process, seen = Process(job), 0
    try:
        while True:
            ended = process.popen.poll() is not None
            rows = Run(job.run_folder, job.config).read("metrics")
            for row in rows[seen:]:
                if poor(row["frames"], row[name]):
                    return None
            seen = len(rows)
            if ended:
                return float(rows[-1][name]) if process.popen.returncode == 0 else process.failure()
            time.sleep(INTERVAL)
    finally:
        process.popen.kill()
        process.popen.wait()


def _table(study: optuna.Study, options: Options, more: Sequence[str]) -> dict[str, Any]:
    """The study for people: every trial, and the best."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "score": trial.value,
            "params": trial.params,
            "curve": sorted(trial.intermediate_values.items()),
        }
        for trial in study.get_trials(deepcopy=False)
        if trial.state in ENDED
    ]
    complete = [row for row in rows if row["state"] == "complete"]
    best = max(complete, key=lambda row: row["score"], default=None)
    return {
        "space": list(options.space),
        "method": options.method,
        "options": list(more),
        "seeds": list(options.seeds),
        "frames": options.frames,
        "best": best and {"trial": best["trial"], "score": best["score"], "params": best["params"]},
        "trials": rows,
    }
