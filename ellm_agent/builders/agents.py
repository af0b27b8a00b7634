"""Who acts and learns. A new agent: any SB3 algorithm, a line in ``make_agent``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from ellm_agent.builders.common import find_device, generator_seed
from ellm_agent.builders.rewards import make_similarity
from ellm_agent.config.agent import OFFLINE
from ellm_agent.config.schema import Config
from ellm_agent.datasets.logs import check_interface, check_words, describe, load, observed
from ellm_agent.datasets.relabel import ForGoals, Unlocks, relabel
from ellm_agent.runs import checkpoints
from ellm_agent.runs.pretrained import Pretrained
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.observation import PREFIXES

SPARE_OFFSETS = 128  # learned offsets for observed phrases beyond the known ones
MET_OFFSETS = 2**13  # the same in worlds whose phrases are met on demand


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
        vectors: "adapted", "whitened", "raw" or "learned", see ``config.agent.AgentConfig``.
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
        start_from_prior(agent.policy, strength * _logit(config))
    if finetunes:
        with checkpoints.readable(pretrained.source):
            load_pretrained_networks(agent, pretrained.state["policy"], config.transfer.layers)
    return agent


def _logit(config: Config) -> float:
    """One logit of the policy, in units of its last layer."""
    return config.soft_temperature if config.agent.algo == "dqn" else 1.0


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


def _make_dqn(
    config: Config, env: VecEnv, guide: BasePolicy | None, random_start: bool, common: Mapping[str, Any]
) -> TextDQN:
    dqn, n_envs = config.agent.dqn, env.num_envs
    steps, updates = _updates(n_envs, dqn.train_every)
    n_step = {"n_steps": dqn.n_steps, "gamma": dqn.gamma} if dqn.n_steps > 1 else {}
    return TextDQN(
        TextDQNPolicy,
        env,
        target=config.agent.target,
        temperature=config.soft_temperature,
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
        gradient_steps=updates,
        learning_starts=dqn.learning_starts,
        buffer_size=max(n_envs, min(dqn.buffer_size, config.run.frames + n_envs)),
        target_update_interval=dqn.target_every,
        exploration_initial_eps=dqn.epsilon_initial,
        exploration_final_eps=dqn.epsilon_final,
        exploration_fraction=dqn.epsilon_frames / config.run.frames,  # above 1: it does not end in this run
        max_grad_norm=dqn.max_grad_norm,
        **common,
    )


def _updates(n_envs: int, train_every: int) -> tuple[int, int]:
    """After how many steps of all worlds gradient steps are taken, and how many: one for each ``train_every`` frames, to a
    twentieth, as soon as that can be had.
    """
    first = -(-train_every // n_envs)

    def error(steps: int) -> float:
        exact = steps * n_envs / train_every
        return abs(round(exact) / exact - 1)

    steps = next(steps for steps in range(first, first + train_every + 1) if error(steps) <= 0.05)
    return steps, round(steps * n_envs / train_every)


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
        ent_coef=config.entropy_weight,
        normalize_advantage=options.normalize,
        clip_range=options.clip,
        **common,
    )


def _make_offline(
    config: Config, env: VecEnv, log: LoggedTransitions | None, common: Mapping[str, Any]
) -> OfflineAgent:
    options, algo = config.agent.offline, config.agent.algo
    kinds = {"bc": BC, "filtered-bc": BC, "awr": AWR, "iql": IQL, "cql": CQL}
    weights = {"temperature": options.temperature, "max_weight": options.max_weight}
    targets = {"n_steps": options.n_steps, "polyak": options.polyak}
    own: dict[str, Any] = {
        "filtered-bc": {"top_share": options.top_share},
        "awr": weights,
        "iql": weights | targets | {"expectile": options.expectile},
        "cql": targets | {"alpha": options.alpha, "temperature": options.q_temperature},
    }.get(algo, {})
    return kinds[algo](
        TextDQNPolicy if algo == "cql" else ActorCriticPolicy,
        env,
        log,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        gamma=options.gamma,
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
        reward = ForGoals(make_similarity(config, language), options.goals)
    else:
        reward = Unlocks(tuple(language.goal_of.values()) or language.goals)
    uses_logged_rewards = options.reward == "logged" and not options.goals
    rewards = dataset.rewards if uses_logged_rewards else relabel(dataset, reward)
    observations = observed(dataset, worlds.phrases.id, PREFIXES["achieved"])
    log = LoggedTransitions(observations, dataset.starts, dataset.actions, rewards, dataset.terminated)
    return log, describe(dataset, rewards)
