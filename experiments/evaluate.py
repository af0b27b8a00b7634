"""Measures how often a trained agent reaches a goal that it is told, and how often when it is told another: RUN --goals "chop tree".

Needs no language model. Episodes are on held-out worlds, the same ones for each goal told. What an agent that does not read goals
(all but those trained with --goal-conditioned) is told makes no difference; then it is only counted what it reaches.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError


@dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional]
    """A run folder."""
    goals: tuple[str, ...] = ()
    """Goals, in any wording that is close enough to what the game calls them. None: every goal of the game."""
    episodes: int = 100
    """Episodes for each goal."""
    within: int = 100
    """Frames in which it is to be reached; an episode ends then."""
    out: Path | None = None
    """JSON file for the figures. None: told.json in the run's folder."""


def evaluate(options: Options) -> None:
    """Measures, prints and writes."""
    cli.at_least(1, episodes=options.episodes, within=options.within)
    if any(not goal.strip() for goal in options.goals):
        raise UserError("a goal is empty; name it in words, such as 'chop tree'")
    from ellm_agent.config import files as config_files
    from ellm_agent.evaluation import goal_following as told
    from ellm_agent.runs import checkpoints
    from ellm_agent.runs.folder import Run, write_whole

    run = Run.open(options.run)
    checkpoint = checkpoints.latest(run.checkpoints)
    if checkpoint is None:
        raise UserError(f"{run.folder} holds no checkpoint yet; let the run end first")
    found = told.measure(run.config, checkpoint, options.goals, options.episodes, options.within)
    told.show(found)
    out = options.out or run.folder / "told.json"
    options_of_run = {name: value for name, value in config_files.plain(run.config).items() if name != "out"}
    told_of = {"run": options_of_run, "frames": checkpoints.frames_of(checkpoint), **asdict(found)}
    write_whole(out, json.dumps(told_of))


if __name__ == "__main__":
    cli.script(evaluate, Options, __doc__)
