"""What a transition is worth. A new reward for novelty: a file in ``rewards/novelty/``, a line in ``NOVELTY_MODELS``."""

from __future__ import annotations

from pathlib import Path

import torch

from ellm_agent.builders.common import find_device, generator_seed
from ellm_agent.config.schema import Config
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.factory import make_model
from ellm_agent.preferences.clips import ClipReader, ClipRecorder, first_clips
from ellm_agent.preferences.judges import ClipModelJudge, Judge, SyntheticJudge, frames_with, true_reward
from ellm_agent.preferences.labels import LABELS, LabelFile
from ellm_agent.preferences.page import open_page
from ellm_agent.preferences.person import QUESTION, PersonJudge
from ellm_agent.preferences.teaching import TaughtReward
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.rewards.novelty.apt import APT
from ellm_agent.rewards.novelty.icm import ICM
from ellm_agent.rewards.novelty.noveld import NovelD
from ellm_agent.rewards.novelty.reward import NoveltyReward
from ellm_agent.rewards.novelty.rnd import RND
from ellm_agent.rewards.preference import PreferenceReward
from ellm_agent.rewards.rarity import InverseRate, LearningProgress, Rarity
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.wrappers.added_reward import AddedReward
from ellm_agent.wrappers.goal_exploration import GoalExploration
from envs import registry
from envs.interface import Language

NOVELTY_MODELS = {"rnd": RND, "noveld": NovelD, "icm": ICM, "apt": APT}


def make_similarity(config: Config, language: Language) -> GoalSimilarity:
    """How events and goals are compared."""
    threshold = config.reward.threshold
    apart = frozenset(language.goals) if threshold >= language.closest else ()
    return GoalSimilarity(threshold, language.canonical, apart=apart)


def make_rarity(config: Config) -> Rarity | None:
    """How much more rare events are worth; None: nothing."""
    kinds = {"none": None, "rate": InverseRate(config.reward.rarity_power), "progress": LearningProgress()}
    return kinds[config.reward.rarity]


def make_bonus(config: Config, worlds: GoalExploration) -> AddedReward | None:
    """A reward for novelty around the worlds; None if the configuration has none."""
    reward = make_transition_reward(config, worlds)
    return None if reward is None else AddedReward(worlds, reward, config.reward.novelty.weight)


def make_transition_reward(config: Config, worlds: GoalExploration) -> TransitionReward | None:
    """The reward beside that for goals; None if the configuration has none."""
    novelty = config.reward.novelty
    if novelty.kind is None:
        return None
    torch.manual_seed(generator_seed(config.run.seed))
    own = {"alpha": novelty.alpha} if novelty.kind == "noveld" else {}
    model = NOVELTY_MODELS[novelty.kind](DIMENSIONS, int(worlds.action_space.n), novelty.hidden, **own)
    return NoveltyReward(
        worlds.num_envs,
        worlds.features(whiten=config.agent.encoder == "clauses"),
        model,
        device=find_device(config.run.device),
        learning_rate=novelty.learning_rate,
        batch_size=novelty.batch_size,
        passes=novelty.passes,
    )


def make_taught_reward(
    config: Config,
    worlds: GoalExploration,
    held_out: GoalExploration,
    folder: Path,
    resumes: bool = False,
    model: LanguageModel | None = None,
) -> TaughtReward:
    """A reward that is learned from preferences during the run.

    Args:
        config: of the run.
        worlds: its training worlds.
        held_out: its worlds for evaluation, in which another run's recordings are played again.
        folder: of the run, where the labels are kept.
        resumes: whether a checkpoint follows, which holds the clips; recordings are not read then.
        model: compares clips, where a language model does; None: the configuration's.

    Raises:
        UserError: if recordings or labels cannot be read, or for a page or a language model that cannot be had.
    """
    options, seed = config.reward.preference, generator_seed(config.run.seed)
    events = worlds.fields["achieved"]
    slots = events.stop  # the caption, and what was achieved; no goals
    reward = PreferenceReward(
        worlds.features(whiten=True),
        slots,
        options.members,
        options.hidden,
        options.learning_rate,
        steps=options.steps,
        seed=seed,
        events=events,
        optimism=options.optimism,
        event_bonus=options.event_bonus,
    )
    recorder = ClipRecorder(worlds.num_envs, options.clip_frames, slots, events=events)
    begins = options.recordings and not resumes
    clips = first_clips(options, config.env, held_out, slots) if begins else []
    labels = LabelFile(folder / LABELS, (options.clip_frames + 1, slots), worlds.phrases)
    judge = make_judge(config, worlds, labels, model)
    frames = config.run.frames
    return TaughtReward(reward, recorder, judge, labels, options.labels, frames, options.queries, seed, clips)


def make_judge(
    config: Config, worlds: GoalExploration, labels: LabelFile, model: LanguageModel | None = None
) -> Judge:
    """Who compares clips. A person's page is opened at once.

    Args:
        config: of the run.
        worlds: its training worlds.
        labels: where the answers are kept.
        model: compares clips, where a language model does; None: the configuration's.

    Raises:
        UserError: for a page or a language model that cannot be had.
    """
    options, reader, seed = config.reward.preference, ClipReader(worlds), generator_seed(config.run.seed)
    if options.judge == "person":
        question = f"Better: {options.words}" if options.words else QUESTION
        judge = PersonJudge(labels, reader, config.env, options.labels, question)
        open_page(judge, options.port)
        return judge
    if options.judge == "model":
        llm, asking = config.suggester.llm, config.suggester.model_copy(update={"kind": "open"})
        model = model or make_model(asking, registry.get(config.env.name))
        aim, stops = options.words or "", llm.on_failure == "stop"
        return ClipModelJudge(model, reader, worlds.language, aim, llm.concurrency, stops)
    value = true_reward if options.judge == "truth" else frames_with(options.words, reader)
    return SyntheticJudge(options.judge, value, options.errors, seed)
