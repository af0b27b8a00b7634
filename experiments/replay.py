"""Draws recorded episodes of a run as GIFs: the game, the goals, and what they were rewarded for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError


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
    """Draws the episodes.

    Raises:
        UserError: if an option makes no sense, or nothing is recorded.
    """
    cli.at_least(1, episodes=options.episodes, max_frames=options.max_frames)
    from ellm_agent.evaluation.recording import Recording
    from ellm_agent.evaluation.rendering import write_gif, write_mp4
    from ellm_agent.runs.folder import Run

    run = Run.open(options.run)
    recorded = sorted(run.replays.glob("*.json"))
    if not recorded:
        raise UserError(f"{run.folder} holds no recorded episodes yet; they are kept when a run ends")
    out = options.out or run.replays
    out.mkdir(parents=True, exist_ok=True)
    for path in recorded[: options.episodes]:
        recording, target = Recording.load(path), out / f"{path.stem}.gif"
        write_gif(recording, target, options.max_frames)
        print(target)
        if options.mp4:
            write_mp4(recording, target.with_suffix(".mp4"))
            print(target.with_suffix(".mp4"))


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
