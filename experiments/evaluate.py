"""Goal following: how often a trained agent reaches a goal when it is instructed to, and otherwise: RUN --goals "chop tree".

Needs no language model. Episodes are on held-out worlds, the same ones for each goal. Agents that do not observe goals (trained
with --no-goal-conditioned or --preset paper) are only counted.
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
    """Goals, in any wording that is close enough to the world's own. None: every goal of the world."""
    episodes: int = 100
    """Episodes for each goal."""
    within: int = 100
    """Frames in which it is to be reached; an episode ends then."""
    out: Path | None = None
    """JSON file for the figures. None: goal_following.json in the run's folder."""


def evaluate(options: Options) -> None:
    """Measures, prints and writes."""
    cli.at_least(1, episodes=options.episodes, within=options.within)
    if any(not goal.strip() for goal in options.goals):
        raise UserError("a goal is empty; name it in words, such as 'chop tree'")
    from ellm_agent.config import files as config_files
    from ellm_agent.evaluation import goal_following
    from ellm_agent.experiment import torch_settings
    from ellm_agent.runs.folder import Run, write_whole
    from ellm_agent.runs.pretrained import trained_agent

    run = Run.open(options.run)
    trained = trained_agent(run)
    with torch_settings(run.config):
        found = goal_following.measure(run.config, trained, options.goals, options.episodes, options.within)
    goal_following.show(found)
    of_run = {name: value for name, value in config_files.plain(run.config).items() if name != "run.out"}
    content = {"run": of_run, "frames": trained.state["frames"], **asdict(found)}
    write_whole(options.out or run.folder / "goal_following.json", json.dumps(content))


if __name__ == "__main__":
    cli.script(evaluate, Options, __doc__)
