"""One cell of a sweep, from its folder to its kept results: the part that all ways to run a sweep share.

``local`` runs it in a process of this machine, ``cluster`` as a Ray task, ``commands`` as a job of an array. It may be
killed at any moment and run again, here or elsewhere: it goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ellm_agent.analysis.results import Cell, keep
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run, is_claimed, write_whole
from ellm_agent.sweeps.plan import Options, unfinished, with_pretraining, work_folder
from ellm_agent.sweeps.store import Store, take_over

PATIENCE = 60.0  # seconds that a lost node's process may take to release a run
INTERVAL = 0.2  # seconds between looks
LAST = "summary.json"  # of the files of results, in alphabetical order: it is sent last


@dataclass(frozen=True)
class Job:
    """A cell to run.

    Attributes:
        cell: its name.
        config: of its run.
        folder: in which it is run; what another configuration left there is deleted.
        results: folder of the sweep's results.
        keeps_agent: whether the run stays after its results are kept, because tasks need its agent.
        store: address that its folder and its results are copied to; None: all machines share the folders.
    """

    cell: Cell
    config: Config
    folder: Path
    results: Path
    keeps_agent: bool
    store: str | None = None

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    @property
    def output(self) -> Path:
        """What its run has printed."""
        return self.folder / "output.txt"


def jobs_left(options: Options, cells: dict[Cell, Config]) -> list[Job]:
    """The jobs of all cells that have no results yet, and of pretraining whose agent is wanted and gone.

    Args:
        options: of the sweep.
        cells: its plan.

    Raises:
        UserError: if there are results of another configuration.
    """
    results = options.results / options.name
    if options.store:
        fetch_results(options)
    left = unfinished(cells, results)
    print(
        f"{len(cells)} runs, {len(cells) - len(left)} finished before; results in {results}", file=sys.stderr
    )
    return [
        Job(
            cell,
            config,
            work_folder(cell, options),
            results,
            bool(options.tasks and not cell.task),
            options.store,
        )
        for cell, config in with_pretraining(left, cells, options).items()
    ]


def prepare(job: Job) -> bool:
    """Readies the job's folder. Whether a run of this configuration is there already, which goes on."""
    wanted, text = job.folder / "wanted.yaml", config_files.to_yaml(job.config)
    if wanted.exists() and wanted.read_text() == text and (job.run_folder / "config.yaml").exists():
        return True
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    write_whole(wanted, text)
    return False


def run(job: Job) -> None:
    """Runs a job to its end in this process, which should have no other use, and keeps its results.

    Raises:
        UserError: if another process does not release its run.
        Exception: whatever ends a run early.
    """
    from ellm_agent.experiment import run_experiment  # imports PyTorch

    if job.store:
        _take_over(job)
    store = Store(job.store) if job.store else None
    if job.cell.folder(job.results).is_dir() and not job.keeps_agent:  # killed after its results were kept
        if store:
            _send(job, store)
        return
    deadline = time.monotonic() + PATIENCE
    while is_claimed(job.run_folder):
        if time.monotonic() > deadline:
            raise UserError(f"another process is writing the run in {job.run_folder}")
        time.sleep(INTERVAL)
    goes_on = prepare(job)
    with contextlib.ExitStack() as closing:
        output = closing.enter_context(job.output.open("a"))
        closing.enter_context(contextlib.redirect_stdout(output))
        closing.enter_context(contextlib.redirect_stderr(output))
        if store:
            closing.enter_context(store.following(job.folder, _in_store(job)))
        if goes_on:
            run_experiment(Run.open(job.run_folder).config, resume=job.run_folder)
        else:
            run_experiment(job.config.changed(**{"run.out": job.run_folder}))
    finish(job)
    if store:
        _send(job, store)


def _send(job: Job, store: Store) -> None:
    """Copies a finished job's results to the store, and its agent if it is kept."""
    store.send(job.cell.folder(job.results), _results_in_store(job))
    if job.keeps_agent:
        store.send(job.folder, _in_store(job))
    else:
        store.remove(_in_store(job))


def fetch_results(options: Options) -> None:
    """Copies the results that are at the store's address and not here."""
    Store(options.store).fetch_whole(f"{options.name}/results", options.results / options.name, LAST)


def _take_over(job: Job) -> None:
    """Copies what other machines have done of a job, and the agent that it starts from."""
    store, done = Store(job.store), job.cell.folder(job.results)
    store.fetch_whole(_results_in_store(job), done, LAST)
    take_over(store, _in_store(job), job.folder)
    if job.config.transfer.pretrained:
        before = job.config.transfer.pretrained.parent
        take_over(store, f"{job.results.name}/work/{before.name}", before)


def _in_store(job: Job) -> str:
    """The name of a job's folder at the store's address."""
    return f"{job.results.name}/work/{job.folder.name}"


def _results_in_store(job: Job) -> str:
    """The name of a job's results at the store's address."""
    return f"{job.results.name}/results/{job.cell.folder(Path()).as_posix()}"


def finish(job: Job) -> None:
    """Keeps the results of a finished run, if that has not been done before, and deletes what nobody needs any more."""
    folder = job.cell.folder(job.results)
    if not folder.is_dir():
        pretrained = job.config.transfer.pretrained
        origin = job.cell.pretraining().folder(Path()) if pretrained else None
        keep(Run.open(job.run_folder), folder, origin)
    if not job.keeps_agent:
        shutil.rmtree(job.folder)


def failure(job: Job, how: str) -> str:
    """One line for a job that failed: how, what to do, and the last line that it printed."""
    lines = job.output.read_text(errors="replace").splitlines() if job.output.exists() else []
    return f"{job.cell} ({how}; delete {job.folder} to start it anew): {lines[-1] if lines else 'no output'}"


def fail(failed: Sequence[str], total: int) -> None:
    """
    Raises:
        UserError: if some jobs failed, naming them.
    """
    if failed:
        raise UserError(f"{len(failed)} of {total} runs failed: {'; '.join(failed)}")
