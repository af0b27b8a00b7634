"""Writes docs/leaderboard.md from the results under results/ and the published rows of the worlds."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from ellm_agent import cli
from ellm_agent.analysis.results import Result, read
from ellm_agent.analysis.statistics import interquartile_mean
from ellm_agent.analysis.tables import Table
from ellm_agent.config import Config
from ellm_agent.errors import UserError
from ellm_agent.llm.factory import BEFORE
from envs import registry

ROOT = Path(__file__).resolve().parents[1]
ROWS = {  # world -> sweeps and methods without environment reward, the newest first
    "crafter": [
        *(("claude", "claude-open"),),
        *(("tools-5m", "oracle"), ("tools-1m", "oracle"), ("tools-1m", "open"), ("tools-1m", "novelty")),
        *(("prior-5m", "oracle"), ("prior-5m", "open"), ("prior-1m", "oracle"), ("open-1m", "open")),
        *(("open-1m", "closed"), ("dqn-1m", "oracle"), ("dqn-1m", "open"), ("prior-1m", "open")),
        *(("prior-1m", "novelty"), ("prior-1m", "rnd")),
        *(("million", "open"), ("million", "rnd"), ("million", "apt"), ("million", "random")),
    ],
    "housekeep": [
        *(("housekeep-homes-1m", "claude-closed"), ("housekeep-ellm-claude", "claude-closed")),
        *(("housekeep-homes", "oracle"), ("housekeep-homes-trained", "closed")),
        *(("housekeep-homes", method) for method in ("sbert", "closed", "novelty", "rnd", "random")),
        *(
            ("housekeep-ellm", method)
            for method in ("oracle", "closed", "sbert", "novelty", "noveld", "rnd", "apt", "random")
        ),
    ],
}
HEAD = (
    *("method", "learner", "frames", "score %", "unlocks/episode", "minutes a run", "seeds", "observes"),
    *("version", "results, commit"),
)


@dataclass(frozen=True)
class Options:
    out: Path = ROOT / "docs" / "leaderboard.md"
    """The document."""


def rows(world: str) -> Iterator[tuple[str, ...]]:
    """Our rows of a world: those of its sweeps that there are results of."""
    for sweep, method in ROWS[world]:
        folders = sorted((ROOT / "results" / sweep).glob(f"*/*/{method}/seed*"))
        for algo in sorted({folder.parts[-3] for folder in folders}):
            runs = [read(folder) for folder in folders if folder.parts[-3] == algo]
            runs = [run for run in runs if run.config.env.name == world]
            if runs:
                yield _row(sweep, method, runs)


def _row(sweep: str, method: str, runs: list[Result]) -> tuple[str, ...]:
    config = runs[0].config
    score, unlocks = (
        interquartile_mean([value(run) for run in runs]) for value in (lambda r: r.score, lambda r: r.unlocks)
    )
    observes = f"captions ({config.env.options['caption']})"
    observes += ", goals" if config.agent.goal_conditioned and config.suggester.kind != "none" else ""
    versions = sorted({run.summary["versions"].get("ellm-agent", "before 0.7.0") for run in runs})
    log = ["git", "log", "-1", "--format=%h", "--", f"results/{sweep}"]
    commit = subprocess.run(log, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return (
        _named(method, config),
        config.agent.algo,
        f"{config.run.frames / 1e6:g}M",
        score.text(len(runs)),
        unlocks.text(len(runs)),
        f"{np.mean([run.summary['seconds'] for run in runs]) / 60:.1f}",
        ", ".join(str(run.cell.seed) for run in runs),
        observes,
        ", ".join(versions),
        f"`{sweep}`, {commit}",
    )


def _named(method: str, config: Config) -> str:
    """The method, with whose recorded answers suggest where its name does not say it: closed (trained)."""
    llm = config.suggester.llm
    if not config.suggester.asks_model or llm.kind != "recorded":
        return method
    answers = Path(llm.answers or BEFORE).name
    return method if answers in method else f"{method} ({answers})"


def write(options: Options) -> None:
    """Writes the document."""
    cli.writable(out=options.out)
    ours = {world: list(rows(world)) for world in ROWS}
    if not any(ours.values()):
        raise UserError(f"{ROOT / 'results'} holds no results; experiments/compare.py makes them")
    template = jinja2.Template(
        (Path(__file__).with_suffix(".md.j2")).read_text(encoding="utf-8"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    worlds = {
        name: {
            "world": registry.get(name),
            "ours": Table(ours[name], HEAD).markdown() if ours[name] else "",
            "published": Table(
                [(m, r, f, s, u) for m, r, f, s, u in registry.get(name).published],
                ("method", "reward", "frames", "score %", "reward or unlocks/episode"),
            ).markdown()
            if registry.get(name).published
            else "",
        }
        for name in ROWS
    }
    options.out.write_text(template.render(worlds=worlds) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.script(write, Options, __doc__)
