"""The page and the tables of a comparison, from its raw files alone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from ellm_agent.analysis import figures, page
from ellm_agent.analysis.results import Group, read_all, read_tasks
from ellm_agent.evaluation.recording import Recording

SHOWN = ("open", "oracle", "rnd")  # methods of which an episode is drawn


@figures.style()
def write_report(folder: Path) -> str:
    """Writes the page, the tables and a picture of each learner's curves into a comparison's folder.

    Returns:
        the tables, as Markdown.

    Raises:
        UserError: if results cannot be read, or do not belong together.
    """
    groups, tasks = read_all(folder), read_tasks(folder)
    text = markdown(groups, tasks)
    (folder / "tables.md").write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(build(groups, folder.name, tasks), encoding="utf-8")
    for group in tasks:
        figures.save_png(figures.task_curves(group), folder / f"tasks-{group.protocol}-{group.algo}.png")
    for group in groups:
        curves = figures.comparison_curves(group)
        figures.save_png(curves, folder / f"curves-{group.protocol}-{group.algo}.png")
    return text


def markdown(groups: Sequence[Group], tasks: Sequence[Group] = ()) -> str:
    """The tables as Markdown."""
    return page.render("tables.md.j2", groups=groups, tasks=tasks).rstrip() + "\n"


def build(groups: Sequence[Group], name: str, tasks: Sequence[Group] = ()) -> str:
    """The whole page.

    Args:
        groups: runs to compare.
        name: of the comparison.
        tasks: runs of downstream tasks.
    """
    values = {"groups": groups, "tasks": tasks, "episodes": _episodes}
    return page.render("comparison.html.j2", title=name, **values)


def _episodes(group: Group) -> Iterator[tuple[bytes, str]]:
    """The best last evaluation episode of a few methods, as GIF, and a caption."""
    from ellm_agent.evaluation.rendering import write_gif

    for name in SHOWN:
        for run in group.methods.get(name, [])[:1]:
            if (run.folder / "replay.json.gz").is_file():
                recording, gif = Recording.load(run.folder / "replay.json.gz"), io.BytesIO()
                write_gif(recording, gif, max_frames=80)  # a page should stay small
                outcome = f"best episode of the last evaluation, {len(recording.unlocked)} unlocks"
                yield gif.getvalue(), f"{name}, seed {run.cell.seed}: {outcome}"
