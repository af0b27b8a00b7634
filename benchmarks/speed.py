"""Measures speed against references, in one run: a table, and ``results/speed.json``.

Machines differ and are never quiet, so ratios between rows of one run are what to quote. Each figure is the median of
several repetitions. Takes about ten minutes on two cores; ``--parts`` measures some of it.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import references
from ellm_agent.agents.sb3_state import BUFFER
from ellm_agent.build import build, make_suggester
from ellm_agent.config import PRESETS, Config
from ellm_agent.experiment import torch_settings
from ellm_agent.runs.folder import Run
from ellm_agent.training import Trained, train
from envs import registry
from envs.crafter.compiled import CompiledCrafter

ROOT = Path(__file__).resolve().parent.parent
RUNS = 3  # of each whole run, at most


@dataclass
class Options:
    """What to measure."""

    parts: tuple[Literal["world", "update", "run", "busy", "today", "memory", "start"], ...] = (
        "world",
        "update",
        "run",
        "busy",
        "today",
        "memory",
        "start",
    )
    """world: steps and resets; update: parts of a gradient step; run: end to end; busy: the same with one core busy;
    today: the pipeline of SB3 and SentenceBERT; memory: of the replay; start: imports and the first frame."""
    repeat: int = 5
    """Repetitions of each measurement of which the median is taken."""
    out: Path = ROOT / "results" / "speed.json"
    """Where to write."""


class Results:
    """Rows of one run of the benchmark."""

    def __init__(self):
        self.rows: dict[str, dict] = {}

    def add(self, name: str, value: float, unit: str, note: str = "") -> None:
        self.rows[name] = {"value": round(value, 4), "unit": unit, "note": note}
        print(f"{name}: {value:,.2f} {unit}  {note}", file=sys.stderr, flush=True)

    def value(self, name: str) -> float:
        return self.rows[name]["value"]

    def ratio(self, name: str, numerator: str, denominator: str) -> None:
        if numerator in self.rows and denominator in self.rows:
            value = self.value(numerator) / self.value(denominator)
            self.add(name, value, "times", f"{numerator} over {denominator}")


def median_seconds(work: Callable[[], object], repeat: int) -> float:
    """Median duration of a call; one call before is not counted."""
    work()
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


# --- the world ----------------------------------------------------------------------------------------------


def measure_world(results: Results, repeat: int) -> None:
    """Steps and resets a second, with captions and events here, and without any for the package by itself.

    On one core, whatever the machine has.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        _measure_world(results, repeat)
    finally:
        os.sched_setaffinity(0, cores)


def _measure_world(results: Results, repeat: int) -> None:
    for name, environment, steps in (
        ("compiled", CompiledCrafter(16), 1_000),
        ("package backend", references.package_backend(16), 60),
    ):
        steps_rate = references.vectorised_rate(environment, steps)
        results.add(f"world, {name}", statistics.median(steps_rate() for _ in range(repeat)), "steps/s")
    compiled = CompiledCrafter(1)
    results.add("reset, compiled", 1e3 * median_seconds(compiled.reset, 50), "ms")
    for name, flag, disabled in (
        ("package at its best", "undrawn", "0"),
        ("package as pip installs it", "drawn", "1"),
    ):
        # Without Numba, which it does not ask for, the package's noise is computed in Python.
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.package", flag, str(repeat)],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        measured = json.loads(done.stdout)
        results.add(f"world, {name}", measured["rate"], "steps/s", "no captions, no events")
        results.add(f"reset, {name}", 1e3 * measured["reset"], "ms")
    results.ratio("compiled world, against the best", "world, compiled", "world, package at its best")
    results.ratio("compiled world, against pip's", "world, compiled", "world, package as pip installs it")


# --- a gradient step ----------------------------------------------------------------------------------------


def measure_update(results: Results, repeat: int) -> None:
    """The parts of one DQN gradient step, and the limits of the machine."""
    agent = trained(small("dqn", "oracle", frames=8_000))[0].parts.agent
    size, n = agent.batch_size, 10 * repeat
    batch = agent.replay_buffer.sample(size)

    def forward():
        return agent.q_net(batch.observations).gather(1, batch.actions).sum()

    def backward():
        agent.policy.optimizer.zero_grad()
        forward().backward()

    parts = {
        "sample": lambda: agent.replay_buffer.sample(size),
        "forward": forward,
        "forward and backward": backward,
        "all of it": lambda: agent.train(1, size),
    }
    for name, work in parts.items():
        results.add(f"update of {size}, {name}", 1e3 * median_seconds(work, n), "ms")
    results.add("matrix multiplication", references.peak_gflops(), "GFLOP/s", "one thread, float32")
    results.add("memory, read", references.bandwidth(), "GB/s", "one thread")


# --- end to end ---------------------------------------------------------------------------------------------


def small(algo: str, goal_mode: str, frames: int, preset: str = "default", **options: Any) -> Config:
    """A configuration for a measurement: only training."""
    return PRESETS[preset].changed(
        **{
            "run.frames": frames,
            "run.log_every": frames // 6,
            "run.eval_every": 10**9,
            "run.checkpoint_every": 10**9,
            "run.tensorboard": False,
            "run.replays": 0,
            "suggester.kind": goal_mode,
            "agent.algo": algo,
            **options,
        }
    )


def trained(config: Config) -> tuple[Trained, list[dict]]:
    """Trains in a temporary folder; returns also the rows of metrics."""
    with tempfile.TemporaryDirectory() as folder, torch_settings(config):
        run = Run.create(config.changed(**{"run.out": Path(folder) / "run"}))
        suggester = make_suggester(config, registry.get(config.env.name).language(**config.env.options))
        return train(build(run, suggester), run), run.read("metrics")


def rate(config: Config) -> float:
    """Frames a second of a run, without its start (the first row of metrics)."""
    _, rows = trained(config)
    return statistics.median(row["frames_per_second"] for row in rows[1:])


def measure_runs(results: Results, repeat: int) -> None:
    """Frames a second of whole runs with default settings."""
    runs = {
        "ppo, open": small("ppo", "open", 120_000),
        "ppo, oracle": small("ppo", "oracle", 120_000),
        "dqn, open": small("dqn", "open", 48_000),
        "dqn, oracle": small("dqn", "oracle", 48_000),
        # The paper's network over frozen vectors and its updates, reading clauses instead of sentences.
        "paper network and schedule": small(
            "dqn",
            "open",
            24_000,
            preset="paper",
            **{"agent.encoder": "clauses", "agent.clause_vectors": "raw"},
        ),
        "paper preset, open": small("dqn", "open", 18_000, preset="paper"),
    }
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(min(repeat, RUNS)):  # a machine's slow minutes should not all fall on one of them
        for name, config in runs.items():
            measured[name].append(rate(config))
    for name, rates in measured.items():
        note = f"{runs[name].run.threads} thread(s); {', '.join(f'{one:,.0f}' for one in rates)}"
        results.add(f"run, {name}", statistics.median(rates), "frames/s", note)


def measure_busy(results: Results, repeat: int) -> None:
    """The same runs with default settings, alternately on a quiet machine and with one core fully busy."""
    for algo, frames in (("ppo", 120_000), ("dqn", 48_000)):
        config = small(algo, "open", frames)
        quiet, busy = [], []
        for _ in range(min(repeat, RUNS)):
            quiet.append(rate(config))
            with references.busy_core():
                busy.append(rate(config))
        results.add(f"quiet, {algo}, open", statistics.median(quiet), "frames/s")
        results.add(f"one core busy, {algo}, open", statistics.median(busy), "frames/s")
        results.ratio(f"busy against quiet, {algo}", f"one core busy, {algo}, open", f"quiet, {algo}, open")


def measure_today(results: Results, repeat: int) -> None:
    """A plain pipeline of SB3 and SentenceBERT, see ``references.sb3_pipeline``."""
    frames_rate = references.sb3_pipeline(1_500)
    results.add("run, SB3 and SentenceBERT at each step", frames_rate, "frames/s", "1 thread")
    results.ratio(
        "dqn, against the pipeline of today", "run, dqn, open", "run, SB3 and SentenceBERT at each step"
    )


def measure_memory(results: Results, repeat: int) -> None:
    """Bytes of a stored transition, and the memory of a run that fills the replay with a million of them.

    The run plays at random and learns nothing, which would only take longer.
    """
    done, rows = trained(small("dqn", "open", 1_000_000, **{"agent.dqn.learning_starts": 1_000_000}))
    buffer = done.parts.agent.replay_buffer
    stored = sum(getattr(buffer, name).nbytes for name in BUFFER)
    results.add("replay", stored / (buffer.buffer_size * buffer.n_envs), "bytes/transition")
    results.add("memory after 500,000 frames", rows[len(rows) // 2 - 1]["memory_mb"], "MiB")
    results.add("memory after 1,000,000 frames", rows[-1]["memory_mb"], "MiB")


def measure_start(results: Results, repeat: int) -> None:
    """From the command to the help, and to the first frames that are played."""
    script = str(ROOT / "experiments" / "run_crafter.py")

    def call(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)

    results.add("--help", median_seconds(lambda: call(script, "--help"), repeat), "s")
    results.add("import", median_seconds(lambda: call("-c", "import ellm_agent.training"), repeat), "s")
    results.add(
        "first frame",
        statistics.median(references.first_frame([script, "--goal-mode", "open"]) for _ in range(3)),
        "s",
        "from the command to the first step of all worlds",
    )


def machine() -> dict:
    """The machine of the measurement."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processor": references.processor(),
        "cores": psutil.cpu_count(logical=False),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def main(options: Options) -> None:
    results = Results()
    measures = {
        "world": measure_world,
        "update": measure_update,
        "run": measure_runs,
        "busy": measure_busy,
        "today": measure_today,
        "memory": measure_memory,
        "start": measure_start,
    }
    for part in options.parts:
        torch.set_num_threads(1)
        measures[part](results, options.repeat)
    table = Table("what", "value", "unit", "note")
    for name, row in results.rows.items():
        table.add_row(name, f"{row['value']:,.2f}", row["unit"], row["note"])
    Console().print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine(), "rows": results.rows}, indent=1) + "\n")
    print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main(tyro.cli(Options))
