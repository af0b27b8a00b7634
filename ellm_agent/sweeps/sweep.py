"""Runs a sweep the way that its options ask for: processes of this machine, tasks of a Ray cluster, or jobs of a batch system."""

from __future__ import annotations

from collections.abc import Sequence

from ellm_agent.errors import UserError
from ellm_agent.sweeps import commands, local
from ellm_agent.sweeps.plan import Options


def run(options: Options, words: Sequence[str], more: Sequence[str] = ()) -> None:
    """Runs all cells that have no results yet, or prints their commands, or runs one of them.

    Args:
        options: what to compare, and where.
        words: how this program was called: the script, and the options before the ``--``.
        more: options of run_crafter.py for every run.

    Raises:
        UserError: if an option makes no sense, or some runs failed.
    """
    if options.print_commands:
        commands.print_commands(options, words, more)
    elif options.cell is not None:
        commands.run_one(options, more)
    elif options.cluster:
        try:
            from ellm_agent.sweeps import cluster
        except ModuleNotFoundError as error:
            raise UserError(
                f"cluster is {options.cluster}, but Ray is not installed: pip install -r requirements-ray.txt; "
                "without --cluster a sweep needs no Ray"
            ) from error
        cluster.run_sweep(options, more)
    else:
        local.run_sweep(options, more)
