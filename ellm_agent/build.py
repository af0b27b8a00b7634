"""Configuration -> parts. Makers of single parts are in ``builders/``, which alone names concrete classes.

A new suggester, reward or agent is a file in its package, a line in ``builders/suggesters.py``, ``rewards.py`` or
``agents.py``, and its name among the choices in ``config/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ellm_agent.builders.agents import make_action_prior, make_agent, make_player, read_log, text_policy
from ellm_agent.builders.common import find_device, generator_seed
from ellm_agent.builders.rewards import NOVELTY_MODELS, make_bonus, make_similarity, make_taught_reward
from ellm_agent.builders.suggesters import SBERT_SHARE, make_suggester
from ellm_agent.builders.worlds import make_recorder, make_worlds
from ellm_agent.config.agent import OFFLINE
from ellm_agent.datasets.logs import note_data
from ellm_agent.goals.base import GoalSuggester
from ellm_agent.llm.base import LanguageModel
from ellm_agent.preferences.teaching import Teaching
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import load_pretrained
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.training import Parts
from ellm_agent.wrappers.added_reward import AddedReward
from envs import registry

__all__ = [
    "NOVELTY_MODELS", "SBERT_SHARE", "build", "find_device", "generator_seed", "make_action_prior", "make_agent", "make_bonus",
    "make_player", "make_similarity", "make_suggester", "make_worlds", "read_log", "text_policy",
]  # fmt: skip


def build(
    run: Run,
    suggester: GoalSuggester,
    checkpoint: Mapping[str, Any] | None = None,
    model: LanguageModel | None = None,
) -> Parts:
    """The parts of a run.

    Args:
        run: its configuration decides.
        suggester: from ``make_suggester``.
        checkpoint: state of the checkpoint that it continues from.
        model: compares clips, where a language model does; None: the configuration's.

    Raises:
        UserError: if the checkpoint or the pretrained agent cannot be read.
    """
    config = run.config
    pretrained = load_pretrained(run)
    start = checkpoint or (pretrained.state if pretrained else None)
    phrases = checkpoints.load_phrases(start, run.folder) if start else PhraseTable()
    worlds = make_worlds(config, suggester, phrases, config.env.n_envs)
    held_out = make_worlds(config, suggester, phrases, config.run.eval_episodes, one_episode=True)
    if config.reward.preference.labels:
        resumes = checkpoint is not None
        taught = make_taught_reward(config, worlds, held_out, run.folder, resumes, model)
        bonus = AddedReward(worlds, taught, config.reward.preference.weight)
        callbacks = (Teaching(taught, config.reward.preference.weight, config.reward.preference.pace),)
    else:
        bonus, callbacks = make_bonus(config, worlds), ()
    recorder = make_recorder(run, worlds, bonus) if config.run.record else None
    log = None
    if config.agent.algo in OFFLINE:
        log, about = read_log(config, worlds)
        note_data(run.folder, about)
    agent = make_agent(config, worlds, recorder or bonus, pretrained, log=log)
    return Parts(
        registry.get(config.env.name), worlds, held_out, bonus, agent, suggester, recorder, callbacks
    )
