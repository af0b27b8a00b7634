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

from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import CallbackList
from stable_baselines3.common.logger import Logger

from ellm_agent.agents.dqn import TextDQN
from ellm_agent.agents.transfer import load_pretrained_networks
from ellm_agent.build import (
    environment_arguments,
    make_agent,
    make_exploration,
    make_guide,
    with_bonus,
)
from ellm_agent.evaluation.recording import Recording
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.goals import (
    GoalSuggester,
)
from ellm_agent.runs import checkpoints
from ellm_agent.runs.callbacks import Checkpoints, EpisodeLog, Evaluation, FrameBudget, Metrics, ProgressLine
from ellm_agent.runs.folder import Run
from ellm_agent.runs.logging import MetricsWriter, TensorBoard
from ellm_agent.runs.signals import StopRequest
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.added_reward import NoveltyBonus
from ellm_agent.wrappers.goal_exploration import GoalExploration


@dataclass(frozen=True)
class Trained:
    """What training leaves in memory.

    Attributes:
        agent: the learner.
        exploration: its training worlds.
        rates: success rates over all training episodes.
        recordings: the last evaluation's episodes.
        seconds: spent training.
    """

    agent: BaseAlgorithm
    exploration: GoalExploration
    rates: SuccessRates
    recordings: list[Recording]
    seconds: float


def train(run: Run, suggester: GoalSuggester, checkpoint: Path | None = None) -> Trained:
    """Trains an agent as a run's configuration says, writing the run's logs.

    Args:
        run: the run; its configuration says everything else.
        suggester: from ``make_suggester``.
        checkpoint: to go on from; rows that were written after it are dropped, to be written again.

    Raises:
        UserError: if the checkpoint to go on from cannot be read.
        LanguageModelError: if a language model cannot be reached from the start, or failed and failures are to stop
            the run; what was learned before is saved.
        Stopped: after a signal; what was learned is saved.
    """
    config = run.config
    torch.set_num_threads(config.threads)
    torch.distributions.Distribution.set_default_validate_args(False)  # SB3 makes one for each frame
    origin = run.pretrained if config.transfer.pretrained else None
    start = checkpoint or origin
    phrases = checkpoints.load_phrases(start) if start else PhraseTable()

    worlds = make_exploration(config, suggester, phrases, config.environment.n_envs)
    held_out = make_exploration(config, suggester, phrases, config.eval_episodes, one_episode=True)
    env = with_bonus(config, worlds)
    bonus = env if isinstance(env, NoveltyBonus) else None
    guide = make_guide(config, origin, worlds)
    agent = make_agent(config, worlds, env)
    if config.transfer.transfer == "guide":
        agent.epsilon, agent.guide, agent.guide_share = True, guide, config.transfer.guide_share
    elif origin:
        load_pretrained_networks(agent, origin, config.transfer.layers)
        if isinstance(agent, TextDQN):
            agent.experienced = True
    outputs = [MetricsWriter(run)]
    if config.tensorboard:
        outputs.append(TensorBoard(run.folder / "tensorboard"))
    agent.set_logger(Logger(str(run.folder), outputs))
    before = {"seconds": 0.0, "rows": {}}
    if checkpoint:
        before = checkpoints.load_counters(checkpoint)
        checkpoints.load(checkpoint, agent, worlds, bonus)
    run.forget_after(before["rows"])

    rates = SuccessRates(worlds.language.achievements)
    episodes = EpisodeLog(run, rates)
    metrics = Metrics(config.log_every, [worlds, bonus] if bonus else [worlds], episodes, before["seconds"])
    evaluation = Evaluation(run, config.eval_every, held_out, environment_arguments(config))
    progress = ProgressLine(config.frames, episodes, config.log_every, suggester.status)
    try:
        with StopRequest() as stop:
            saving = Checkpoints(run, config.checkpoint_every, worlds, bonus, metrics, stop)
            beside = [episodes, evaluation, metrics, saving, progress, FrameBudget(config.frames)]
            agent.learn(
                config.frames - agent.num_timesteps,
                callback=CallbackList(beside),
                log_interval=None if isinstance(agent, TextDQN) else 10**9,  # Metrics writes the rows
                reset_num_timesteps=checkpoint is None,
            )
    finally:
        progress.close()
        suggester.close()
    return Trained(agent, worlds, rates, evaluation.recordings, metrics.seconds)
