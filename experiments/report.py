"""Recomputes tables, figures and the page of a comparison from the raw files that ``compare.py`` has kept.

Writes ``report.html``, ``tables.md`` and a picture of the learning curves of each learner into the comparison's folder, and prints the tables.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.analysis import results as comparison


@dataclass(frozen=True)
class Options:
    results: Annotated[Path, tyro.conf.Positional]
    """Folder of a comparison, such as results/first."""


def main(options: Options) -> None:
    """Writes and prints."""
    groups = comparison.read_all(options.results)
    tasks = comparison.read_tasks(options.results)
    from ellm_agent.analysis import comparison_report as comparison_page
    from ellm_agent.analysis import task_report as task_page

    tables = "\n".join([comparison_page.markdown(groups), task_page.markdown(tasks)]).rstrip() + "\n"
    (options.results / "tables.md").write_text(tables, encoding="utf-8")
    path = options.results / "report.html"
    about = task_page.build(tasks)
    path.write_text(comparison_page.build(groups, options.results.name, about), encoding="utf-8")
    for (protocol, algo), by_task in tasks.items():
        task_page.save_curves(by_task, options.results / f"tasks-{protocol}-{algo}.png")
    for (protocol, algo), methods in groups.items():
        comparison_page.save_curves(methods, options.results / f"curves-{protocol}-{algo}.png")
    print(tables)
    print(f"see {path}", file=sys.stderr)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
