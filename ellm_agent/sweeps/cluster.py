"""Runs a sweep on a Ray cluster: each cell is a task. Ray queues the tasks, places them, and runs those of lost nodes again.

An actor on the cluster owns the tasks, so a sweep goes on when the program that started it has left, and the same command
finds it again. All nodes must see the folders of the sweep (or reach ``--store``), and have this project installed. Knows
nothing of what a cell is: ``job`` runs it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ellm_agent.analysis.results import Cell
from ellm_agent.errors import UserError
from ellm_agent.sweeps import job as jobs
from ellm_agent.sweeps.job import Job
from ellm_agent.sweeps.local import lock
from ellm_agent.sweeps.plan import Options, plan
from ellm_agent.sweeps.store import Store
from ellm_agent.terminal import one_line, print_stderr

LOCAL = "local"  # --cluster: start Ray on this machine, for as long as this program runs
NAMESPACE = PROJECT = "ellm-agent"
RETRIES = 20  # of a task whose worker or node was lost; a cell that kills every worker must end some time
STORE = 100 * 2**20  # bytes of shared memory for Ray's objects; ours are a few kilobytes
INTERVAL = 0.5  # seconds between looks
PATIENCE = 5.0  # seconds in which a cluster must answer
PROBING = 120.0  # seconds in which each node must have started a worker


@ray.remote(max_retries=RETRIES)
def run_cell(job: Job, pretraining: str = "") -> str:
    """Runs a job; one line if it failed, else "".

    Args:
        job: the job.
        pretraining: the result of the task that makes the agent it starts from.
    """
    if pretraining:
        return f"{job.cell}: its pretraining failed"
    try:
        jobs.run(job)
    except Exception as error:  # whatever it was, the other cells go on
        return jobs.failure(job, one_line(f"{type(error).__name__}: {error}"))
    return ""


@ray.remote(num_cpus=0)
class Sweep:
    """Owns the tasks of a sweep.

    Args:
        first: jobs to start with, also after the actor's own node was lost.
        gpus: share of a GPU for each.
    """

    def __init__(self, first: Sequence[Job], gpus: float):
        self._gpus = gpus
        self._tasks: dict[Cell, tuple[Job, ray.ObjectRef]] = {}
        self.add(first)

    def add(self, more: Sequence[Job]) -> list[Cell]:
        """Starts the jobs that are not under way, pretraining before its tasks. Gives those under way with other options."""
        others = []
        for job in more:
            if job.cell in self._tasks and self._outcome(job.cell) is None:
                others += [job.cell] if self._tasks[job.cell][0] != job else []
                continue
            before = self._tasks.get(job.cell.pretraining()) if job.config.transfer.pretrained else None
            options = run_cell.options(num_cpus=1, num_gpus=self._gpus, name=str(job.cell))
            self._tasks[job.cell] = job, options.remote(job, *([before[1]] if before else []))
        return others

    def outcomes(self) -> dict[Cell, str | None]:
        """For each cell: None while it waits or runs, "" when it has finished, or how it failed."""
        return {cell: self._outcome(cell) for cell in self._tasks}

    def _outcome(self, cell: Cell) -> str | None:
        job, task = self._tasks[cell]
        if not ray.wait([task], timeout=0)[0]:
            return None
        try:
            return ray.get(task)
        except ray.exceptions.RayError as error:
            return jobs.failure(job, f"lost {RETRIES + 1} workers, the last by {type(error).__name__}")


@ray.remote(num_cpus=0, max_retries=0)
def look(mark: str, wanted: str, store: str | None = None) -> str:
    """What a node lacks to run cells, or "".

    Args:
        mark: a file that it should see.
        wanted: the version of this project that it should have.
        store: address where the file is; None: in a folder.
    """
    if store and not Store(store).has(mark):
        return f"does not see what others write to {store}"
    if not store and not Path(mark).exists():
        folder = Path(mark).parent
        return f"does not see {folder}; put --work and --results into folders that all nodes share, or use --store"
    found = version(PROJECT)
    return "" if found == wanted else f"has version {found} of {PROJECT}, but this is {wanted}"


def run_sweep(options: Options, more: Sequence[str] = ()) -> None:
    """Runs all cells that have no results yet.

    Ctrl-C ends the sweep. Whatever else ends this program lets a sweep on a cluster go on.

    Args:
        options: what to compare; ``cluster`` says where.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, no cluster answers, its nodes do not share the folders, or some runs
            failed.
    """
    options = dataclasses.replace(options, work=options.work.resolve(), results=options.results.resolve())
    cells = plan(options, more)  # which refuses what makes no sense, before anything starts
    with _connected(options):
        _check_nodes(options)
        left = jobs.jobs_left(options, cells)
        # One actor for each work folder, found by name: it keeps two sweeps from working in one.
        kept = {
            "name": f"sweep {options.work / options.name}",
            "namespace": NAMESPACE,
            "lifetime": "detached",
        }
        make = Sweep.options(**kept, get_if_exists=True, max_restarts=-1, max_task_retries=-1)
        sweep = make.remote(left, options.gpus)
        try:
            others = ray.get(sweep.add.remote(left))
            if others:
                raise UserError(f"{others[0]} is under way with other options; choose another --name")
            failed = _watch(sweep, [job.cell for job in left])
        except KeyboardInterrupt:
            ray.kill(sweep)
            raise
        ray.kill(sweep)
    if options.store:
        jobs.fetch_results(options)
    jobs.fail(failed, len(left))


def _watch(sweep: ray.actor.ActorHandle, cells: Sequence[Cell]) -> list[str]:
    """Says how cells end, until all have; one line for each that failed."""
    ended: dict[Cell, str] = {}
    while len(ended) < len(cells):
        outcomes = ray.get(sweep.outcomes.remote())
        for cell in cells:
            if outcomes[cell] is not None and cell not in ended:
                ended[cell] = outcomes[cell]
                outcome = "FAILED" if ended[cell] else "finished"
                print_stderr(f"{len(ended)}/{len(cells)} {cell} {outcome}")
        time.sleep(INTERVAL)
    return [line for line in ended.values() if line]


@contextlib.contextmanager
def _connected(options: Options) -> Iterator[None]:
    """A connection to the cluster, for as long as the block lasts.

    Raises:
        UserError: if no cluster answers, it cannot run a cell, or it is lost.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    here = options.cluster == LOCAL
    own = {"num_cpus": options.jobs, "object_store_memory": STORE, "include_dashboard": False} if here else {}
    no_answer = f"cluster is {options.cluster}, where no Ray cluster of version {ray.__version__} answers"
    with lock(options.work / options.name) if here else contextlib.nullcontext():
        if not here and not _answers(options.cluster):
            raise UserError(f"{no_answer}; name HOST:PORT of its head node, or {LOCAL}")
        try:
            ray.init(options.cluster, namespace=NAMESPACE, log_to_driver=False, logging_level="error", **own)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise UserError(f"{no_answer}: {error}") from error
        try:
            _check_resources(options.gpus)
            yield
        except ray.exceptions.RayError as error:
            lost = f"the cluster at {options.cluster} was lost ({type(error).__name__})"
            raise UserError(f"{lost}; the same command goes on from the last checkpoints") from error
        finally:
            ray.shutdown()


def _answers(address: str) -> bool:
    """Whether anything listens at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) >= 2**16:
        return False
    try:
        with socket.create_connection((host, int(port)), PATIENCE):
            return True
    except (OSError, UnicodeError):
        return False


def _check_resources(gpus: float) -> None:
    """
    Raises:
        UserError: if a cell would wait for ever.
    """
    there = ray.cluster_resources()
    for name, wanted in (("CPU", 1), ("GPU", gpus)):
        if there.get(name, 0) < wanted:
            raise UserError(f"a cell takes {wanted:g} {name}, but the cluster has {there.get(name, 0):g}")


def _check_nodes(options: Options) -> None:
    """
    Raises:
        UserError: naming a node that does not see what this one writes, or cannot run this project.
    """
    name = f".seen-by-all-{uuid.uuid4().hex}"
    with contextlib.ExitStack() as closing:
        if options.store:
            store, marks = Store(options.store), [name]
            store.touch(name)
            closing.callback(store.remove, name)
        else:
            marks = [str(parent / options.name / name) for parent in (options.work, options.results)]
            for mark in map(Path, marks):
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()
                closing.callback(mark.unlink)
        for node in ray.nodes():
            for mark in marks if node["Alive"] else ():
                lacks = _look(node["NodeID"], mark, options.store)
                if lacks:
                    raise UserError(f"node {node['NodeManagerHostname']} of the cluster {lacks}")


def _look(node: str, mark: str, store: str | None) -> str:
    """What a node lacks, or ""."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    try:
        task = look.options(scheduling_strategy=there).remote(mark, version(PROJECT), store)
        return ray.get(task, timeout=PROBING)
    except ray.exceptions.GetTimeoutError:
        return f"has started no worker in {PROBING:.0f} seconds"
    except ray.exceptions.RayTaskError as error:
        reason = str(error).strip().splitlines()[-1]
        return f"cannot run this project ({reason}); install it on every node"
    except ray.exceptions.RayError:  # the node was lost; the cells will run on others
        return ""
