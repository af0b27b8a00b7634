"""Runs methods x seeds x protocols, several at once, and keeps their raw results under ``results/<name>/``.

What is finished is not run again, so a sweep that was stopped goes on; a cell that was under way goes on from its last
checkpoint, so that its files are those of a sweep that was never stopped, but for what tells the time (a real language
model may answer otherwise). ``experiments/report.py`` makes tables and figures of the results.

With ``--tasks``, each method is what an agent is pretrained by (``none``: not at all), and each task is then learned by every
agent. Behind ``--`` stand further options of ``run_crafter.py``, for every run.
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
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ellm_agent import cli
from ellm_agent.analysis.results import Cell, keep
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run, write_whole
from ellm_agent.sweeps.plan import Options, plan, unfinished, with_pretraining, work_folder

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "experiments" / "run_crafter.py"
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
