"""The plan of a sweep: its cells, their configurations, and which of them are left. Starts nothing; ``local`` runs it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ellm_agent import cli, run_commands
from ellm_agent.analysis.results import ANY, NOTHING, Cell
from ellm_agent.config import files as config_files
from ellm_agent.config.downstream import downstream_config, from_scratch_config
from ellm_agent.config.methods import METHODS, apply
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.llm import factory
from envs import registry

# Part of a cell's name: run_crafter.py's option -> the sweep's.
NAMED = {
    "--seed": "--seeds", "--algo": "--algos", "--protocol": "--protocols", "--frames": "--frames", "--world": "--world",
}  # fmt: skip
# Each run of a sweep has its own value of these.
PER_RUN = (
    "--out", "--config", "--resume", "--threads", "--replays", "--tensorboard", "--no-tensorboard", "--report", "--no-report", "--estimate-cost",
)  # fmt: skip
# Pretraining and tasks have their own values of these.
PER_TASK = (
    "--task", "--goal-mode", "--transfer", "--pretrained", "--extrinsic-weight", "--dqn.learning-rate", "--ppo.learning-rate",
)  # fmt: skip
# Options that define a method. Not which model answers (that stands in every table), nor the algorithm.
DEFINING = {
    name
    for changes in METHODS.values()
    for name in changes
    if name.startswith(("suggester.", "reward.")) and not name.startswith("suggester.llm.")
}
# Options in which a finished run may differ from the one that is wanted.
MAY_DIFFER = (
    "run.out", "run.threads", "run.device", "run.replays", "run.report", "run.track", "run.track_project", "transfer.pretrained",
    "reward.preference.pace", "reward.preference.port",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    name: str = "comparison"
    """Name of the sweep: a folder under --results."""
    methods: tuple[str, ...] = ("open", "oracle", "rnd", "apt", "random")
    """Methods, see ellm_agent/config/methods.py."""
    algos: tuple[str, ...] = ("dqn", "ppo")
    """Learners that each method runs with."""
    world: str = "crafter"
    """The world."""
    protocols: tuple[str, ...] = ()
    """Its rules, such as ellm. None: the world's first."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; each is a run."""
    frames: int = 300_000
    """Frames of each run."""
    tasks: tuple[str, ...] = ()
    """Downstream tasks to learn after that (docs/tasks.md)."""
    task_frames: int = 200_000
    """Frames for each task."""
    transfer: Literal["finetune", "guide"] = "finetune"
    """How a pretrained agent helps with them: its networks learn on, or a new DQN explores with its actions."""
    label: str = ""
    """Suffix for the methods' names where further options make them others: oracle-LABEL."""
    jobs: int = os.cpu_count() or 1
    """Runs at once on this machine; each takes one core."""
    cluster: str | None = None
    """local: run the cells as tasks of a Ray that is started here; HOST:PORT: of the Ray cluster with that head node
    (docs/scaling.md). None: processes of this machine, without Ray."""
    gpus: float = 0.0
    """Share of a GPU for each cell on a Ray cluster, where -- --device cuda uses it."""
    store: str | None = None
    """Address that all machines reach, where they share no folders, such as s3://bucket/sweeps (fsspec): runs are copied
    there after each checkpoint, and results. For --cluster and --cell."""
    print_commands: bool = False
    """Only print one command for each unfinished cell, such as for an array of Slurm jobs."""
    cell: int | None = None
    """Only run the cell with this number, in this process; --print-commands names them."""
    results: Path = Path("results")
    """Folder for results."""
    work: Path = Path("runs/compare")
    """Folder for the runs under way; it can be deleted."""


def plan(options: Options, more: Sequence[str] = ()) -> dict[Cell, Config]:
    """All cells and their configurations, in the order in which they are run: seed by seed.

    Args:
        options: what to compare.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, before anything is run.
    """
    with config_files.one_line():
        registry.get(options.world)
    _check(options, more)
    # Once for all seeds: parsing takes a tenth of a second, and a sweep may have hundreds of cells.
    configured = functools.cache(lambda *part: _configuration(options, more, *part))
    cells: dict[Cell, Config] = {}
    protocols = options.protocols or registry.get(options.world).protocols[:1]
    for seed, protocol, method, algo in itertools.product(
        options.seeds, protocols, options.methods, options.algos
    ):
        fixed = METHODS.get(method, {}).get("agent.algo")
        if fixed and options.tasks:
            raise UserError(f"method is {method}, which learns nothing that a task could be learned from")
        with config_files.one_line():
            config = configured(protocol, method, fixed or algo).changed(**{"run.seed": seed})
        label = f"{method}-{options.label}" if options.label else method
        # The control of a guided DQN has no agent behind it, whose algorithm could make it another.
        shared = fixed or (method == NOTHING and options.transfer == "guide")
        cell = Cell(protocol, ANY if shared else algo, label, seed)
        if method != NOTHING:
            cells[cell] = config
        for task in options.tasks:
            cells[dataclasses.replace(cell, task=task)] = _downstream(cell, method, config, task, options)
    if not cells:
        raise UserError("nothing to run; --methods, --algos, --protocols and --seeds need a value each")
    return cells


def _configuration(options: Options, more: Sequence[str], protocol: str, method: str, algo: str) -> Config:
    """The configuration of a cell, for any seed.

    Raises:
        UserError: if there is none, or it is not what its method's name says.
    """
    own = ["--protocol", protocol, "--frames", str(options.frames), "--threads", "1", "--replays", "0"]
    own += ["--no-report", "--no-tensorboard", "--algo", algo]
    like = "scratch" if method == NOTHING else method
    config = run_commands.parse([*more, *own], "", like, options.world).config
    if not options.label:
        _check_method(like, config)
    # An endpoint from the environment becomes part of the configuration: a sweep that is continued in another shell
    # must not mix two models under one name.
    return config.changed(
        suggester=factory.resolve(config.suggester, registry.get(config.env.name)).model_dump()
    )


def _check(options: Options, more: Sequence[str]) -> None:
    """
    Raises:
        UserError: for a name that is no folder's, a method that does not exist, or an option that cells have their own
            values of.
    """
    cli.folder_name(name=options.name, **({"label": options.label} if options.label else {}))
    for method in options.methods:
        if method not in METHODS and not (options.tasks and method == NOTHING):
            raise UserError(f"method is {method!r}; choose from {', '.join(METHODS)}")
    if "random" in options.algos:
        raise UserError("algos is random, which is no learner; give it to --methods")
    cli.at_least(1, jobs=options.jobs, task_frames=options.task_frames)
    if options.store and not options.cluster and not options.print_commands and options.cell is None:
        raise UserError(
            f"store is {options.store}; it is for --cluster and --cell, where machines share no folder"
        )
    if options.gpus < 0 or (options.gpus and not options.cluster):
        raise UserError(f"gpus is {options.gpus:g}; it is a share of a GPU, for --cluster only")
    for word in more:
        option = word.partition("=")[0]
        name = option.replace("_", "-")
        if options.tasks and name in PER_TASK:
            raise UserError(
                f"{option} cannot be given with --tasks: pretraining and tasks each have their own"
            )
        if name in NAMED:
            raise UserError(f"{option} is part of what runs are called; use {NAMED[name]} before the --")
        if name in PER_RUN:
            raise UserError(f"{option} cannot be given here: every run of a sweep has its own")


def _check_method(method: str, config: Config) -> None:
    """
    Raises:
        UserError: if a configuration is not what its method's name says.
    """
    usual = config_files.in_world(PRESETS[config.run.preset], config.env.name)
    is_, should = (config_files.flatten(c) for c in (config, apply(method, usual)))
    for name in sorted(DEFINING):
        if is_[name] != should[name]:
            raise UserError(
                f"{config_files.option(name)} is {is_[name]}, which makes {method} another method; name it with --label"
            )


def _downstream(cell: Cell, method: str, config: Config, task: str, options: Options) -> Config:
    """The run that learns a task after a cell's pretraining by a method."""
    frames, how = options.task_frames, from_scratch_config if method == NOTHING else downstream_config
    with config_files.one_line():
        learning = how(work_folder(cell, options) / "run", config, task, options.transfer)
        # The paper's schedule ends in the middle of a run, however long that is.
        epsilon_frames = max(1, min(learning.agent.dqn.epsilon_frames, frames // 2))
        changes = {"run.frames": frames, "run.eval_every": frames, "agent.dqn.epsilon_frames": epsilon_frames}
        return config_files.check(learning.changed(**changes))


def work_folder(cell: Cell, options: Options) -> Path:
    """The folder in which a cell is run."""
    return (
        options.work / options.name / "-".join(str(part) for part in dataclasses.astuple(cell) if part != "")
    )


def unfinished(cells: dict[Cell, Config], results: Path) -> dict[Cell, Config]:
    """Cells without results.

    Raises:
        UserError: if there are results of another configuration.
    """
    left = {}
    for cell, config in cells.items():
        folder = cell.folder(results)
        if not folder.is_dir():
            left[cell] = config
            continue
        there = config_files.load(folder / "config.yaml")
        without_effect = () if config.suggester.asks_model else ("suggester.llm.",)
        without_effect += ("agent.on_policy.",) if config.agent.algo == "dqn" else ("agent.dqn.",)
        ignore = [*MAY_DIFFER, *(n for n in config_files.flatten(config) if n.startswith(without_effect))]
        changed = config_files.differences(there.resolved, config.resolved, ignore)
        if changed:
            raise UserError(f"{folder} holds another run ({'; '.join(changed)}); choose another --name")
    return left


def with_pretraining(
    left: dict[Cell, Config], cells: dict[Cell, Config], options: Options
) -> dict[Cell, Config]:
    """Cells to run, those included that have results but whose agents are wanted and gone."""
    wanted = {cell.pretraining() for cell in left if left[cell].transfer.pretrained}
    gone = {cell for cell in wanted if not _is_there(cell, cells[cell], options)}
    return {cell: config for cell, config in cells.items() if cell in left or cell in gone}


def _is_there(cell: Cell, config: Config, options: Options) -> bool:
    """Whether a cell's finished run still lies where it was made."""
    folder = work_folder(cell, options)
    wanted, finished = folder / "wanted.yaml", (folder / "run" / "summary.json").is_file()
    return finished and wanted.is_file() and wanted.read_text() == config_files.to_yaml(config)
