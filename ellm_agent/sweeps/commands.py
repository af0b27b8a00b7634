"""A sweep as one command for each cell, for batch systems such as Slurm. Each goes on from its cell's last checkpoint."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from ellm_agent.errors import UserError
from ellm_agent.sweeps import job as jobs
from ellm_agent.sweeps.plan import Options, plan


def print_commands(options: Options, words: Sequence[str], more: Sequence[str] = ()) -> None:
    """Prints a line for each cell that has no results yet; a line's tasks stand behind their pretraining.

    Args:
        options: what to compare.
        words: how this program was called: the script, and the options before the ``--``.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense.
    """
    cells = plan(options, more)
    numbers = {cell: number for number, cell in enumerate(cells)}
    kept = [word for word in words if word not in ("--print-commands", "--print_commands")]
    behind = ["--", *more] if more else []
    lines: dict[object, list[str]] = {}
    for job in jobs.jobs_left(options, cells):
        command = shlex.join([sys.executable, *kept, "--cell", str(numbers[job.cell]), *behind])
        first = job.cell.pretraining() if job.config.transfer.pretrained else job.cell
        lines.setdefault(first, []).append(command)
    for commands in lines.values():
        print(" && ".join(commands))


def run_one(options: Options, more: Sequence[str] = ()) -> None:
    """Runs the cell with the number ``options.cell``, unless it has results.

    Raises:
        UserError: if there is no such cell, or something is wrong with it.
    """
    cells = plan(options, more)
    if not 0 <= options.cell < len(cells):
        raise UserError(f"cell is {options.cell}; the sweep has cells 0 to {len(cells) - 1}")
    wanted = list(cells)[options.cell]
    for job in jobs.jobs_left(options, cells):
        if job.cell == wanted:
            jobs.run(job)
