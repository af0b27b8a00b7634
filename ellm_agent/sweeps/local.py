"""Runs a sweep on this machine: several runs at once, each in a process of its own. What is run is ``plan``'s matter.

The small default: it needs no package. ``cluster`` does the same with Ray, here or on many machines.

A cell that was under way goes on from its last checkpoint; what has results is not run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ellm_agent.analysis.results import Cell
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run
from ellm_agent.sweeps.job import Job, fail, failure, finish, jobs_left, prepare
from ellm_agent.sweeps.plan import Options, plan

INTERVAL = 0.5  # seconds between looks at the runs


def run_sweep(options: Options, more: Sequence[str] = ()) -> None:
    """Runs all cells that have no results yet.

    Args:
        options: what to compare.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, or some runs failed.
    """
    cells = plan(options, more)  # which refuses what makes no sense, before anything is written
    with lock(options.work / options.name):
        jobs = jobs_left(options, cells)
        fail(run_all(jobs, options.jobs), len(jobs))


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
    """A job under way, in a process of its own.

    Attributes:
        job: what it runs.
        popen: the process.
    """

    def __init__(self, job: Job):
        self.job = job
        if prepare(job):
            arguments = ["--resume", job.run_folder]
        else:
            arguments = ["--config", job.folder / "wanted.yaml", "--out", job.run_folder]
        command = [sys.executable, "-m", "ellm_agent.sweeps.child", str(os.getpid()), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with job.output.open("ab") as output:
            self.popen = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)

    def failure(self) -> str:
        """How it failed, with the last line that it printed."""
        return failure(self.job, f"status {self.popen.returncode}")


def ready(cell: Cell, waiting: Iterable[Cell], running: Iterable[Cell]) -> bool:
    """Whether a cell can be run: its pretraining, if it has one, is neither waiting nor running."""
    return not cell.task or cell.pretraining() not in {*waiting, *running}


def lost_with(failed: Cell, waiting: Iterable[Cell]) -> list[Cell]:
    """Cells that cannot be run any more because their pretraining has failed."""
    return [cell for cell in waiting if cell.task and cell.pretraining() == failed]


def run_all(jobs: Sequence[Job], at_once: int) -> list[str]:
    """Runs jobs, some at once, and keeps their results; one line for each that failed."""
    waiting, running, failed = {job.cell: job for job in jobs}, {}, []  # running: process -> its bar
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        all_runs = progress.add_task("all runs", total=len(jobs))
        try:
            while waiting or running:
                under_way = [process.job.cell for process in running]
                startable = [cell for cell in waiting if ready(cell, waiting, under_way)]
                for cell in startable[: at_once - len(running)]:
                    process = Process(waiting.pop(cell))
                    running[process] = progress.add_task(str(cell), total=process.job.config.run.frames)
                time.sleep(INTERVAL)
                for process, bar in list(running.items()):
                    if process.popen.poll() is None:
                        _show(process, progress, bar)
                        continue
                    if process.popen.returncode == 0:
                        finish(process.job)
                    else:
                        lost = lost_with(process.job.cell, waiting)
                        failed += [process.failure(), *(f"{cell}: its pretraining failed" for cell in lost)]
                        waiting = {cell: job for cell, job in waiting.items() if cell not in lost}
                    del running[process]
                    progress.remove_task(bar)
                    done = len(jobs) - len(waiting) - len(running)
                    progress.update(all_runs, completed=done)
                    outcome = "FAILED" if process.popen.returncode else "finished"
                    console.print(f"{done}/{len(jobs)} {process.job.cell} {outcome}", markup=False)
        finally:
            for process in running:
                process.popen.kill()
                process.popen.wait()
    return failed


def _show(process: Process, progress: Progress, bar: TaskID) -> None:
    """Shows in a terminal how far a run has come."""
    job = process.job
    rows = [] if progress.disable else Run(job.run_folder, job.config).read("metrics")
    if rows:
        state = f"{job.cell}: {rows[-1]['unlocks_per_episode']:.1f} unlocks"
        progress.update(bar, completed=rows[-1]["frames"], description=state)
