"""Measures how fast everything is, against references, in one run: a table, and ``results/speed.json``.

Machines differ and are never quiet: what counts are ratios between rows of one run. Each figure is the median of
several repetitions. Takes about ten minutes on two cores; ``--parts`` measures some of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from typing import Literal

import numpy as np
import psutil
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import references
from ellm_agent.build import environment_arguments, make_suggester
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.runs.folder import Run
from ellm_agent.text.sentence_bert import sentence_bert
from ellm_agent.training import Trained, train
from ellm_agent.wrappers.goal_exploration import GoalExploration
from envs.crafter.compiled import CompiledCrafter
from envs.crafter.env import CrafterTextEnv

ROOT = Path(__file__).resolve().parent.parent
RUNS = 3  # of each whole run, at most
QUIET = {"eval_every": 10**9, "checkpoint_every": 10**9, "tensorboard": False, "replays": 0}


@dataclass
class Options:
    """What to measure."""

    parts: tuple[Literal["world", "update", "run", "today", "memory", "start"], ...] = (
        "world",
        "update",
        "run",
        "today",
        "memory",
        "start",
    )
    """world: steps and resets; update: parts of a gradient step; run: end to end, with the ELLM path; today: the
    pipeline of SB3 and SentenceBERT; memory: of the replay; start: imports and the first frame."""
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
        rate = references.vectorised_rate(environment, steps)
        results.add(f"world, {name}", statistics.median(rate() for _ in range(repeat)), "steps/s")
    compiled = CompiledCrafter(1)
    results.add("reset, compiled", 1e3 * median_seconds(compiled.reset, 50), "ms")
    for name, flag, disabled in (
        ("package at its best", "undrawn", "0"),
        ("package as pip installs it", "drawn", "1"),
    ):
        # Without Numba, which it does not ask for, the package's noise is computed in Python.
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks.package", flag, str(repeat)],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        measured = json.loads(told.stdout)
        results.add(f"world, {name}", measured["rate"], "steps/s", "no captions, no events")
        results.add(f"reset, {name}", 1e3 * measured["reset"], "ms")
    results.ratio("compiled world, against the best", "world, compiled", "world, package at its best")
    results.ratio("compiled world, against pip's", "world, compiled", "world, package as pip installs it")


# --- a gradient step ----------------------------------------------------------------------------------------


def measure_update(results: Results, repeat: int) -> None:
    """The parts of one DQN gradient step, and what they cost by the batch."""
    agent = trained(small("dqn", "oracle", frames=8_000))[0].agent
    size, n = agent.batch_size, 10 * repeat
    batch = agent.replay_buffer.sample(size)
    batch = batch._replace(actions=batch.actions.long())

    def forward():
        return agent.q_net(batch.observations).gather(1, batch.actions).sum()

    def backward():
        agent.policy.optimizer.zero_grad()
        forward().backward()

    parts = {
        "sample": lambda: agent.replay_buffer.sample(size),
        "target": lambda: agent._target(batch),
        "forward": forward,
        "forward and backward": backward,
        "clip and Adam": lambda: (
            agent._clip_gradients(),
            agent.policy.optimizer.step(),
        ),
        "all of it": lambda: agent.train(1, size),
    }
    for name, work in parts.items():
        if name == "target":
            with torch.no_grad():
                seconds = median_seconds(work, n)
        else:
            seconds = median_seconds(work, n)
        results.add(f"update of {size}, {name}", 1e3 * seconds, "ms")
    results.add("matrix multiplication", references.peak_gflops(), "GFLOP/s", "one thread, float32")
    results.add("memory, read", references.bandwidth(), "GB/s", "one thread")


# --- end to end ---------------------------------------------------------------------------------------------


def small(algo: str, goal_mode: str, frames: int, preset: str = "default", threads: int = 1) -> Config:
    """A configuration for a measurement: nothing but training."""
    base = PRESETS[preset]
    goals = dataclasses.replace(base.goals, goal_mode=goal_mode)
    agent = dataclasses.replace(base.agent, algo=algo)
    return dataclasses.replace(
        base, frames=frames, log_every=frames // 6, goals=goals, agent=agent, threads=threads, **QUIET
    )


def trained(config: Config) -> tuple[Trained, list[dict]]:
    """Trains in a folder that is thrown away; returns also the rows of metrics."""
    # A run loads SentenceBERT, in two seconds, when it first meets a wording that nobody foresaw, if ever.
    sentence_bert(["loaded"])
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(dataclasses.replace(config, out=Path(folder) / "run"))
        suggester = make_suggester(config, CrafterTextEnv(**environment_arguments(config)).language)
        return train(run, suggester), run.read("metrics")


def measure_runs(results: Results, repeat: int) -> None:
    """Frames a second of whole runs, and what goals, captions and rewards take of a frame."""
    threads = psutil.cpu_count(logical=False) or 1
    runs = {
        "ppo, open": small("ppo", "open", 120_000, threads=threads),
        "ppo, oracle": small("ppo", "oracle", 120_000, threads=threads),
        "dqn, open": small("dqn", "open", 48_000, threads=threads),
        "dqn, oracle": small("dqn", "oracle", 48_000, threads=threads),
        "paper network and schedule": paper_network(threads),
        "paper preset, open": small("dqn", "open", 18_000, preset="paper", threads=threads),
    }
    measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in runs}
    for _ in range(min(repeat, RUNS)):  # a machine's slow minutes should not all fall on one of them
        for name, config in runs.items():
            measured[name].append(measure_run(config))
    for name, found in measured.items():
        rates, paths, shares, answering = zip(*found, strict=True)
        note = f"{threads} threads; {', '.join(f'{rate:,.0f}' for rate in rates)}"
        results.add(f"run, {name}", statistics.median(rates), "frames/s", note)
        if not name.startswith("paper"):
            path, share = statistics.median(paths), statistics.median(shares)
            note = f"of the time of a frame; {', '.join(f'{100 * share:.1f}' for share in shares)}"
            results.add(f"ELLM path, {name}", 1e6 * path, "us/frame", "captions, goals, rewards, filter")
            results.add(f"ELLM path, {name}, share", 100 * share, "%", note)
            share = statistics.median(answering)
            results.add(f"language model, {name}, share", 100 * share, "%", "of the run's time: its answers")


def measure_run(config: Config) -> tuple[float, float, float, float]:
    """Frames a second, seconds of the ELLM path in a frame, its share of the time, and that of a model's answers."""
    with timed(GoalExploration, config) as outer, timed(CompiledCrafter, config) as inner:
        _, rows = trained(config)
    # The first row has the start in it.
    rate = statistics.median(row["frames_per_second"] for row in rows[1:])
    n_envs = config.environment.n_envs
    late = slice(len(outer) // 3, None)  # what is new is put into words and judged once
    path = (np.mean(outer[late]) - np.mean(inner[late])) / n_envs + caption_seconds(n_envs)
    first, last = rows[len(rows) // 3], rows[-1]
    answering = last.get("llm/seconds", 0) - first.get("llm/seconds", 0)
    path -= answering / (last["frames"] - first["frames"])
    return rate, path, path * rate, answering / (last["seconds"] - first["seconds"])


def paper_network(threads: int) -> Config:
    """The paper's network over frozen vectors and its updates, reading clauses: without its encoding of sentences."""
    config = small("dqn", "open", 24_000, preset="paper", threads=threads)
    agent = dataclasses.replace(config.agent, encoder="clauses", clause_vectors="raw")
    return dataclasses.replace(config, agent=agent)


@contextlib.contextmanager
def timed(kind: type, config: Config) -> Iterator[list[float]]:
    """Seconds of each ``step_wait`` of the training worlds."""
    times: list[float] = []
    step_wait = kind.step_wait

    def measured(self):
        started = time.perf_counter()
        told = step_wait(self)
        if self.num_envs == config.environment.n_envs:
            times.append(time.perf_counter() - started)
        return told

    kind.step_wait = measured
    try:
        yield times
    finally:
        kind.step_wait = step_wait


def caption_seconds(n_envs: int) -> float:
    """Seconds to describe one world: view, clauses, what a language model is told, goals that are possible."""
    worlds = CompiledCrafter(n_envs)
    worlds.reset()
    return median_seconds(worlds.observe, 200) / n_envs


def measure_today(results: Results, repeat: int) -> None:
    """The pipeline that one would write today, see ``references.sb3_pipeline``."""
    threads = psutil.cpu_count(logical=False) or 1
    torch.set_num_threads(threads)
    rate = references.sb3_pipeline(1_500)
    results.add("run, SB3 and SentenceBERT at each step", rate, "frames/s", f"{threads} threads")
    results.ratio(
        "dqn, against the pipeline of today", "run, dqn, open", "run, SB3 and SentenceBERT at each step"
    )


def measure_memory(results: Results, repeat: int) -> None:
    """Bytes of a stored transition, and the memory of a run that fills the replay with a million of them.

    The run plays at random and learns nothing, which would only take longer.
    """
    config = small("dqn", "open", 1_000_000)
    config = dataclasses.replace(config, dqn=dataclasses.replace(config.dqn, learning_starts=config.frames))
    done, rows = trained(config)
    buffer = done.agent.replay_buffer
    transitions = buffer.buffer_size * buffer.n_envs
    results.add("replay", buffer.nbytes / transitions, "bytes/transition")
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
    """What it was measured on."""
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
