"""Runs methods x seeds x protocols, several at once, and keeps their raw results under ``results/<name>/``.

What is finished is not run again, so a sweep that was stopped goes on; a cell that was under way goes on from its last
checkpoint, so that its files are those of a sweep that was never stopped, but for what tells the time (a real language
model may answer otherwise). ``experiments/report.py`` makes tables and figures of the results.

With ``--tasks``, each method is what an agent is pretrained by (``none``: not at all), and each task is then learned by every
agent. Behind ``--`` stand further options of ``run_crafter.py``, for every run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ellm_agent import cli, config_files
from ellm_agent.comparison import ANY, NOTHING, Cell, keep
from ellm_agent.config import PRESETS, Config
from ellm_agent.errors import UserError
from ellm_agent.llm.choice import settled
from ellm_agent.methods import METHODS, apply
from ellm_agent.runs import Run, write_whole
from ellm_agent.transfer import control, settings

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "experiments" / "run_crafter.py"
NAMED = {"--seed": "--seeds", "--algo": "--algos", "--protocol": "--protocols", "--frames": "--frames"}
# What a cell has of its own, whatever the others have.
OWN = (
    "--out",
    "--config",
    "--resume",
    "--threads",
    "--replays",
    "--no-replays",
    "--tensorboard",
    "--no-tensorboard",
)
OWN += ("--estimate-cost",)
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
# A run ends with the sweep, however that ends: it looks after its parent, which no signal can prevent.
ORPHANS = """
import os, runpy, sys, threading, time
def watch(parent):
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
threading.Thread(target=watch, args=(int(sys.argv[1]),), daemon=True).start()
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


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
    frames, how = options.task_frames, control if method == NOTHING else settings
    learning = how(work_folder(cell, options) / "run", config, task, options.transfer)
    # The paper's schedule ends in the middle of a run, however long that is; a DQN without a guide explores by itself.
    dqn = dataclasses.replace(learning.dqn, epsilon_frames=min(learning.dqn.epsilon_frames, frames // 2))
    return config_files.check(dataclasses.replace(learning, frames=frames, eval_every=frames, dqn=dqn))


def work_folder(cell: Cell, options: Options) -> Path:
    """Where a cell is run."""
    return (
        options.work / options.name / "-".join(str(part) for part in dataclasses.astuple(cell) if part != "")
    )


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuses a second sweep of the same name, and lets a polite kill end this one as Ctrl-C does.

    Raises:
        UserError: if one is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"another sweep is working in {folder}; wait for it, or choose another --name"
            ) from error
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        yield


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


class Running:
    """A cell under way, in a process of its own."""

    def __init__(self, cell: Cell, config: Config, folder: Path):
        self.cell, self.config, self.folder = cell, config, folder
        wanted, text = self.folder / "wanted.yaml", config_files.to_yaml(config)
        if wanted.exists() and wanted.read_text() == text and (self.run_folder / "config.yaml").exists():
            arguments = ["--resume", self.run_folder]
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_whole(wanted, text)
            arguments = ["--config", wanted, "--out", self.run_folder]
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ORPHANS, str(os.getpid()), SCRIPT, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    def latest(self) -> dict:
        """The last row of its metrics."""
        rows = Run(self.run_folder, self.config).read("metrics")
        return rows[-1] if rows else {"frames": 0}

    def complaint(self) -> str:
        """The last line that it printed."""
        lines = (self.folder / "output.txt").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "no output"


def ready(cell: Cell, waiting: Iterable[Cell], running: Iterable[Cell]) -> bool:
    """Whether a cell can be run: what it starts from is there."""
    return not cell.task or cell.pretraining() not in {*waiting, *running}


def lost_with(failed: Cell, waiting: Iterable[Cell]) -> list[Cell]:
    """Cells that cannot be run any more because one has failed."""
    return [cell for cell in waiting if cell.task and cell.pretraining() == failed]


def work_through(cells: dict[Cell, Config], options: Options, results: Path) -> list[str]:
    """Runs cells, several at once; returns what failed."""
    waiting, running, failed = dict(cells), [], []
    with progress(len(cells)) as show:
        try:
            while waiting or running:
                under_way = [one.cell for one in running]
                for cell in [cell for cell in waiting if ready(cell, waiting, under_way)]:
                    if len(running) < options.jobs:
                        running.append(Running(cell, waiting.pop(cell), work_folder(cell, options)))
                time.sleep(0.5)
                for one in list(running):
                    if one.process.poll() is None:
                        continue
                    running.remove(one)
                    if one.process.returncode == 0:
                        _keep(one, results)
                        if one.cell.task or not options.tasks:  # or else its agent is still wanted
                            shutil.rmtree(one.folder)
                    else:
                        told = f"status {one.process.returncode}; delete {one.folder} to start it anew"
                        failed.append(f"{one.cell} ({told}): {one.complaint()}")
                        lost = lost_with(one.cell, waiting)
                        failed += [f"{cell}: its pretraining failed" for cell in lost]
                        waiting = {cell: config for cell, config in waiting.items() if cell not in lost}
                    show.finished(one, one.process.returncode == 0)
                show.running(running)
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
    return failed


def _keep(one: Running, results: Path) -> None:
    """Keeps a finished cell's results, if that has not been done before."""
    folder = one.cell.folder(results)
    if not folder.is_dir():
        origin = one.cell.pretraining().folder(Path()) if one.config.transfer.pretrained else None
        keep(Run.open(one.run_folder), folder, origin)


class progress:
    """One display for all runs: bars in a terminal, a line for each finished run elsewhere.

    Args:
        total: runs to do.
    """

    def __init__(self, total: int):
        self._console, self._total, self._done = Console(stderr=True), total, 0

    def __enter__(self) -> progress:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
        )
        self._bars = Progress(
            *columns, TimeElapsedColumn(), console=self._console, disable=not self._console.is_terminal
        )
        self._bars.start()
        self._all = self._bars.add_task("all runs", total=self._total, state=f"0/{self._total}")
        self._tasks: dict[Cell, int] = {}
        return self

    def __exit__(self, *_) -> None:
        self._bars.stop()

    def running(self, cells: list[Running]) -> None:
        """Shows how far the runs under way have come."""
        if self._bars.disable:
            return
        for one in cells:
            if one.cell not in self._tasks:
                self._tasks[one.cell] = self._bars.add_task(str(one.cell), total=one.config.frames, state="")
            row = one.latest()
            state = f"{row.get('unlocks_per_episode', 0):.1f} unlocks"
            self._bars.update(self._tasks[one.cell], completed=row["frames"], state=state)

    def finished(self, one: Running, well: bool) -> None:
        """Notes that a run has ended."""
        self._done += 1
        if one.cell in self._tasks:
            self._bars.remove_task(self._tasks.pop(one.cell))
        self._bars.update(self._all, completed=self._done, state=f"{self._done}/{self._total}")
        if self._bars.disable:
            print(
                f"{self._done}/{self._total} {one.cell} {'finished' if well else 'FAILED'}",
                file=sys.stderr,
                flush=True,
            )


def main(options: Options, more: Sequence[str] = ()) -> None:
    """Runs what is not finished.

    Args:
        options: what to compare.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, or some runs failed.
    """
    results = options.results / options.name
    cells = plan(options, more)
    with alone(options.work / options.name):
        left = unfinished(cells, results)
        done = len(cells) - len(left)
        left = with_pretraining(left, cells, options)
        print(f"{len(cells)} runs, {done} finished before; results in {results}", file=sys.stderr)
        failed = work_through(left, options, results)
    if failed:
        raise UserError(f"{len(failed)} of {len(left)} runs failed: {'; '.join(failed)}")


if __name__ == "__main__":
    with cli.one_line_errors():
        words = sys.argv[1:]
        cut = words.index("--") if "--" in words else len(words)
        main(cli.parse_options(Options, words[:cut], __doc__), words[cut + 1 :])
