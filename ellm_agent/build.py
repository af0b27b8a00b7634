"""Configuration -> parts. The only module that names concrete suggesters, rewards and agents.

A new one is a file in its package, a line here, and its name among the choices in ``config/schema.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from ellm_agent.agents.action_prior import ActionPrior, start_from_prior
from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.agents.random_policy import RandomAgent
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.agents.transfer import load_pretrained_networks
from ellm_agent.config.schema import AgentConfig, Config
from ellm_agent.errors import UserError
from ellm_agent.goals.attempts import AttemptFilter
from ellm_agent.goals.base import AllGoals, GoalSuggester, NoGoals, OracleSuggester, TaskGoals
from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.factory import make_model
from ellm_agent.preferences.clips import ClipReader, ClipRecorder, first_clips
from ellm_agent.preferences.judges import Judge, ModelJudge, SyntheticJudge, frames_with, true_reward
from ellm_agent.preferences.labels import LABELS, LabelFile
from ellm_agent.preferences.page import open_page
from ellm_agent.preferences.person import PersonJudge
from ellm_agent.preferences.teaching import TaughtReward, Teaching
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.rewards.novelty.apt import APT
from ellm_agent.rewards.novelty.icm import ICM
from ellm_agent.rewards.novelty.noveld import NovelD
from ellm_agent.rewards.novelty.reward import NoveltyReward
from ellm_agent.rewards.novelty.rnd import RND
from ellm_agent.rewards.preference import PreferenceReward
from ellm_agent.rewards.rarity import InverseRate, LearningProgress, Rarity
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import Pretrained, load_pretrained
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.training import Parts
from ellm_agent.wrappers.added_reward import AddedReward
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.observation import PREFIXES
from envs import registry
from envs.interface import Language

NOVELTY_MODELS = {"rnd": RND, "noveld": NovelD, "icm": ICM, "apt": APT}
SPARE_OFFSETS = 128  # learned offsets for observed phrases beyond the known ones


def build(run: Run, suggester: GoalSuggester, checkpoint: Mapping[str, Any] | None = None) -> Parts:
    """The parts of a run.

    Args:
        run: its configuration decides.
        suggester: from ``make_suggester``.
        checkpoint: state of the checkpoint that it continues from.

    Raises:
        UserError: if the checkpoint or the pretrained agent cannot be read.
    """
    config = run.config
    pretrained = load_pretrained(run)
    start = checkpoint or (pretrained.state if pretrained else None)
    phrases = checkpoints.load_phrases(start, run.folder) if start else PhraseTable()
    worlds = make_worlds(config, suggester, phrases, config.env.n_envs)
    held_out = make_worlds(config, suggester, phrases, config.run.eval_episodes, one_episode=True)
    taught = (
        make_taught_reward(config, worlds, held_out, run.folder) if config.reward.preference.labels else None
    )
    bonus = (
        AddedReward(worlds, taught, config.reward.preference.weight) if taught else make_bonus(config, worlds)
    )
    agent = make_agent(config, worlds, bonus, pretrained)
    callbacks = (
        [Teaching(taught, config.reward.preference.weight, config.reward.preference.pace)] if taught else []
    )
    return Parts(registry.get(config.env.name), worlds, held_out, bonus, agent, suggester, tuple(callbacks))


def make_suggester(config: Config, language: Language, model: LanguageModel | None = None) -> GoalSuggester:
    """The suggester of a configuration.

    Args:
        config: of the run.
        language: of its worlds.
        model: the language model; None: the configuration's.

    Raises:
        UserError: for an endpoint, key, price or cache that is wrong or missing.
    """
    if config.suggester.learned_filter:
        plain = make_suggester(config.changed(**{"suggester.learned_filter": False}), language, model)
        similar = GoalSimilarity(config.reward.threshold, language.canonical).satisfies
        return AttemptFilter(plain, language, similar)
    suggester, llm = config.suggester, config.suggester.llm
    plain = {
        "oracle": OracleSuggester,
        "novelty": lambda: AllGoals(language.goals),
        "task": TaskGoals,
        "none": NoGoals,
    }
    if suggester.kind in plain:
        return plain[suggester.kind]()
    model = model or make_model(suggester, registry.get(config.env.name))
    candidates = language.goals
    if suggester.closed_candidates == "all":
        pairs = (f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
        candidates = tuple(dict.fromkeys((*language.goals, *map(language.canonical, pairs))))
    return LanguageModelSuggester(
        model,
        suggester.kind,
        language,
        candidates=candidates,
        caption={"brief": language.drop_target, "whole": str, "paper": language.names_only}[llm.caption],
        every=suggester.frames_per_question,
        in_flight=llm.concurrency,
        temperature=llm.temperature,
        structured=llm.structured,
        stop_on_failure=llm.on_failure == "stop",
    )


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
    canonical = worlds.get_attr("language")[0].canonical
    rewards_goals = config.suggester.kind not in ("none", "task")
    return GoalExploration(
        worlds,
        suggester,
        GoalSimilarity(config.reward.threshold, canonical),
        phrases,
        goal_conditioned=config.agent.goal_conditioned,
        goal_weight=config.reward.goal_weight,
        rarity=make_rarity(config) if not one_episode else None,
        reopen=config.reward.reopen == "needed"
        and suggester.rewards_goals
        and config.suggester.kind != "none",
        max_active_goals=config.suggester.max_active_goals,
        active_goal_frames=config.suggester.active_goal_frames,
        sentence=config.agent.encoder == "sentence",
        success=config.reward.success,
        extrinsic_weight=config.reward.extrinsic_weight,
        observe_all_events=not rewards_goals,
        one_episode=one_episode,
    )


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
    config: Config, worlds: GoalExploration, held_out: GoalExploration, folder: Path
) -> TaughtReward:
    """A reward that is learned from preferences during the run.

    Args:
        config: of the run.
        worlds: its training worlds.
        held_out: its worlds for evaluation, in which another run's recordings are played again.
        folder: of the run, where the labels are kept.

    Raises:
        UserError: if recordings or labels cannot be read, or for a page or a language model that cannot be had.
    """
    options, seed = config.reward.preference, generator_seed(config.run.seed)
    slots = worlds.fields["achieved"].stop  # the caption, and what was achieved; no goals
    reward = PreferenceReward(
        worlds.features(whiten=True),
        slots,
        options.members,
        options.hidden,
        options.learning_rate,
        steps=options.steps,
        seed=seed,
    )
    recorder = ClipRecorder(worlds.num_envs, options.clip_frames, slots)
    clips = first_clips(options, config.env, held_out, slots) if options.recordings else []
    labels = LabelFile(folder / LABELS, (options.clip_frames + 1, slots))
    judge = make_judge(config, worlds, labels)
    frames = config.run.frames
    return TaughtReward(reward, recorder, judge, labels, options.labels, frames, options.queries, seed, clips)


def make_judge(config: Config, worlds: GoalExploration, labels: LabelFile) -> Judge:
    """Who compares clips. A person's page is opened at once.

    Raises:
        UserError: for a page or a language model that cannot be had.
    """
    options, reader, seed = config.reward.preference, ClipReader(worlds), generator_seed(config.run.seed)
    if options.judge == "person":
        judge = PersonJudge(labels, reader, config.env, options.labels)
        open_page(judge, options.port)
        return judge
    if options.judge == "model":
        model = make_model(
            config.suggester.model_copy(update={"kind": "open"}), registry.get(config.env.name)
        )
        in_flight = config.suggester.llm.concurrency
        return ModelJudge(model, reader, worlds.language, options.words or "", in_flight)
    value = true_reward if options.judge == "truth" else frames_with(options.words, reader)
    return SyntheticJudge(options.judge, value, options.errors, seed)


def text_policy(
    worlds: GoalExploration,
    hidden: int,
    vectors: str = "adapted",
    twice: bool = False,
    offsets: int | None = None,
    prior: bool = False,
) -> dict[str, Any]:
    """``policy_kwargs`` with which any SB3 algorithm reads text.

    Args:
        worlds: give the phrases.
        hidden: width of the encoder.
        vectors: "adapted", "whitened", "raw" or "learned", see ``config.schema.AgentConfig``.
        twice: whether second derivatives are needed (TRPO).
        offsets: number of phrases with a learned offset; None: those that are known to be observed, and some to spare.
        prior: whether the features of an action prior are put behind the encoder's.
    """
    features = None if vectors == "learned" else worlds.features(whiten=vectors != "raw")
    if vectors not in ("adapted", "learned"):
        offsets = 0
    elif offsets is None:
        offsets = max(worlds.known_phrases) + 1 + SPARE_OFFSETS
    return {
        "features_extractor_class": TextEncoder,
        "features_extractor_kwargs": {
            "features": features,
            "hidden": hidden,
            "offsets": offsets,
            "twice": twice,
            "prior": make_action_prior(worlds) if prior else None,
        },
        "net_arch": [],
        "optimizer_kwargs": {"fused": True},
    }


def make_action_prior(worlds: GoalExploration) -> ActionPrior:
    """The prior over actions that the worlds' open goals give."""
    actions = int(worlds.action_space.n)
    return ActionPrior(worlds.phrases, worlds.language, PREFIXES["goals"], worlds.satisfies, actions)


def make_agent(
    config: Config,
    worlds: GoalExploration,
    bonus: AddedReward | None = None,
    pretrained: Pretrained | None = None,
    offsets: int | None = None,
) -> BaseAlgorithm:
    """The learner, which reads through a text encoder.

    Args:
        config: of the run.
        worlds: its training worlds.
        bonus: a reward around them, if any.
        pretrained: the agent whose networks it starts from, or whose actions guide it.
        offsets: see ``text_policy``.

    Raises:
        UserError: if the pretrained networks cannot be read.
    """
    env = bonus or worlds
    seed = generator_seed(config.run.seed)
    if config.agent.algo == "random":
        return RandomAgent(env, seed)
    finetunes = pretrained is not None and config.transfer.mode == "finetune"
    offsets = _offsets(pretrained) if finetunes else offsets
    twice = config.agent.algo == "trpo"
    strength = config.agent.prior_strength
    policy = text_policy(
        worlds, config.agent.hidden, config.agent.vectors, twice, offsets, prior=strength > 0
    )
    common = {"seed": seed, "device": find_device(config.run.device), "policy_kwargs": policy}
    if config.agent.algo == "dqn":
        # The guide reads what this agent observes: the same worlds, and the same growing table of phrases.
        guide = None if pretrained is None or finetunes else make_player(config, pretrained, worlds).policy
        agent = _make_dqn(config, env, guide, random_start=not finetunes, common=common)
    else:
        agent = _make_on_policy(config, env, common)
    if strength:
        start_from_prior(agent.policy, strength * _logit(config.agent))
    if finetunes:
        with checkpoints.readable(pretrained.source):
            load_pretrained_networks(agent, pretrained.state["policy"], config.transfer.layers)
    return agent


def _logit(agent: AgentConfig) -> float:
    """One logit of the policy, in units of its last layer."""
    return agent.dqn.temperature if agent.algo == "dqn" else 1.0


def make_player(config: Config, trained: Pretrained, worlds: GoalExploration) -> BaseAlgorithm:
    """A trained agent that plays and does not learn.

    Args:
        config: of the run in which it plays; its device is used.
        trained: its networks, and the configuration of the run that trained it.
        worlds: to play in, with the phrases of the trained agent.

    Raises:
        UserError: if its networks cannot be read.
    """
    rollout = trained.config.agent.on_policy.rollout * worlds.num_envs
    player = trained.config.changed(  # no replay and no minibatches
        **{
            "run.device": config.run.device,
            "agent.dqn.buffer_size": 1,
            "agent.on_policy.batch_size": rollout,
            "transfer": {"mode": "none"},
        }
    )
    with checkpoints.readable(trained.source):
        agent = make_agent(player, worlds, offsets=_offsets(trained))
        agent.policy.load_state_dict(trained.state["policy"])
    return agent


def _offsets(trained: Pretrained) -> int:
    """The number of phrases with a learned offset in trained networks."""
    sizes = [len(tensor) for name, tensor in trained.state["policy"].items() if name.endswith(".offsets")]
    return sizes[0] if sizes else 0


def find_device(name: str) -> torch.device:
    """The device of ``--device``; "auto": a GPU if there is one.

    Raises:
        UserError: if it is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, found in available.items() if found)
    if not available[name]:
        found = ", ".join(device for device, there in available.items() if there)
        raise UserError(f"device is {name}, which is not available here; choose one of {found}")
    return torch.device(name)


def _make_dqn(
    config: Config, env: VecEnv, guide: BasePolicy | None, random_start: bool, common: Mapping[str, Any]
) -> TextDQN:
    dqn, n_envs = config.agent.dqn, env.num_envs
    # Whole steps of all worlds; where their number does not divide, updates are slightly rarer than configured.
    steps = max(1, -(-dqn.train_every // n_envs))
    n_step = {"n_steps": dqn.n_steps, "gamma": dqn.gamma} if dqn.n_steps > 1 else {}
    return TextDQN(
        TextDQNPolicy,
        env,
        target=config.agent.target,
        temperature=dqn.temperature,
        munchausen_scale=dqn.munchausen_scale,
        munchausen_clip=dqn.munchausen_clip,
        epsilon_greedy=dqn.epsilon_greedy,
        guide=guide,
        guide_share=config.transfer.guide_share,
        random_start=random_start,
        learning_rate=dqn.learning_rate,
        gamma=dqn.gamma,
        replay_buffer_class=NStepReplayBuffer if n_step else ReplayBuffer,
        replay_buffer_kwargs=n_step,
        batch_size=dqn.batch_size,
        train_freq=steps,
        gradient_steps=max(1, steps * n_envs // dqn.train_every),
        learning_starts=dqn.learning_starts,
        buffer_size=max(n_envs, min(dqn.buffer_size, config.run.frames + n_envs)),
        target_update_interval=dqn.target_every,
        exploration_initial_eps=dqn.epsilon_initial,
        exploration_final_eps=dqn.epsilon_final,
        exploration_fraction=min(1.0, dqn.epsilon_frames / config.run.frames),
        max_grad_norm=dqn.max_grad_norm,
        **common,
    )


def _make_on_policy(config: Config, env: VecEnv, common: Mapping[str, Any]) -> BaseAlgorithm:
    options = config.agent.on_policy
    rollout = max(
        2, min(options.rollout, config.run.frames // env.num_envs)
    )  # short runs learn something, too
    common = {
        **common,
        "learning_rate": options.learning_rate,
        "n_steps": rollout,
        "batch_size": min(options.batch_size, rollout * env.num_envs),
        "gamma": options.gamma,
        "gae_lambda": options.gae_lambda,
    }
    if config.agent.algo == "trpo":
        return TRPO("MlpPolicy", env, target_kl=options.target_kl, **common)
    return PPO(
        "MlpPolicy",
        env,
        n_epochs=options.epochs,
        ent_coef=options.entropy,
        normalize_advantage=options.normalize,
        clip_range=options.clip,
        **common,
    )


def generator_seed(seed: int) -> int:
    """A generator seed far from that of any other run.

    SB3 gives environment i the algorithm's seed plus i, so runs with seeds 0 and 1 would play nearly the same worlds.
    """
    return int(np.random.SeedSequence([seed, 0]).generate_state(1)[0] % 2**31)
