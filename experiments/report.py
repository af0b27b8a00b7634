"""Recomputes tables, figures and the page of a comparison from the raw files that ``compare.py`` has kept.

Writes ``report.html``, ``tables.md`` and a picture of each learner's curves into the comparison's folder, and prints the
tables.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli


@dataclass(frozen=True)
class Options:
    results: Annotated[Path, tyro.conf.Positional]
    """Folder of a comparison, such as results/first."""
    frames: int | None = None
    """Only print the tables of the first so many frames of each run. None: all frames; files are written."""


def main(options: Options) -> None:
    """Writes and prints."""
    from ellm_agent.analysis.comparison_report import markdown, write_report
    from ellm_agent.analysis.results import read_all

    if options.frames is not None:
        cli.at_least(1, frames=options.frames)
        print(markdown(read_all(options.results, options.frames)))
        return
    print(write_report(options.results))
    print(f"see {options.results / 'report.html'}", file=sys.stderr)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
