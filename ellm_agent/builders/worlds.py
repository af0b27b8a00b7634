"""Parallel worlds, and what is wrapped around them."""

from __future__ import annotations

from typing import Any

from ellm_agent.builders.rewards import make_rarity, make_similarity
from ellm_agent.config.schema import Config
from ellm_agent.datasets.dataset import Interface
from ellm_agent.datasets.shards import ShardWriter
from ellm_agent.goals.base import GoalSuggester
from ellm_agent.runs.folder import Run
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.added_reward import AddedReward
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.recorder import TransitionRecorder
from envs import registry
from prompts import open_ended


def make_worlds(
    config: Config,
    suggester: GoalSuggester,
    phrases: PhraseTable,
    n_envs: int,
    one_episode: bool = False,
) -> GoalExploration:
    """Parallel worlds in which goals are rewarded; ``one_episode``: for evaluation."""
    env = config.env
    worlds = registry.get(env.name).make_vec(n_envs, env.backend, **env.options)
    return GoalExploration(
        worlds,
        suggester,
        make_similarity(config, worlds.get_attr("language")[0]),
        phrases,
        goal_conditioned=config.agent.goal_conditioned,
        goal_weight=config.reward.goal_weight,
        rarity=make_rarity(config) if not one_episode else None,
        reopen=config.reward.reopen == "needed" and suggester.rewards_goals,
        max_active_goals=config.suggester.max_active_goals,
        active_goal_frames=config.suggester.active_goal_frames,
        sentence=config.agent.encoder == "sentence",
        hide=env.hide_clauses,
        success=config.reward.success,
        extrinsic_weight=config.reward.extrinsic_weight,
        observe_all_events=not suggester.rewards_goals,
        one_episode=one_episode,
        log_suggestions=suggestion_constants(config)
        if config.run.log_suggestions and not one_episode
        else None,
    )


def suggestion_constants(config: Config) -> dict[str, Any]:
    """Fields that all rows about the suggestions of a run have."""
    return {
        "world": config.env.name,
        "prompt": open_ended.VERSION,
        "caption_form": config.suggester.llm.caption,
        "suggester": config.suggester.kind,
    }


def make_recorder(run: Run, worlds: GoalExploration, bonus: AddedReward | None) -> TransitionRecorder:
    """Writes a run's transitions down."""
    config = run.config
    interface = Interface(
        config.env.name,
        config.env.options,
        int(worlds.action_space.n),
        {name: part.stop - part.start for name, part in worlds.fields.items()},
        config.env.hide_clauses,
    )
    source = {
        "name": config.name(),
        "algo": config.agent.algo,
        "seed": config.run.seed,
        "goals_observed": config.agent.goal_conditioned,
        "action_prior": config.agent.prior_strength,
    }
    writer = ShardWriter(run.folder, interface, source, worlds.phrases.text)
    return TransitionRecorder(bonus or worlds, writer)
