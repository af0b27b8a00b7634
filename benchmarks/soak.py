"""A long run, watched: do memory, file descriptors or threads grow? ``python -m benchmarks.soak``.

Watched is the main script in a process of its own, from outside. Written are ``results/soak.json`` and a table.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from ellm_agent import cli

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Options:
    frames: int = 1_000_000
    """Frames of each run."""
    algos: tuple[str, ...] = ("ppo", "dqn")
    """Learners, one run each."""
    threads: int = 1
    """Threads for PyTorch in each run."""
    seconds: float = 1.0
    """Between two looks."""
    out: Path = ROOT / "results" / "soak.json"
    """Where to write the figures."""


def watch(algo: str, frames: int, threads: int, pause: float) -> dict:
    """Runs and watches; returns the samples and what they say."""
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        script = ROOT / "experiments" / "run_crafter.py"
        command = [sys.executable, script, "--algo", algo, "--frames", str(frames), "--threads", str(threads)]
        with subprocess.Popen([*command, "--out", run], stdout=subprocess.DEVNULL) as process:
            seen = psutil.Process(process.pid)
            started = time.monotonic()
            while process.poll() is None:
                try:
                    with seen.oneshot():
                        resident, threads, files = seen.memory_info().rss, seen.num_threads(), seen.num_fds()
                except psutil.Error:
                    break
                samples.append([round(time.monotonic() - started, 1), resident >> 20, files, threads])
                time.sleep(pause)
        if process.returncode:
            raise SystemExit(f"the run ended with status {process.returncode}")
        metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    by_frames = [(row["frames"], row["memory_mb"]) for row in metrics]
    return {"algo": algo, "frames": frames, "samples": samples, "memory_mb": by_frames} | growth(
        samples, by_frames
    )


def growth(samples: list[list[float]], by_frames: list[tuple[int, int]]) -> dict[str, float]:
    """Growth over the second half of the frames, in % of the memory at the half; and the largest counts there.

    Memory at the half and at the end are means over a tenth of the frames each: writing a checkpoint takes and gives back.
    """
    tenth = len(by_frames) // 10
    middle = len(by_frames) // 2
    half, end = (
        round(statistics.mean(memory for _, memory in rows), 1)
        for rows in (by_frames[middle - tenth // 2 : middle + tenth // 2], by_frames[-tenth:])
    )
    late = samples[len(samples) // 2 :]
    return {
        "memory_half_mb": half,
        "memory_end_mb": end,
        "growth_percent": round(100 * (end / half - 1), 2),
        "files": max(files for _, _, files, _ in late),
        "files_grown": late[-1][2] - late[0][2],
        "threads": max(threads for *_, threads in late),
        "threads_grown": late[-1][3] - late[0][3],
    }


def main(options: Options) -> None:
    results = [watch(algo, options.frames, options.threads, options.seconds) for algo in options.algos]
    options.out.write_text(json.dumps(results) + "\n")
    for told in results:
        print(
            f"{told['algo']}: {told['memory_half_mb']} MiB at half, {told['memory_end_mb']} at the end "
            f"({told['growth_percent']:+.2f} %); at most {told['files']} files and {told['threads']} threads"
        )


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
