"""Runs a sweep on this machine: several runs at once, each in a process of its own. What is run is ``plan``'s matter.

A cell that was under way goes on from its last checkpoint; what has results is not run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ellm_agent.analysis.results import Cell, keep
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run, write_whole
from ellm_agent.sweeps.plan import Options, plan, unfinished, with_pretraining, work_folder

INTERVAL = 0.5  # seconds between looks at the runs


def run_sweep(options: Options, more: Sequence[str] = ()) -> None:
    """Runs all cells that have no results yet.

    Args:
        options: what to compare.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, or some runs failed.
    """
    results = options.results / options.name
    cells = plan(options, more)
    with lock(options.work / options.name):
        left = unfinished(cells, results)
        done = len(cells) - len(left)
        left = with_pretraining(left, cells, options)
        print(f"{len(cells)} runs, {done} finished before; results in {results}", file=sys.stderr)
        failed = run_all(left, options, results)
    if failed:
        raise UserError(f"{len(failed)} of {len(left)} runs failed: {'; '.join(failed)}")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Refuses a second sweep of the same name, and lets SIGTERM end this one as Ctrl-C does.

    Raises:
        UserError: if one is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"another sweep is working in {folder}; wait for it, or choose another --name"
            ) from error
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        yield


class Process:
    """A cell under way, in a process of its own.

    Args:
        cell: its name.
        config: of the run.
        folder: in which it is run; what another configuration left there is deleted.

    Attributes:
        run_folder: of the run.
        popen: the process.
    """

    def __init__(self, cell: Cell, config: Config, folder: Path):
        self.cell, self.config, self.folder, self.run_folder = cell, config, folder, folder / "run"
        wanted, text = folder / "wanted.yaml", config_files.to_yaml(config)
        if wanted.exists() and wanted.read_text() == text and (self.run_folder / "config.yaml").exists():
            arguments = ["--resume", self.run_folder]
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_whole(wanted, text)
            arguments = ["--config", wanted, "--out", self.run_folder]
        command = [sys.executable, "-m", "ellm_agent.sweeps.child", str(os.getpid()), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (folder / "output.txt").open("ab") as output:
            self.popen = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)

    def failure(self) -> str:
        """How it failed, with the last line that it printed."""
        lines = (self.folder / "output.txt").read_text(errors="replace").splitlines()
        status = f"status {self.popen.returncode}; delete {self.folder} to start it anew"
        return f"{self.cell} ({status}): {lines[-1] if lines else 'no output'}"


def ready(cell: Cell, waiting: Iterable[Cell], running: Iterable[Cell]) -> bool:
    """Whether a cell can be run: its pretraining, if it has one, is neither waiting nor running."""
    return not cell.task or cell.pretraining() not in {*waiting, *running}


def lost_with(failed: Cell, waiting: Iterable[Cell]) -> list[Cell]:
    """Cells that cannot be run any more because their pretraining has failed."""
    return [cell for cell in waiting if cell.task and cell.pretraining() == failed]


def run_all(cells: dict[Cell, Config], options: Options, results: Path) -> list[str]:
    """Runs cells, ``options.jobs`` at once, and keeps their results; one line for each that failed."""
    waiting, running, failed = dict(cells), {}, []  # running: process -> its bar
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        all_runs = progress.add_task("all runs", total=len(cells))
        try:
            while waiting or running:
                under_way = [process.cell for process in running]
                startable = [cell for cell in waiting if ready(cell, waiting, under_way)]
                for cell in startable[: options.jobs - len(running)]:
                    process = Process(cell, waiting.pop(cell), work_folder(cell, options))
                    running[process] = progress.add_task(str(cell), total=process.config.run.frames)
                time.sleep(INTERVAL)
                for process, bar in list(running.items()):
                    if process.popen.poll() is None:
                        _show(process, progress, bar)
                        continue
                    if process.popen.returncode == 0:
                        _keep(process, options, results)
                    else:
                        lost = lost_with(process.cell, waiting)
                        failed += [process.failure(), *(f"{cell}: its pretraining failed" for cell in lost)]
                        waiting = {cell: config for cell, config in waiting.items() if cell not in lost}
                    del running[process]
                    progress.remove_task(bar)
                    done = len(cells) - len(waiting) - len(running)
                    progress.update(all_runs, completed=done)
                    outcome = "FAILED" if process.popen.returncode else "finished"
                    console.print(f"{done}/{len(cells)} {process.cell} {outcome}", markup=False)
        finally:
            for process in running:
                process.popen.kill()
                process.popen.wait()
    return failed


def _show(process: Process, progress: Progress, bar: TaskID) -> None:
    """Shows in a terminal how far a run has come."""
    rows = [] if progress.disable else Run(process.run_folder, process.config).read("metrics")
    if rows:
        state = f"{process.cell}: {rows[-1]['unlocks_per_episode']:.1f} unlocks"
        progress.update(bar, completed=rows[-1]["frames"], description=state)


def _keep(process: Process, options: Options, results: Path) -> None:
    """Keeps a finished cell's results, if that has not been done before, and deletes what nobody needs any more."""
    folder = process.cell.folder(results)
    if not folder.is_dir():
        pretrained = process.config.transfer.pretrained
        origin = process.cell.pretraining().folder(Path()) if pretrained else None
        keep(Run.open(process.run_folder), folder, origin)
    if process.cell.task or not options.tasks:  # or else tasks need its agent
        shutil.rmtree(process.folder)
