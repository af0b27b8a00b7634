"""The page and the tables of a comparison, from its raw files alone."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ellm_agent.analysis import figures, page, tables, task_report
from ellm_agent.analysis.results import Group, read_all, read_tasks
from ellm_agent.evaluation.recording import Recording

SHOWN = ("open", "oracle", "rnd")  # methods of which an episode is drawn
PROFILE = (
    "Performance profile, with 95 % interval: the share of pairs of an achievement and a seed whose success rate is above a "
    "threshold. What the literature calls tasks are achievements here, which is unusual: all of them are learned in one run."
)


def write_report(folder: Path) -> str:
    """Writes the page, the tables and a picture of each learner's curves into a comparison's folder.

    Returns:
        the tables, as Markdown.

    Raises:
        UserError: if results cannot be read, or do not belong together.
    """
    groups, tasks = read_all(folder), read_tasks(folder)
    text = "\n".join([markdown(groups), task_report.markdown(tasks)]).rstrip() + "\n"
    (folder / "tables.md").write_text(text, encoding="utf-8")
    html = build(groups, folder.name, task_report.build(tasks))
    (folder / "report.html").write_text(html, encoding="utf-8")
    for group in tasks:
        task_report.save_curves(group, folder / f"tasks-{group.protocol}-{group.algo}.png")
    for group in groups:
        save_curves(group, folder / f"curves-{group.protocol}-{group.algo}.png")
    return text


def markdown(groups: Sequence[Group]) -> str:
    """The tables as Markdown."""
    lines = []
    for group in groups:
        lines += [f"### {_title(group)}", "", *tables.methods(group).markdown(), "", tables.INTERVALS]
        if tables.versions(group):
            lines += ["", tables.versions(group)]
        better = tables.improvements(group)
        if better.rows:
            lines += ["", tables.improvements_note(group), "", *better.markdown()]
        lines.append("")
    return "\n".join(lines)


def build(groups: Sequence[Group], name: str, tasks: Sequence[page.Section] = ()) -> str:
    """The whole page.

    Args:
        groups: runs to compare.
        name: of the comparison.
        tasks: sections about downstream tasks, see ``task_report``.
    """
    world = groups[0].world
    opening = f"Every number and figure is computed from the raw episodes of the runs. {world.published_note}".strip()
    with figures.style():
        sections = [page.Section(_title(group), list(_blocks(group))) for group in groups]
    sections += tasks
    if world.published:
        blocks = [page.Text(world.published_note, "aside"), tables.published(world)]
        sections.append(page.Section("Published, by their authors", blocks))
    sections.append(page.Section("Versions", [tables.pairs(groups[0].runs[0].summary["versions"])]))
    return page.render(name, sections, [page.Text(opening)])


def save_curves(group: Group, path: Path) -> None:
    """Learning curves as a PNG, for documents."""
    with figures.style():
        figures.save_png(figures.comparison_curves(group), path)


def _title(group: Group) -> str:
    return f"{group.protocol} protocol, {group.algo}"


def _blocks(group: Group) -> Iterator[page.Block]:
    yield page.drawing(
        figures.comparison_curves(group), "Learning curves: interquartile mean over seeds, 95 % interval"
    )
    yield tables.methods(group)
    yield page.Text(tables.INTERVALS, "aside")
    if tables.versions(group):
        yield page.Text(tables.versions(group), "aside")
    rates = "Success rate of each achievement over all training episodes, mean over seeds"
    yield page.drawing(figures.comparison_achievements(group), rates)
    yield page.drawing(figures.comparison_profile(group), PROFILE)
    better = tables.improvements(group)
    if better.rows:
        yield page.Text(tables.improvements_note(group), "aside")
        yield better
    quality = tables.quality(group)
    if quality.rows:
        yield quality
    sampled = [name for name, runs in group.methods.items() if runs[0].config.suggester.max_active_goals]
    if sampled and quality.rows:
        yield page.Text(f"Goals suggested of {', '.join(sampled)}: those sampled as active.", "aside")
    yield tables.first_unlocks(group)
    yield page.Row(list(_episodes(group)))


def _episodes(group: Group) -> Iterator[page.Picture]:
    """The best last evaluation episode of a few methods, drawn."""
    from ellm_agent.evaluation.rendering import write_gif

    for name in SHOWN:
        for run in group.methods.get(name, [])[:1]:
            file = run.folder / "replay.json.gz"
            if not file.is_file():
                continue
            with tempfile.TemporaryDirectory() as folder:
                plain, gif = Path(folder) / "replay.json", Path(folder) / "replay.gif"
                plain.write_bytes(gzip.decompress(file.read_bytes()))
                recording = Recording.load(plain)
                write_gif(recording, gif, max_frames=80)  # a page should stay small
                outcome = f"best episode of the last evaluation, {len(recording.unlocked)} unlocks"
                yield page.Picture(gif.read_bytes(), "image/gif", f"{name}, seed {run.cell.seed}: {outcome}")
