"""Draws recorded episodes of a run as GIFs: the game, the goals suggested, and what was paid for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent.cli import one_line_errors, parse_options, unknown_option
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


def replay(options: Options) -> None:
    """Draws the episodes."""
    from ellm_agent.evaluation import Recording  # imported late: --help must not wait for PyTorch
    from ellm_agent.rendering import write_gif, write_mp4
    from ellm_agent.runs import Run

    for name in ("episodes", "max_frames"):
        if getattr(options, name) < 1:
            raise UserError(f"{name.replace('_', '-')} is {getattr(options, name)}; it must be at least 1")
    run = Run.open(options.run)
    recorded = sorted(run.replays.glob("*.json"))
    if not recorded:
        raise UserError(f"{options.run} holds no recorded episodes yet; they are kept when a run ends")
    out = options.out or run.replays
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    for path in recorded[: options.episodes]:
        recording = Recording.load(path)
        target = out / path.with_suffix(".gif").name
        write_gif(recording, target, options.max_frames)
        print(target)
        if options.mp4:
            write_mp4(recording, target.with_suffix(".mp4"))
            print(target.with_suffix(".mp4"))


if __name__ == "__main__":
    with one_line_errors():
        chosen, unknown = parse_options(Options, sys.argv[1:], __doc__)
        if unknown:
            raise unknown_option(unknown, ["episodes", "mp4", "max-frames", "out", "help"])
        replay(chosen)
