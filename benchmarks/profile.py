"""Profiles a run: ``python -m benchmarks.profile --algo ppo --frames 60000``."""

from __future__ import annotations

import cProfile
import pstats
from dataclasses import dataclass
from typing import Literal

import torch
import tyro

from benchmarks.speed import small, trained


@dataclass
class Options:
    """Options."""

    algo: Literal["dqn", "ppo", "trpo"] = "dqn"
    """The learner."""
    goal_mode: Literal["open", "closed", "oracle", "novelty", "none"] = "open"
    """Who suggests goals."""
    frames: int = 40_000
    """Frames to train for."""
    by: Literal["tottime", "cumtime"] = "tottime"
    """Functions by the time spent in them alone, or with all that they call."""
    lines: int = 40
    """Functions to show."""
    operators: bool = False
    """Whether to show PyTorch's operators instead of Python's functions."""


def main(options: Options) -> None:
    """Trains under a profiler, and prints its table."""
    config = small(options.algo, options.goal_mode, options.frames)
    if options.operators:
        with torch.profiler.profile() as operators:
            trained(config)
        print(operators.key_averages().table(sort_by="self_cpu_time_total", row_limit=options.lines))
        return
    functions = cProfile.Profile()
    functions.runcall(trained, config)
    pstats.Stats(functions).strip_dirs().sort_stats(options.by).print_stats(options.lines)


if __name__ == "__main__":
    main(tyro.cli(Options))
