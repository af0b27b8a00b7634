"""Fresh episodes of a finished run's agent: RUN.

The score of training counts all that the agent ever did, also what it has unlearned since. Here the final agent plays
held-out worlds, with the run's own suggester, and learns nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError


@dataclass(frozen=True)
class Options:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders."""
    episodes: int = 250
    """Episodes of each agent, on held-out worlds, the same for all."""
    out: Path | None = None
    """JSON file for the figures of a single run. None: fresh_episodes.json in each run's folder."""


def measure(folder: Path, episodes: int) -> dict:
    """Success rates and scores of a run's final agent.

    Raises:
        UserError: if the folder holds no trained agent.
    """
    from ellm_agent.build import build, make_suggester
    from ellm_agent.evaluation.recording import record_episodes, summarise
    from ellm_agent.evaluation.scores import SuccessRates
    from ellm_agent.experiment import library_settings
    from ellm_agent.runs import checkpoints
    from ellm_agent.runs.folder import Run
    from envs import registry

    run = Run.open(folder)
    # The agent plays and does not learn: without what learns beside it, such as a judge's page.
    run.config = config = run.config.changed(
        **{"run.eval_episodes": episodes, "run.record": False, "reward.preference.labels": 0}
    )
    found = checkpoints.latest(run.checkpoints)
    if found is None:
        raise UserError(f"{folder} holds no checkpoint yet; let the run end first")
    path, state = found
    world = registry.get(config.env.name)
    language = world.language(**config.env.options)
    with library_settings(config):
        parts = build(run, make_suggester(config, language), state)
        checkpoints.load(state, path, parts.agent, parts.worlds, None)
        recordings = record_episodes(parts.agent, parts.held_out, config.env.name, config.env.options)
    parts.suggester.close()
    rates = SuccessRates(world, language.achievements)
    summary = summarise(recordings, rates)
    return {"frames": checkpoints.frames_of(path), **summary, "success_rates": rates.rates()}


def main(options: Options) -> None:
    """Measures, prints and writes."""
    cli.at_least(1, episodes=options.episodes)
    if not options.runs:
        raise UserError("no run is named; name at least one run folder")
    if options.out is not None and len(options.runs) > 1:
        raise UserError("out names one file, but there are several runs; leave it out")
    cli.writable(out=options.out)
    from ellm_agent.runs.folder import write_whole

    for folder in options.runs:
        found = measure(folder, options.episodes)
        written = json.dumps(found, indent=1)
        rates = sorted(found.pop("success_rates").items(), key=lambda item: -item[1])
        print(f"{folder}: " + ", ".join(f"{name} {value:,.1f}" for name, value in found.items()))
        print("  " + ", ".join(f"{name} {rate:.1%}" for name, rate in rates))
        write_whole(options.out or folder / "fresh_episodes.json", written)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
