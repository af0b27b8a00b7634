"""What a sweep runs: its cells, their configurations, and which of them are left. ``experiments/compare.py`` runs them."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ellm_agent import cli
from ellm_agent.analysis.results import ANY, NOTHING, Cell
from ellm_agent.config import files as config_files
from ellm_agent.config.downstream import downstream_config, from_scratch_config
from ellm_agent.config.methods import METHODS, apply
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.llm.choice import settled

ROOT = Path(__file__).resolve().parents[2]
NAMED = {"--seed": "--seeds", "--algo": "--algos", "--protocol": "--protocols", "--frames": "--frames"}
# What a cell has of its own, whatever the others have.
OWN = (
    "--out",
    "--config",
    "--resume",
    "--threads",
    "--replays",
    "--tensorboard",
    "--no-tensorboard",
    "--estimate-cost",
)
# What makes a method. Not who answers, which stands in every table.
DECISIVE = {
    f"{section}.{name}"
    for changes in METHODS.values()
    for section, values in changes.items()
    for name in values
    if section in ("goals", "novelty") and not name.startswith("llm")
}
# What pretraining and tasks have their own values of.
SETTLED = (
    "--task",
    "--goal-mode",
    "--transfer",
    "--pretrained",
    "--extrinsic-weight",
    "--dqn.learning-rate",
    "--ppo.learning-rate",
)


@dataclass(frozen=True)
class Options:
    name: str = "comparison"
    """Name of the sweep: a folder under --results."""
    methods: tuple[str, ...] = ("open", "oracle", "rnd", "apt", "random")
    """Methods, see ellm_agent/methods.py."""
    algos: tuple[str, ...] = ("dqn", "ppo")
    """Learners that each method runs with."""
    protocols: tuple[str, ...] = ("crafter",)
    """Rules: crafter, ellm."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds; each is a run."""
    frames: int = 300_000
    """Frames of each run."""
    tasks: tuple[str, ...] = ()
    """Downstream tasks to learn after that (docs/tasks.md)."""
    task_frames: int = 200_000
    """Frames for each task."""
    transfer: Literal["finetune", "guide"] = "finetune"
    """How a pretrained agent helps with them: its networks learn on, or a fresh DQN explores with its actions."""
    label: str = ""
    """Goes behind the methods' names where further options make them others: oracle-LABEL."""
    jobs: int = os.cpu_count() or 1
    """Runs at once; each takes one core."""
    results: Path = ROOT / "results"
    """Where results are kept."""
    work: Path = Path("runs/compare")
    """Where runs are made; what is under way there can be thrown away."""


def plan(options: Options, more: Sequence[str] = ()) -> dict[Cell, Config]:
    """All cells and their configurations, in the order in which they are run: seed by seed.

    Args:
        options: what to compare.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, before anything is run.
    """
    _check(options, more)
    cells: dict[Cell, Config] = {}
    for seed, protocol, method, algo in itertools.product(
        options.seeds, options.protocols, options.methods, options.algos
    ):
        told = ["--protocol", protocol, "--seed", str(seed), "--frames", str(options.frames)]
        told += ["--threads", "1", "--replays", "0", "--no-tensorboard"]
        fixed = METHODS.get(method, {}).get("agent", {}).get("algo")
        if fixed and options.tasks:
            raise UserError(f"method is {method}, which learns nothing that a task could be learned from")
        told += [] if fixed else ["--algo", algo]
        like = "scratch" if method == NOTHING else method
        config = cli.parse([*more, *told], "", like).config
        if not options.label:
            _check_method(like, config)
        label = f"{method}-{options.label}" if options.label else method
        # An endpoint from the environment becomes part of the configuration: whoever goes on with the
        # sweep in another shell must not mix two models under one name.
        config = dataclasses.replace(config, goals=settled(config.goals))
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


def _check(options: Options, more: Sequence[str]) -> None:
    """
    Raises:
        UserError: for a name that is none, a method that does not exist, or a word that cells decide about.
    """
    for part in (options.name, options.label):
        if part and (part != Path(part).name or part == ".."):
            raise UserError(f"{part!r} is used as a folder's name; leave out slashes and dots")
    for method in options.methods:
        if method not in METHODS and not (options.tasks and method == NOTHING):
            raise UserError(f"method is {method!r}; choose from {', '.join(METHODS)}")
    if "random" in options.algos:
        raise UserError("algos is random, which is no learner; give it to --methods")
    cli.at_least(1, jobs=options.jobs, task_frames=options.task_frames)
    for word in more:
        option = word.partition("=")[0]
        name = option.replace("_", "-")
        if options.tasks and name in SETTLED:
            raise UserError(
                f"{option} cannot be given with --tasks: pretraining and tasks each have their own"
            )
        if name in NAMED:
            raise UserError(f"{option} is part of what runs are called; use {NAMED[name]} before the --")
        if name in OWN:
            raise UserError(f"{option} cannot be given here: every run of a sweep has its own")


def _check_method(method: str, config: Config) -> None:
    """
    Raises:
        UserError: if a configuration is not what its method's name says.
    """
    is_, should = (config_files.flatten(c) for c in (config, apply(method, PRESETS[config.preset])))
    for name in sorted(DECISIVE):
        if is_[name] != should[name]:
            raise UserError(
                f"{config_files.option(name)} is {is_[name]}, which makes {method} another method; name it with --label"
            )


def _downstream(cell: Cell, method: str, config: Config, task: str, options: Options) -> Config:
    """The run that learns a task after a cell's pretraining by a method."""
    frames, how = options.task_frames, from_scratch_config if method == NOTHING else downstream_config
    learning = how(work_folder(cell, options) / "run", config, task, options.transfer)
    # The paper's schedule ends in the middle of a run, however long that is; a DQN without a guide explores by itself.
    dqn = dataclasses.replace(learning.dqn, epsilon_frames=min(learning.dqn.epsilon_frames, frames // 2))
    return config_files.check(dataclasses.replace(learning, frames=frames, eval_every=frames, dqn=dqn))


def work_folder(cell: Cell, options: Options) -> Path:
    """Where a cell is run."""
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
        ignore = ["out", "threads", "replays", "transfer.pretrained"]
        if config.goals.goal_mode not in ("open", "closed"):  # nobody is asked, however that would be done
            ignore += [name for name in config_files.flatten(config) if name.startswith("goals.llm")]
        changed = config_files.differences(there, config, ignore)
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
