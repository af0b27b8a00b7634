"""What a trained agent does: FOLDER plays a shared agent; RUN --goals "chop tree" measures how it follows instructions.

A shared agent (experiments/share.py; also hub:USER/NAME) plays the episodes of its run's last evaluation, and the best is
drawn. Goal following is how often an agent reaches a goal when it is instructed to, and otherwise. It needs no language
model. Episodes are on held-out worlds, the same ones for each goal. Agents that do not observe goals (trained with
--no-goal-conditioned or --preset paper) are only counted.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError

if TYPE_CHECKING:
    from ellm_agent.sharing.folder import SharedAgent


FOLLOWING = 100  # episodes for each goal


@dataclass(frozen=True)
class Options:
    agent: Annotated[Path, tyro.conf.Positional]
    """A run folder, a shared agent's folder, or hub:USER/NAME."""
    goals: tuple[str, ...] = ()
    """Goals, in any wording that is close enough to the world's own. None: every goal of the world, or of a shared
    agent: it plays."""
    episodes: int | None = None
    """Episodes for each goal, or to play. None: 100, or those of the run's evaluation."""
    within: int = 100
    """Frames in which a goal is to be reached; an episode ends then."""
    gifs: int = 1
    """Played episodes to draw, the best first."""
    out: Path | None = None
    """JSON file for the figures. None: goal_following.json in the run's folder. Playing: folder for the episodes. None:
    played/, and the agent's name."""


def evaluate(options: Options) -> None:
    """Plays or measures, prints and writes."""
    cli.at_least(
        1, within=options.within, **({} if options.episodes is None else {"episodes": options.episodes})
    )
    cli.at_least(0, gifs=options.gifs)
    if any(not goal.strip() for goal in options.goals):
        raise UserError("a goal is empty; name it in words, such as 'chop tree'")
    from ellm_agent.runs.folder import Run
    from ellm_agent.runs.pretrained import trained_agent
    from ellm_agent.sharing import folder, hub

    name = str(options.agent)
    where = hub.pull(name.removeprefix(hub.PREFIX)) if name.startswith(hub.PREFIX) else options.agent
    if not folder.is_shared(where):
        run = Run.open(where)
        _follow(options, run.config, trained_agent(run), run.folder)
    elif options.goals:
        shared = folder.read(where)
        _follow(options, shared.config, shared.agent, where)
    else:
        title = name.removeprefix(hub.PREFIX) if where != options.agent else where.resolve().name
        out = options.out or Path("played") / title
        if out.is_file():
            raise UserError(f"out is {out}, a file; name a folder for the episodes")
        _play(options, folder.read(where), out)


def _follow(options: Options, config, trained, folder: Path) -> None:
    """Goal following."""
    cli.writable(out=options.out)
    from ellm_agent.config import files as config_files
    from ellm_agent.evaluation import goal_following
    from ellm_agent.experiment import library_settings
    from ellm_agent.runs.folder import write_whole

    with library_settings(config):
        found = goal_following.measure(
            config, trained, options.goals, options.episodes or FOLLOWING, options.within
        )
    goal_following.show(found)
    of_run = {name: value for name, value in config_files.plain(config).items() if name != "run.out"}
    content = {"run": of_run, "frames": trained.state["frames"], **asdict(found)}
    write_whole(options.out or folder / "goal_following.json", json.dumps(content))


def _play(options: Options, shared: SharedAgent, out: Path) -> None:
    """A shared agent's episodes."""
    from ellm_agent.evaluation import playing
    from ellm_agent.evaluation.rendering import draw_replays
    from ellm_agent.experiment import library_settings
    from ellm_agent.sharing.folder import Played

    with library_settings(shared.config):
        recordings, results = playing.play(shared, options.episodes)
    print("  ".join(f"{name} {value:,.2f}" for name, value in results.items()))
    counts = Counter(name for recording in recordings for name in recording.unlocked)
    print("unlocked: " + ", ".join(f"{name} {n}/{len(recordings)}" for name, n in counts.most_common()))
    if shared.episodes and len(recordings) == len(shared.episodes):
        same = len({*map(Played.of, recordings)} & {*shared.episodes})
        print(f"{same} of {len(recordings)} episodes are those of the run that trained it")
    draw_replays(recordings, out, shared.config, options.gifs)
    print(f"watch {out}")


if __name__ == "__main__":
    cli.script(evaluate, Options, __doc__)
