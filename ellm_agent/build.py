"""START HERE. Builds the parts of an agent that explores by goals in language, and trains it.

caption  = describe(state)                          envs/captions.py
goals    = suggester.suggest(captions) - achieved   ellm_agent/goals/
obs      = phrase ids of caption and achieved       ellm_agent/exploration.py, phrases.py
action   = agent(obs)                               ellm_agent/agent.py
state'   = env.step(action)                         envs/crafter_text.py
event    = describe_transition(state, state')       envs/captions.py
reward   = max cos(event, goal) if above T          ellm_agent/rewards/
achieved += events that were paid for               ellm_agent/exploration.py
agent learns                                        stable-baselines3
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.agents.replay import CompactNStepReplay, CompactReplay
from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.goals import (
    GoalSuggester,
    LanguageModelSuggester,
    NoGoals,
    NoveltySuggester,
    OracleSuggester,
    TaskGoals,
)
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.bundled import TEMPERATURE
from ellm_agent.llm.factory import make_model
from ellm_agent.llm.recorded import ReplayModel
from ellm_agent.llm.scripted import ScriptedModel
from ellm_agent.rewards import BONUSES, GoalSimilarity
from ellm_agent.runs import checkpoints
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.wrappers.added_reward import NoveltyBonus
from ellm_agent.wrappers.goal_exploration import GoalExploration, closed_vocabulary
from envs.crafter.compiled.vec_env import CompiledCrafter
from envs.crafter.env import CrafterTextEnv
from envs.interface import Language

SPARE_OFFSETS = 128  # learned offsets for phrases beyond the closed vocabulary


def environment_arguments(config: Config) -> dict[str, Any]:
    """Keyword arguments of the environment."""
    world = config.environment
    return {
        "protocol": world.protocol,
        "caption": world.caption,
        "action_space": world.action_space,
        "episode_length": world.episode_length,
        "task": world.task,
        "pays": world.pays,
    }


def make_suggester(config: Config, language: Language, model: LanguageModel | None = None) -> GoalSuggester:
    """Who suggests goals.

    Args:
        config: of the run.
        language: of its worlds.
        model: the language model to ask; None: the configuration's.

    Raises:
        UserError: for an endpoint, key, price or cache that is wrong or missing.
    """
    goals = config.goals
    if goals.goal_mode == "oracle":
        return OracleSuggester()
    if goals.goal_mode == "novelty":
        return NoveltySuggester(language.goals)
    if goals.goal_mode == "task":
        return TaskGoals()
    if goals.goal_mode == "none":
        return NoGoals()
    model = model or make_model(goals)
    pairs = (f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
    candidates = language.goals
    if goals.closed_candidates == "all":
        candidates = tuple(dict.fromkeys((*language.goals, *map(language.canonical, pairs))))
    verbs = (*language.verbs, *language.alone)
    temperature = goals.llm_temperature
    if temperature is None and model.source == "":
        temperature = TEMPERATURE
    return LanguageModelSuggester(
        model,
        goals.goal_mode,
        verbs,
        candidates,
        scene=language.brief if goals.llm_scene == "brief" else str,
        facts=language.facts,
        every=0 if isinstance(model, ScriptedModel | ReplayModel) else goals.frames_for_a_scene,
        in_flight=goals.llm_concurrency,
        temperature=temperature,
        structured=goals.llm_structured,
        stop_on_failure=goals.llm_on_failure == "stop",
    )


def make_exploration(
    config: Config,
    suggester: GoalSuggester,
    phrases: PhraseTable,
    n_envs: int,
    one_episode: bool = False,
) -> GoalExploration:
    """Parallel worlds that pay for goals in language; ``one_episode``: for evaluation."""
    arguments = environment_arguments(config)
    if config.environment.backend == "compiled":
        worlds = CompiledCrafter(n_envs, **arguments)
    else:
        worlds = DummyVecEnv([lambda: CrafterTextEnv(**arguments)] * n_envs)
    language = worlds.get_attr("language")[0]
    return GoalExploration(
        worlds,
        suggester,
        GoalSimilarity(phrases, config.goals.threshold, language.canonical),
        phrases,
        conditioned=config.goals.goal_conditioned,
        at_once=config.goals.goals_at_once,
        goal_frames=config.goals.goal_frames,
        sentence=config.agent.encoder == "sentence",
        success=config.goals.success,
        extrinsic_weight=config.goals.extrinsic_weight,
        witnessed=config.goals.goal_mode in ("none", "task"),
        one_episode=one_episode,
    )


def text_policy(worlds: GoalExploration, hidden: int, vectors: str = "adapted") -> dict[str, Any]:
    """``policy_kwargs`` with which any SB3 algorithm reads text.

    Args:
        worlds: gives the phrases.
        hidden: width of the encoder.
        vectors: "adapted", "whitened", "raw" or "learned", see ``config.AgentConfig``.
    """
    closed = worlds.phrases.ids(closed_vocabulary(worlds.language))
    features = None if vectors == "learned" else worlds.features(whiten=vectors != "raw")
    offsets = max(closed) + 1 + SPARE_OFFSETS if vectors in ("adapted", "learned") else 0
    return {
        "features_extractor_class": TextEncoder,
        "features_extractor_kwargs": {"features": features, "hidden": hidden, "offsets": offsets},
        "net_arch": [],
        "optimizer_kwargs": {"fused": True},
    }


def with_bonus(config: Config, worlds: GoalExploration) -> VecEnv:
    """The worlds, with a reward for novelty added if the configuration asks for one."""
    novelty = config.novelty
    if novelty.bonus is None:
        return worlds
    torch.manual_seed(_generator_seed(config.seed))
    features = worlds.features(whiten=config.agent.encoder == "clauses")
    own = {"alpha": novelty.bonus_alpha} if novelty.bonus == "noveld" else {}
    bonus = BONUSES[novelty.bonus](DIMENSIONS, worlds.action_space.n, novelty.bonus_hidden, **own)
    return NoveltyBonus(
        worlds,
        features,
        bonus,
        weight=novelty.bonus_weight,
        learning_rate=novelty.bonus_learning_rate,
        batch_size=novelty.bonus_batch,
        passes=novelty.bonus_passes,
    )


def make_agent(config: Config, worlds: GoalExploration, env: VecEnv | None = None) -> BaseAlgorithm:
    """The learner, reading through a text encoder.

    Args:
        config: of the run.
        worlds: gives the phrases and fields that are read.
        env: what it learns in, if more is wrapped around the worlds.
    """
    env = worlds if env is None else env
    policy = text_policy(worlds, config.agent.hidden, config.agent.vectors)
    common = {"seed": _generator_seed(config.seed), "device": "cpu", "policy_kwargs": policy}
    if config.agent.algo in ("dqn", "random"):
        return _make_dqn(config, worlds, env, common)
    ppo = config.ppo
    rollout = max(2, min(ppo.rollout, config.frames // worlds.num_envs))  # short runs learn something, too
    batch_size = min(ppo.batch_size, rollout * worlds.num_envs)
    common |= {
        "learning_rate": ppo.learning_rate,
        "n_steps": rollout,
        "gamma": ppo.gamma,
        "gae_lambda": ppo.gae_lambda,
    }
    if config.agent.algo == "trpo":
        policy["features_extractor_kwargs"]["twice"] = True
        return TRPO("MlpPolicy", env, batch_size=batch_size, target_kl=ppo.target_kl, **common)
    return PPO(
        "MlpPolicy",
        env,
        batch_size=batch_size,
        n_epochs=ppo.epochs,
        ent_coef=ppo.entropy,
        normalize_advantage=ppo.normalize,
        clip_range=ppo.clip,
        **common,
    )


def make_guide(config: Config, origin: Path | None, worlds: GoalExploration) -> BasePolicy | None:
    """The policy of a pretrained agent that is to guide exploration; None if nobody is.

    Args:
        config: of the run.
        origin: folder of what was taken over.
        worlds: give the phrases and fields that are read.

    Raises:
        UserError: if the pretrained networks cannot be read, or read something else.
    """
    if origin is None or config.transfer.transfer != "guide":
        return None
    return make_player(config_files.load(origin / "config.yaml"), origin, worlds).policy


def make_player(config: Config, checkpoint: Path, worlds: GoalExploration) -> BaseAlgorithm:
    """A trained agent that is to play, not to learn.

    Args:
        config: of the run that trained it.
        checkpoint: one of that run's, or what another run has copied of it; its phrases are those of the worlds.
        worlds: to play in.

    Raises:
        UserError: if its networks cannot be read, or read something else.
    """
    dqn = dataclasses.replace(config.dqn, buffer_size=1)  # nothing is learned: no replay, no minibatches
    ppo = dataclasses.replace(config.ppo, batch_size=config.ppo.rollout * worlds.num_envs)
    config = dataclasses.replace(config, dqn=dqn, ppo=ppo)
    agent = make_agent(config, worlds)
    checkpoints.load_policy(checkpoint, agent)
    return agent


def _make_dqn(config: Config, worlds: GoalExploration, env: VecEnv, common: dict[str, Any]) -> TextDQN:
    dqn, n_envs, target = config.dqn, worlds.num_envs, config.agent.target
    if config.agent.algo == "random":  # a softmax so hot that all actions are equal, and which never learns
        dqn = dataclasses.replace(dqn, temperature=1e9, learning_starts=config.frames, buffer_size=1)
        target = "munchausen"
    # Whole steps of all worlds; where their number does not divide, updates are a little rarer than asked.
    steps = max(1, -(-dqn.train_every // n_envs))
    replay = {"scene": worlds.fields["scene"].stop}
    if dqn.n_steps > 1:
        replay |= {"n_steps": dqn.n_steps, "gamma": dqn.gamma}
    return TextDQN(
        TextDQNPolicy,
        env,
        target=target,
        temperature=dqn.temperature,
        munchausen_scale=dqn.munchausen_scale,
        munchausen_clip=dqn.munchausen_clip,
        learning_rate=dqn.learning_rate,
        gamma=dqn.gamma,
        replay_buffer_class=CompactNStepReplay if dqn.n_steps > 1 else CompactReplay,
        replay_buffer_kwargs=replay,
        batch_size=dqn.batch_size,
        train_freq=steps,
        gradient_steps=max(1, steps * n_envs // dqn.train_every),
        learning_starts=dqn.learning_starts,
        buffer_size=max(n_envs, min(dqn.buffer_size, config.frames + n_envs)),
        target_update_interval=dqn.target_every,
        exploration_initial_eps=dqn.epsilon_initial,
        exploration_final_eps=dqn.epsilon_final,
        exploration_fraction=min(1.0, dqn.epsilon_frames / config.frames),
        max_grad_norm=dqn.max_grad_norm,
        **common,
    )


def _generator_seed(seed: int) -> int:
    """A seed far from that of any other run: SB3 gives environment i the algorithm's seed plus i, so
    that runs with seeds 0 and 1 would play nearly the same worlds."""
    return int(np.random.SeedSequence([seed, 0]).generate_state(1)[0] % 2**31)
