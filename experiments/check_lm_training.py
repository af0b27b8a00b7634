"""Checks the learners of language models on small tasks with known best answers; results go to a JSON file."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ellm_agent import cli
from ellm_agent.errors import UserError


@dataclass(frozen=True)
class Check:
    """A check, by seeds."""

    task: Literal["walks", "wordle", "stitching"]
    """walks: PPO and ILQL on random walks; wordle: ILQL against BC and filtered BC; stitching: tau .9 against .5."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds, each a check of its own."""
    out: Path = Path("results/lm_training")
    """Folder for the figures; TASK.json has a row for each seed."""


def main(options: Check) -> None:
    """Runs the checks.

    Raises:
        UserError: for seeds that are none.
    """
    if not options.seeds:
        raise UserError("seeds is empty; name one at least")
    for seed in options.seeds:
        cli.at_least(0, seeds=seed)
    import torch

    from ellm_agent.lm_training.checks import random_walks, stitching, wordle
    from ellm_agent.runs.folder import write_whole

    torch.set_num_threads(1)
    checks = {
        "walks": random_walks.check,
        "wordle": wordle.check,
        "stitching": lambda seed, report: {
            f"right_tau_{tau:g}": stitching.check(seed, tau, report=report) for tau in (0.9, 0.5)
        },
    }
    rows = []
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        started = time.process_time()
        figures = checks[options.task](seed, report=print)
        figures["cpu_seconds"] = time.process_time() - started
        rows.append({"seed": seed, **{name: round(value, 4) for name, value in figures.items()}})
        print(rows[-1])
        write_whole(options.out / f"{options.task}.json", json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    cli.script(main, Check, __doc__)
