"""Configuration -> parts. The only module that names concrete suggesters, rewards and agents.

A new one is a file in its package, a line here, and its name among the choices in ``config/schema.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from ellm_agent.agents.action_prior import ActionPrior, start_from_prior
from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.agents.offline.awr import AWR
from ellm_agent.agents.offline.base import OfflineAgent
from ellm_agent.agents.offline.bc import BC
from ellm_agent.agents.offline.buffer import LoggedTransitions
from ellm_agent.agents.offline.cql import CQL
from ellm_agent.agents.offline.iql import IQL
from ellm_agent.agents.random_policy import RandomAgent
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.agents.transfer import load_pretrained_networks
from ellm_agent.config.schema import OFFLINE, AgentConfig, Config
from ellm_agent.datasets.dataset import Interface
from ellm_agent.datasets.logs import check_interface, check_words, describe, load, note_data, observed
from ellm_agent.datasets.relabel import ForGoals, Unlocks, relabel
from ellm_agent.datasets.shards import ShardWriter
from ellm_agent.errors import UserError
from ellm_agent.goals.attempts import AttemptFilter
from ellm_agent.goals.base import AllGoals, CommonGoals, GoalSuggester, NoGoals, OracleSuggester, TaskGoals
from ellm_agent.goals.judged import CosineJudge, JudgedGoals, ModelJudge
from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.goals.noisy_oracle import NoisyOracle
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.factory import make_model
from ellm_agent.llm.recorded import RecordedModel
from ellm_agent.preferences.clips import ClipReader, ClipRecorder, first_clips
from ellm_agent.preferences.judges import ClipModelJudge, Judge, SyntheticJudge, frames_with, true_reward
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
from ellm_agent.wrappers.recorder import TransitionRecorder
from envs import registry
from envs.interface import Language
from prompts import open_ended, statement

NOVELTY_MODELS = {"rnd": RND, "noveld": NovelD, "icm": ICM, "apt": APT}
SBERT_SHARE = 0.05  # of the places of a thing that are right, for the cosine baseline
# Worlds from this seed on, and situations in them, in which the commonest goals are counted.
SAMPLED_WORLDS, SAMPLED = 1_000_000, 200
SPARE_OFFSETS = 128  # learned offsets for observed phrases beyond the known ones
MET_OFFSETS = 2**13  # the same in worlds whose phrases are met on demand


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
    recorder = make_recorder(run, worlds, bonus) if config.run.record else None
    log = None
    if config.agent.algo in OFFLINE:
        log, about = read_log(config, worlds)
        note_data(run.folder, about)
    agent = make_agent(config, worlds, recorder or bonus, pretrained, log=log)
    callbacks = (
        [Teaching(taught, config.reward.preference.weight, config.reward.preference.pace)] if taught else []
    )
    return Parts(
        registry.get(config.env.name), worlds, held_out, bonus, agent, suggester, recorder, tuple(callbacks)
    )


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
        return AttemptFilter(plain, language, make_similarity(config, language).satisfies)
    suggester, llm, world = config.suggester, config.suggester.llm, registry.get(config.env.name)
    plain = {
        "oracle": OracleSuggester,
        "noisy-oracle": lambda: NoisyOracle(
            suggester.oracle_recall,
            suggester.oracle_precision,
            language.goals,
            language.drop_target,
            language.candidates,
        ),
        "novelty": lambda: AllGoals(language.goals, language.candidates),
        "common": lambda: CommonGoals(world.situations(SAMPLED_WORLDS, SAMPLED, seed=0)),
        "task": TaskGoals,
        "none": NoGoals,
    }
    if suggester.kind in plain:
        return plain[suggester.kind]()
    judgements = language.judgements
    if suggester.kind == "sbert":
        if judgements is None:
            raise UserError(
                f"goal-mode is sbert, but in {config.env.name} no goals depend on what belongs where"
            )
        return JudgedGoals(CosineJudge(judgements.all, SBERT_SHARE), judgements)
    model = model or make_model(suggester, world)
    judged = suggester.kind == "closed" and judgements is not None
    if judged and isinstance(model, RecordedModel):
        model.check([statement.prompt(one, judgements) for one in judgements.all])
    candidates = language.goals
    if suggester.closed_candidates == "all":
        pairs = (f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
        candidates = tuple(dict.fromkeys((*language.goals, *map(language.canonical, pairs))))
    asking = LanguageModelSuggester(
        model,
        "statements" if judged else suggester.kind,
        language,
        candidates=candidates,
        caption=str
        if judged
        else {"brief": language.drop_target, "whole": str, "paper": language.names_only}[llm.caption],
        every=min(suggester.frames_per_question, 1) if judged else suggester.frames_per_question,
        in_flight=llm.concurrency,
        temperature=llm.temperature,
        structured=llm.structured,
        stop_on_failure=llm.on_failure == "stop",
        scoring={
            "base": suggester.score_base,
            "best": suggester.score_best,
            "threshold": suggester.score_threshold,
        },
    )
    return JudgedGoals(ModelJudge(asking, len(judgements.all)), judgements) if judged else asking


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
    rewards_goals = config.suggester.kind not in ("none", "task")
    return GoalExploration(
        worlds,
        suggester,
        make_similarity(config, worlds.get_attr("language")[0]),
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
        log_suggestions=suggestion_constants(config)
        if config.run.log_suggestions and not one_episode
        else None,
    )


def make_similarity(config: Config, language: Language) -> GoalSimilarity:
    """How events and goals are compared."""
    threshold = config.reward.threshold
    apart = frozenset(language.goals) if threshold >= language.closest else ()
    return GoalSimilarity(threshold, language.canonical, apart=apart)


def suggestion_constants(config: Config) -> dict[str, Any]:
    """Fields that all rows about the suggestions of a run have."""
    return {
        "world": config.env.name,
        "prompt": open_ended.VERSION,
        "caption_form": config.suggester.llm.caption,
        "suggester": config.suggester.kind,
    }


def make_rarity(config: Config) -> Rarity | None:
    """How much more rare events are worth; None: nothing."""
    kinds = {"none": None, "rate": InverseRate(config.reward.rarity_power), "progress": LearningProgress()}
    return kinds[config.reward.rarity]


def make_bonus(config: Config, worlds: GoalExploration) -> AddedReward | None:
    """A reward for novelty around the worlds; None if the configuration has none."""
    reward = make_transition_reward(config, worlds)
    return None if reward is None else AddedReward(worlds, reward, config.reward.novelty.weight)


def make_recorder(run: Run, worlds: GoalExploration, bonus: AddedReward | None) -> TransitionRecorder:
    """Writes a run's transitions down."""
    config = run.config
    interface = Interface(
        config.env.name,
        config.env.options,
        int(worlds.action_space.n),
        {name: part.stop - part.start for name, part in worlds.fields.items()},
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
        return ClipModelJudge(model, reader, worlds.language, options.words or "", in_flight)
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
        offsets = max(worlds.known_phrases) + 1 + (MET_OFFSETS if worlds.on_demand else SPARE_OFFSETS)
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
    language, actions = worlds.language, int(worlds.action_space.n)
    if worlds.on_demand or worlds.compares_spelling:  # a meaning is a goal's own words, or no goal
        return ActionPrior(worlds.phrases, language, PREFIXES["goals"], None, actions)
    known = set(language.goals)
    meanings = (meaning for pairs in language.action_meanings.values() for _, meaning in pairs)
    # The same batch in every run: it is found on disk, and most runs need not load SentenceBERT.
    worlds.prepare([meaning for meaning in meanings if meaning not in known])
    return ActionPrior(worlds.phrases, language, PREFIXES["goals"], worlds.satisfies, actions)


def make_agent(
    config: Config,
    worlds: GoalExploration,
    around: VecEnv | None = None,
    pretrained: Pretrained | None = None,
    offsets: int | None = None,
    log: LoggedTransitions | None = None,
) -> BaseAlgorithm:
    """The learner, which reads through a text encoder.

    Args:
        config: of the run.
        worlds: its training worlds.
        around: what is wrapped around them, if anything.
        pretrained: the agent whose networks it starts from, or whose actions guide it.
        offsets: see ``text_policy``.
        log: what an agent learns from that does not play, see ``read_log``; None: it only plays.

    Raises:
        UserError: if the pretrained networks cannot be read.
    """
    env = around or worlds
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
    elif config.agent.algo in OFFLINE:
        agent = _make_offline(config, env, log, common)
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


def _make_offline(
    config: Config, env: VecEnv, log: LoggedTransitions | None, common: Mapping[str, Any]
) -> OfflineAgent:
    options, algo = config.agent.offline, config.agent.algo
    kinds = {"bc": BC, "filtered-bc": BC, "awr": AWR, "iql": IQL, "cql": CQL}
    weights = {"temperature": options.temperature, "max_weight": options.max_weight}
    own: dict[str, Any] = {
        "filtered-bc": {"top_share": options.top_share},
        "awr": weights,
        "iql": weights | {"expectile": options.expectile, "polyak": options.polyak},
        "cql": {"alpha": options.alpha, "polyak": options.polyak, "temperature": options.q_temperature},
    }.get(algo, {})
    return kinds[algo](
        TextDQNPolicy if algo == "cql" else ActorCriticPolicy,
        env,
        log,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        gamma=options.gamma,
        n_steps=options.n_steps,
        **own,
        **common,
    )


def read_log(config: Config, worlds: GoalExploration) -> tuple[LoggedTransitions, dict[str, Any]]:
    """The transitions that an agent learns from, in the phrase ids of its worlds, and what is known about them.

    Raises:
        UserError: if they cannot be read, or come from another world.
    """
    options, language = config.agent.offline, worlds.language
    dataset = load(options.data)
    check_interface(dataset.interface, config)
    check_words(dataset, language.vocabulary)
    if options.goals:
        reward = ForGoals(GoalSimilarity(config.reward.threshold, language.canonical), options.goals)
    else:
        reward = Unlocks(tuple(language.goal_of.values()) or language.goals)
    unplayed = options.reward == "logged" and not options.goals
    rewards = dataset.rewards if unplayed else relabel(dataset, reward)
    observations = observed(dataset, worlds.phrases.id, PREFIXES["achieved"])
    log = LoggedTransitions(observations, dataset.starts, dataset.actions, rewards, dataset.terminated)
    return log, describe(dataset, rewards)


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
        from sb3_contrib import TRPO  # late: with all of that package

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
