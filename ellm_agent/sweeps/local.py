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
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

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
    """A cell under way.

    Args:
        cell: its name.
        config: of the run.
        folder: in which it is run; what another configuration left there is deleted.
    """

    def __init__(self, cell: Cell, config: Config, folder: Path):
        self.cell, self.config, self.folder = cell, config, folder
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
            self._popen = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._popen.poll()

    def kill(self) -> None:
        """Ends it at once."""
        self._popen.kill()
        self._popen.wait()

    def latest(self) -> dict:
        """The last row of its metrics."""
        rows = Run(self.run_folder, self.config).read("metrics")
        return rows[-1] if rows else {"frames": 0}

    def last_line(self) -> str:
        """The last line that it printed."""
        lines = (self.folder / "output.txt").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "no output"


def ready(cell: Cell, waiting: Iterable[Cell], running: Iterable[Cell]) -> bool:
    """Whether a cell can be run: its pretraining, if it has one, is neither waiting nor running."""
    return not cell.task or cell.pretraining() not in {*waiting, *running}


def lost_with(failed: Cell, waiting: Iterable[Cell]) -> list[Cell]:
    """Cells that cannot be run any more because their pretraining has failed."""
    return [cell for cell in waiting if cell.task and cell.pretraining() == failed]


def run_all(cells: dict[Cell, Config], options: Options, results: Path) -> list[str]:
    """Runs cells, ``options.jobs`` at once, and keeps their results; one line for each that failed."""
    waiting, running, failed = dict(cells), [], []
    with SweepProgress(len(cells)) as progress:
        try:
            while waiting or running:
                under_way = [process.cell for process in running]
                for cell in [cell for cell in waiting if ready(cell, waiting, under_way)]:
                    if len(running) < options.jobs:
                        running.append(Process(cell, waiting.pop(cell), work_folder(cell, options)))
                time.sleep(INTERVAL)
                for process in [process for process in running if process.status() is not None]:
                    running.remove(process)
                    progress.finished(process)
                    if process.status() == 0:
                        _keep(process, results)
                        if process.cell.task or not options.tasks:  # or else tasks need its agent
                            shutil.rmtree(process.folder)
                        continue
                    what = f"status {process.status()}; delete {process.folder} to start it anew"
                    failed.append(f"{process.cell} ({what}): {process.last_line()}")
                    lost = lost_with(process.cell, waiting)
                    failed += [f"{cell}: its pretraining failed" for cell in lost]
                    waiting = {cell: config for cell, config in waiting.items() if cell not in lost}
                progress.running(running)
        finally:
            for process in running:
                process.kill()
    return failed


def _keep(process: Process, results: Path) -> None:
    """Keeps a finished cell's results, if that has not been done before."""
    folder = process.cell.folder(results)
    if not folder.is_dir():
        pretrained = process.config.transfer.pretrained
        origin = process.cell.pretraining().folder(Path()) if pretrained else None
        keep(Run.open(process.run_folder), folder, origin)


class SweepProgress:
    """One display for all runs: bars in a terminal, a line for each finished run elsewhere.

    Args:
        total: runs to do.
    """

    def __init__(self, total: int):
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
        )
        self._bars = Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal)
        self._total, self._done, self._tasks = total, 0, dict[Cell, TaskID]()

    def __enter__(self) -> SweepProgress:
        self._bars.start()
        self._all = self._bars.add_task("all runs", total=self._total, state=f"0/{self._total}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def running(self, processes: Sequence[Process]) -> None:
        """Shows how far the runs under way have come."""
        if self._bars.disable:
            return
        for process in processes:
            if process.cell not in self._tasks:
                total = process.config.run.frames
                self._tasks[process.cell] = self._bars.add_task(str(process.cell), total=total, state="")
            row = process.latest()
            state = f"{row.get('unlocks_per_episode', 0):.1f} unlocks"
            self._bars.update(self._tasks[process.cell], completed=row["frames"], state=state)

    def finished(self, process: Process) -> None:
        """Notes that a run has ended."""
        self._done += 1
        if process.cell in self._tasks:
            self._bars.remove_task(self._tasks.pop(process.cell))
        self._bars.update(self._all, completed=self._done, state=f"{self._done}/{self._total}")
        if self._bars.disable:
            outcome = "FAILED" if process.status() else "finished"
            print(f"{self._done}/{self._total} {process.cell} {outcome}", file=sys.stderr, flush=True)
