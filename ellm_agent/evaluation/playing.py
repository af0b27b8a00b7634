"""Lets a shared agent play held-out worlds: by default the episodes of its run's last evaluation, action for action."""

from __future__ import annotations

from collections.abc import Sequence

from ellm_agent.build import make_player, make_suggester, make_worlds
from ellm_agent.evaluation.recording import Recording, record_episodes, summarise
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.runs import checkpoints
from ellm_agent.sharing.folder import LANGUAGE_MODELS, SharedAgent
from envs import registry
from prompts import Prompt


class Remembered(LanguageModel):
    """Stands for the language model of a run that has ended: evaluation recalls its answers, and asks nothing.

    Args:
        shared: the agent that it suggested goals to.
    """

    name = description = "remembered answers"

    def __init__(self, shared: SharedAgent):
        self.likely_goals = shared.likely_goals
        self.can_be_asked_ahead = "queue" in shared.plain_suggester

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [LanguageModelError("no model is asked here", kind="never_asked") for _ in prompts]

    def load_state_dict(self, state) -> None:
        """The state of another model's counters is of no use here."""


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
    model = Remembered(shared) if config.suggester.kind in LANGUAGE_MODELS else None
    suggester = make_suggester(config, world.language(**config.env.options), model)
    with checkpoints.readable(shared.agent.source):
        suggester.load_state_dict(shared.suggester)
    phrases = checkpoints.load_phrases(shared.agent.state, shared.agent.source)
    worlds = make_worlds(config, suggester, phrases, episodes or config.run.eval_episodes, one_episode=True)
    agent = make_player(config, shared.agent, worlds)
    recordings = record_episodes(agent, worlds, config.env.name, config.env.options)
    return recordings, summarise(recordings, SuccessRates(world, worlds.language.achievements))
