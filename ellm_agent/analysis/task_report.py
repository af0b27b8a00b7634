"""Tables and page sections of downstream tasks, from the raw files of a comparison alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ellm_agent.analysis import figures, page, tables
from ellm_agent.analysis.results import TaskGroup


def markdown(groups: Sequence[TaskGroup]) -> str:
    """The tables as Markdown."""
    lines = []
    for group in groups:
        lines += [f"### {_title(group)}", "", tables.AREA, ""]
        lines += [*tables.mean_areas(tables.areas(group)).markdown(), "", tables.WHOLE_SEEDS, ""]
        lines += [*tables.areas_by_task(group).markdown(), "", tables.INTERVALS, ""]
    return "\n".join(lines)


def build(groups: Sequence[TaskGroup]) -> list[page.Section]:
    """Sections of the comparison's page."""
    with figures.style():
        return [page.Section(_title(group), _blocks(group)) for group in groups]


def save_curves(group: TaskGroup, path: Path) -> None:
    """Success curves as a PNG, for documents."""
    with figures.style():
        figures.save_png(figures.task_curves(group), path)


def _title(group: TaskGroup) -> str:
    guided = any(run.guided for run in group.runs)
    how = f"by a new DQN, guided by {group.algo} agents" if guided else f"by fine-tuning, {group.algo}"
    return f"Downstream tasks {how}: {group.protocol} protocol, {group.frames:,} frames each"


def _blocks(group: TaskGroup) -> list[page.Block]:
    return [
        page.drawing(figures.task_curves(group), "Share of episodes in which the task is solved"),
        page.Text(tables.AREA, "aside"),
        tables.mean_areas(tables.areas(group)),
        page.Text(tables.WHOLE_SEEDS, "aside"),
        tables.areas_by_task(group, "area, by task"),
        page.Text(tables.INTERVALS, "aside"),
    ]
