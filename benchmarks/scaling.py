"""How far a sweep can grow: a simulation of a cluster, the demand of a billion frames, and sweeps to test both against.

``python -m benchmarks.scaling`` prints the tables of docs/scaling.md. ``--measure`` first runs sweeps on a local Ray with 1, 2
and 4 workers and writes what it saw to ``results/scaling.json`` (a few minutes on two cores).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import tyro

from ellm_agent.analysis.tables import Table

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "results" / "scaling.json"
BILLION = 1e9  # frames
AGENT_HOURS = 1e6
MEASURED_HEAD = ("workers", "measured, s", "from its own cells, s", "from the cells of one worker, s")


# --- a cluster -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """What decides about a sweep's makespan.

    Attributes:
        workers: that run cells at once.
        cores: that they share; beyond that number each worker is slower.
        startup: seconds of a worker's first cell until it trains (imports, compiled rules).
        overhead: seconds of the sweep in which no cell runs, before the first and after the last.
        between_failures: mean seconds between two losses of one worker; infinite: none is lost.
        recovery: seconds until a lost worker's cell is started again.
        checkpoint: seconds of work between two checkpoints: what a loss costs, at most.
    """

    workers: int
    cores: int = 2**31
    startup: float = 0.0
    overhead: float = 0.0
    between_failures: float = np.inf
    recovery: float = 0.0
    checkpoint: float = np.inf


@dataclass(frozen=True)
class Sweep:
    """A simulated sweep.

    Attributes:
        makespan: seconds from its start to its end.
        lost: seconds of work that were done twice.
        failures: of workers while they had a cell.
    """

    makespan: float
    lost: float
    failures: int


@dataclass
class _Task:
    work: float  # seconds, of its whole run
    done: float = 0.0
    start: float = 0.0  # seconds of preparation left


def simulate(cells: Sequence[float], cluster: Cluster, seed: int = 0) -> Sweep:
    """Plays a sweep: each free worker takes the next cell; a lost one's cell goes on from its last checkpoint.

    Between two events all running cells advance at one speed, min(1, cores / running).

    Args:
        cells: seconds of work of each, on a core of its own, in the order in which they are started.
        cluster: where it runs.
        seed: of the failures.
    """
    rng = np.random.default_rng(seed)
    waiting = [_Task(work) for work in cells]
    running: dict[int, _Task] = {}
    fails = {
        worker: _lifetime(cluster, rng) for worker in range(cluster.workers)
    }  # worker -> when it is lost
    free = dict.fromkeys(range(cluster.workers), 0.0)  # worker -> when it can start
    fresh, now, lost, failures = set(free), 0.0, 0.0, 0
    while waiting or running:
        for worker in sorted(free):
            if waiting and worker not in running and free[worker] <= now:
                running[worker] = waiting.pop(0)
                running[worker].start = cluster.startup if worker in fresh else 0.0
                fresh.discard(worker)
        speed = min(1.0, cluster.cores / len(running)) if running else 1.0
        ends = {w: now + (task.start + task.work - task.done) / speed for w, task in running.items()}
        events = [
            *ends.values(),
            *(fails[w] for w in running),
            *(t for w, t in free.items() if w not in running and t > now),
        ]
        then = min(events)
        for worker, task in list(running.items()):
            passed = (then - now) * speed
            prepared = min(task.start, passed)
            task.start -= prepared
            task.done += passed - prepared
            if ends[worker] <= then:
                del running[worker]
            elif fails[worker] <= then:
                kept = task.done - task.done % cluster.checkpoint if np.isfinite(cluster.checkpoint) else 0.0
                lost, failures = lost + task.done - kept, failures + 1
                task.done = kept
                waiting.insert(0, running.pop(worker))
                fresh.add(worker)
                free[worker] = then + cluster.recovery
        for worker, at in fails.items():
            if at <= then:
                fails[worker] = then + _lifetime(cluster, rng)
        now = then
    return Sweep(now + cluster.overhead, lost, failures)


def _lifetime(cluster: Cluster, rng: np.random.Generator) -> float:
    """Seconds until a worker is lost."""
    mean = cluster.between_failures
    return rng.exponential(mean) if np.isfinite(mean) else np.inf


# --- demand ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """Measured figures, with where they come from; all others follow from them."""

    frames_per_second: float = 3_679.0  # of a core: ppo, bundled model (docs/performance.md, 0.9.0)
    log_bytes_per_frame: float = 1.8  # episodes, metrics (results/prior-1m)
    checkpoint_bytes: float = 9.16e6  # ppo (results of prior-5m), each
    frames_per_checkpoint: float = 50_000.0
    questions_per_frame: float = 1 / 256  # asking ahead (--llm-every); at most
    questions_per_frame_bundled: float = 1 / 64  # the same, of the bundled model
    tokens_read: float = 275.0  # of an open question (docs/llm.md)
    tokens_written: float = 24.0
    model_seconds: float = 0.0025  # of a core, bundled model: 380 to 455 captions/s (docs/performance.md)
    price_core_hour: float = 0.04  # $, a cloud's price class
    price_gpu_hour: float = 2.0  # $, likewise
    gpu_tokens_per_second: float = (
        20_000.0  # read, an 8B model on one GPU in batches: an assumption, not ours
    )


def demand(inputs: Inputs, frames: float) -> dict[str, float]:
    """What so many frames need.

    Args:
        inputs: measured.
        frames: of all runs together.
    """
    core_hours = frames / inputs.frames_per_second / 3600
    questions = frames * inputs.questions_per_frame
    gpu_hours = questions * (inputs.tokens_read + inputs.tokens_written) / inputs.gpu_tokens_per_second / 3600
    return {
        "core hours": core_hours,
        "questions": questions,
        "tokens": questions * (inputs.tokens_read + inputs.tokens_written),
        "GPU hours of an 8B model": gpu_hours,
        "core hours of the bundled model": frames
        * inputs.questions_per_frame_bundled
        * inputs.model_seconds
        / 3600,
        "GB of logs": frames * inputs.log_bytes_per_frame / 1e9,
        "GB written as checkpoints": frames / inputs.frames_per_checkpoint * inputs.checkpoint_bytes / 1e9,
        "$ for cores": core_hours * inputs.price_core_hour,
        "$ for GPUs": gpu_hours * inputs.price_gpu_hour,
    }


def demand_table(inputs: Inputs) -> Table:
    """A billion frames, and a million agent-hours."""
    agent_hours = AGENT_HOURS * 3600 * inputs.frames_per_second
    columns = [demand(inputs, BILLION), demand(inputs, agent_hours)]
    rows = [(name, *(f"{column[name]:,.3g}" for column in columns)) for name in columns[0]]
    return Table(rows, ("what", "a billion frames", "a million agent-hours"), (1, 2))


def makespan_table(inputs: Inputs) -> Table:
    """500 runs of a million frames on clusters of several sizes, with and without losses of workers."""
    seconds = 1e6 / inputs.frames_per_second
    checkpoint = inputs.frames_per_checkpoint / inputs.frames_per_second
    rows = []
    for workers in (2, 16, 64, 256, 512):
        row = [f"{workers}"]
        for hours in (np.inf, 24.0, 1.0, 0.1):
            found = simulate(
                [seconds] * 500,
                Cluster(
                    workers, startup=10.0, between_failures=hours * 3600, recovery=30.0, checkpoint=checkpoint
                ),
            )
            row.append(f"{found.makespan / 60:,.0f} ({found.failures})")
        rows.append(row)
    return Table(rows, ("workers", "no losses", "one a day", "one an hour", "one in 6 minutes"), range(5))


# --- measured sweeps -------------------------------------------------------------------------------------------------


def measure(workers: int, frames: int = 30_000, seeds: int = 3) -> dict[str, float | list[float] | int]:
    """Runs a sweep of oracle and novelty on a local Ray; its makespan, and when each cell started and ended, in seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            sys.executable, "experiments/compare.py", "--name", "scaling", "--cluster", "local", "--jobs", str(workers),
            "--results", str(folder / "results"), "--work", str(folder / "work"), "--methods", "oracle", "novelty",
            "--algos", "ppo", "--frames", str(frames), "--seeds", *map(str, range(seeds)), "--", "--preset", "debug",
            "--hidden", "256", "--eval-every", str(frames),
        ]  # fmt: skip
        started, began = time.time(), {}
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
        while process.poll() is None:
            for path in (folder / "work" / "scaling").glob("*/wanted.yaml"):
                began.setdefault(path.parent.name, time.time() - started)
            time.sleep(0.05)
        if process.returncode:
            raise SystemExit(process.returncode)
        makespan = time.time() - started
        ended = {}
        for path in (folder / "results" / "scaling").glob("*/*/*/seed*/summary.json"):
            *_, protocol, algo, method, seed = path.parent.parts
            cell = f"{protocol}-{algo}-{method}-{seed.removeprefix('seed')}"
            ended[cell] = path.stat().st_mtime - started
        cells = sorted(began, key=began.get)
        return {
            "workers": workers,
            "makespan": makespan,
            "began": [began[cell] for cell in cells],
            "ended": [ended[cell] for cell in cells],
        }


def replayed(sweep: dict) -> float:
    """A measured sweep's makespan, simulated from the times of its own cells: tests queueing, start and end."""
    return simulate(_times(sweep), Cluster(sweep["workers"], overhead=_overhead(sweep))).makespan


def predicted(sweep: dict, alone: dict, cores: int) -> float:
    """A measured sweep's makespan, from the cells' times in the sweep with one worker.

    Args:
        sweep: of ``measure``; its own start and end are used.
        alone: that with one worker; its first cell holds the start of a worker.
        cores: of the machine, which must have no other use.
    """
    first, *others = _times(alone)
    usual = float(np.median(others))
    cluster = Cluster(sweep["workers"], cores, startup=max(0.0, first - usual), overhead=_overhead(sweep))
    return simulate([usual] * len(sweep["began"]), cluster).makespan


def _times(sweep: dict) -> list[float]:
    """Seconds of its cells, in the order in which they began."""
    return np.subtract(sweep["ended"], sweep["began"]).tolist()


def _overhead(sweep: dict) -> float:
    """Seconds in which no cell ran: until the first began, and after the last had ended."""
    return sweep["began"][0] + sweep["makespan"] - max(sweep["ended"])


@dataclass(frozen=True)
class Options:
    measure: bool = False
    """Run the sweeps first, and write results/scaling.json."""
    workers: tuple[int, ...] = (1, 2, 4)
    """Workers of the measured sweeps; the first is 1."""


def main(options: Options) -> None:
    """Measures, and prints."""
    if options.measure:
        sweeps = [measure(workers) for workers in options.workers]
        MEASURED.write_text(json.dumps({"cores": psutil.cpu_count(), "sweeps": sweeps}, indent=1))
    inputs = Inputs()
    print(demand_table(inputs).markdown(), "\n")
    print(makespan_table(inputs).markdown(), "\n")
    if MEASURED.exists():
        found = json.loads(MEASURED.read_text())
        alone, cores = found["sweeps"][0], found["cores"]
        rows = [
            [f"{x:.0f}" for x in (s["workers"], s["makespan"], replayed(s), predicted(s, alone, cores))]
            for s in found["sweeps"]
        ]
        print(Table(rows, MEASURED_HEAD, range(4)).markdown())


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
