"""Draws recorded episodes of a run as GIFs: the game, the goals, and what they were rewarded for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli


@dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional]
    """A run folder."""
    episodes: int = 3
    """How many of its recorded episodes to draw, in the order of their file names."""
    mp4: bool = False
    """Write MP4 as well."""
    max_frames: int = 400
    """About how many frames a GIF has at most; longer episodes skip frames evenly."""
    out: Path | None = None
    """Folder for what is drawn. None: the run's replays folder."""


def main(options: Options) -> None:
    """Draws the episodes."""
    cli.at_least(1, episodes=options.episodes, max_frames=options.max_frames)
    from ellm_agent.evaluation.rendering import draw_run
    from ellm_agent.runs.folder import Run

    run = Run.open(options.run)
    for path in draw_run(run, options.out or run.replays, options.episodes, options.max_frames, options.mp4):
        print(path)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
