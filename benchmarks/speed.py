"""Measures speed in one run: a table, and ``results/speed.json``.

Machines differ and are never quiet, so ratios between rows of one run are what to quote. Each figure is the median of
several repetitions. Takes about ten minutes on two cores; ``--parts`` measures some of it. To see where the time of a run
goes: ``python -m cProfile -s tottime experiments/run_crafter.py --frames 40000``.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import VecEnv

from ellm_agent.agents.sb3_state import BUFFER
from ellm_agent.build import build, make_suggester
from ellm_agent.config import PRESETS, Config
from ellm_agent.experiment import library_settings
from ellm_agent.runs.folder import Run
from ellm_agent.training import Trained, train
from envs import registry

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = str(ROOT / "experiments" / "run_crafter.py")
RUNS = 3  # of each whole run, at most


@dataclass
class Options:
    """What to measure."""

    parts: tuple[Literal["world", "run", "busy", "memory", "start"], ...] = (
        "world",
        "run",
        "busy",
        "memory",
        "start",
    )
    """world: steps and resets; run: end to end; busy: the same with one core busy; memory: of a million frames of DQN;
    start: imports and the first frame."""
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

    def ratio(self, name: str, numerator: str, denominator: str) -> None:
        value = self.rows[numerator]["value"] / self.rows[denominator]["value"]
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
    """Steps and resets a second with captions and events, on one core, whatever the machine has."""
    world = registry.get("crafter")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        for backend, steps in (("compiled", 1_000), ("package", 60)):
            worlds = world.make_vec(16, backend, protocol="crafter")
            seconds = median_seconds(random_play(worlds, steps), repeat)
            results.add(f"world, {backend}", 16 * steps / seconds, "steps/s", "one core, captions and events")
        results.ratio("compiled world, against the package", "world, compiled", "world, package")
        one = world.make_vec(1, "compiled", protocol="crafter")
        results.add("reset, compiled", 1e3 * median_seconds(one.reset, 50), "ms")
    finally:
        os.sched_setaffinity(0, cores)


def random_play(worlds: VecEnv, steps: int) -> Callable[[], None]:
    """A call that plays so many random steps in all worlds, resets included."""
    worlds.seed(0)
    worlds.reset()
    rng = np.random.default_rng(0)

    def play() -> None:
        for actions in rng.integers(worlds.action_space.n, size=(steps, worlds.num_envs)):
            worlds.step(actions)

    return play


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
    with tempfile.TemporaryDirectory() as folder, library_settings(config):
        run = Run.create(config.changed(**{"run.out": Path(folder) / "run"}))
        suggester = make_suggester(config, registry.get(config.env.name).language(**config.env.options))
        return train(build(run, suggester), run), run.read("metrics")


def frame_rate(config: Config) -> float:
    """Frames a second of a run, without its start (the first row of metrics)."""
    _, rows = trained(config)
    return statistics.median(row["frames_per_second"] for row in rows[1:])


def measure_runs(results: Results, repeat: int) -> None:
    """Frames a second of whole runs with default settings."""
    # The paper's network over frozen vectors and its updates, reading clauses instead of sentences.
    clauses = {"agent.encoder": "clauses", "agent.clause_vectors": "raw"}
    runs = {
        "ppo, open": small("ppo", "open", 120_000),
        "ppo, oracle": small("ppo", "oracle", 120_000),
        "dqn, open": small("dqn", "open", 48_000),
        "dqn, oracle": small("dqn", "oracle", 48_000),
        "paper network and schedule": small("dqn", "open", 24_000, "paper", **clauses),
        "paper preset, open": small("dqn", "open", 18_000, "paper"),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(min(repeat, RUNS)):  # a machine's slow minutes should not all fall on one of them
        for name, config in runs.items():
            rates[name].append(frame_rate(config))
    for name, found in rates.items():
        note = f"{runs[name].run.threads} thread(s); {', '.join(f'{one:,.0f}' for one in found)}"
        results.add(f"run, {name}", statistics.median(found), "frames/s", note)


def measure_busy(results: Results, repeat: int) -> None:
    """The same runs, alternately on a quiet machine and with one core fully busy."""
    for algo, frames in (("ppo", 120_000), ("dqn", 48_000)):
        config = small(algo, "open", frames)
        quiet, busy = [], []
        for _ in range(min(repeat, RUNS)):
            quiet.append(frame_rate(config))
            with busy_core():
                busy.append(frame_rate(config))
        results.add(f"quiet, {algo}, open", statistics.median(quiet), "frames/s")
        results.add(f"one core busy, {algo}, open", statistics.median(busy), "frames/s")
        results.ratio(f"busy against quiet, {algo}", f"one core busy, {algo}, open", f"quiet, {algo}, open")


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A process beside this one that keeps one core busy, as an open browser tab may."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure_memory(results: Results, repeat: int) -> None:
    """Bytes of a stored transition, and the memory of a run whose replay holds a million of them.

    The run plays at random and learns nothing, which would only take longer.
    """
    done, rows = trained(small("dqn", "open", 1_000_000, **{"agent.dqn.learning_starts": 1_000_000}))
    buffer = done.parts.agent.replay_buffer
    stored = sum(getattr(buffer, name).nbytes for name in BUFFER)
    results.add("replay", stored / (buffer.buffer_size * buffer.n_envs), "bytes/transition")
    results.add("memory after 500,000 frames", rows[len(rows) // 2 - 1]["memory_mb"], "MiB")
    results.add("memory after 1,000,000 frames", rows[-1]["memory_mb"], "MiB")


def measure_start(results: Results, repeat: int) -> None:
    """From the command to the help, and to the first step of all worlds."""

    def call(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)

    results.add("--help", median_seconds(lambda: call(SCRIPT, "--help"), repeat), "s")
    results.add("import", median_seconds(lambda: call("-c", "import ellm_agent.training"), repeat), "s")
    results.add("first frame", statistics.median(first_frame() for _ in range(3)), "s", "ppo and dqn alike")


def first_frame() -> float:
    """Seconds from the command to the first row of a run's metrics; the run is then stopped."""
    with tempfile.TemporaryDirectory() as folder:
        run, started = Path(folder) / "run", time.perf_counter()
        command = [sys.executable, SCRIPT, "--goal-mode", "open", "--out", str(run), "--log-every", "1"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                metrics = run / "metrics.jsonl"
                if metrics.is_file() and metrics.stat().st_size:
                    return time.perf_counter() - started
                time.sleep(0.02)
            raise RuntimeError("the run ended before its first frame")
        finally:
            process.kill()
            process.wait()


def machine() -> dict[str, Any]:
    """The machine of the measurement."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processor": names[0] if names else platform.processor(),
        "cores": psutil.cpu_count(logical=False),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
    }


def main(options: Options) -> None:
    results = Results()
    measures = {
        "world": measure_world,
        "run": measure_runs,
        "busy": measure_busy,
        "memory": measure_memory,
        "start": measure_start,
    }
    for part in options.parts:
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
