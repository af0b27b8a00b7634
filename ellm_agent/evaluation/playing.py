"""Lets a shared agent play held-out worlds: by default the episodes of its run's last evaluation, action for action."""

from __future__ import annotations

from ellm_agent.build import make_player, make_worlds
from ellm_agent.evaluation.recording import Recording, record_episodes, summarise
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.runs import checkpoints
from ellm_agent.sharing.folder import SharedAgent
from ellm_agent.sharing.vectors import remembering_suggester
from envs import registry


def play(shared: SharedAgent, episodes: int | None = None) -> tuple[list[Recording], dict[str, float]]:
    """Plays, and sums up; means as in ``evaluations.jsonl``.

    Args:
        shared: the agent.
        episodes: how many; None: as many as in its run's evaluation. Other numbers give other episodes, because all are
            played at once with one source of random numbers.

    Raises:
        UserError: if the agent does not fit this version.
    """
    config = shared.config
    world = registry.get(config.env.name)
    with checkpoints.readable(shared.agent.source):
        suggester = remembering_suggester(config, shared.likely_goals, shared.suggester)
    phrases = checkpoints.load_phrases(shared.agent.state, shared.agent.source)
    worlds = make_worlds(config, suggester, phrases, episodes or config.run.eval_episodes, one_episode=True)
    agent = make_player(config, shared.agent, worlds)
    recordings = record_episodes(agent, worlds, config.env.name, config.env.options)
    return recordings, summarise(recordings, SuccessRates(world, worlds.language.achievements))
