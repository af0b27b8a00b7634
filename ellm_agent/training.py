"""START HERE: one training run, from its parts. ``build.py`` makes the parts from a configuration.

One step, top to bottom (``wrappers/goal_exploration.py`` reads the same way):

    goals    = suggester.suggest(captions)                       goals/      who suggests
    active   = sampler.select(goals, achieved)                   goals/      at most k of them, not yet achieved
    obs      = observe(captions, achieved, active)               wrappers/   phrase ids
    action   = agent(obs)                                        agents/     text encoder; DQN, PPO, TRPO
    captions, events, done = worlds.step(action)                 envs/       any world with a Language
    reward   = max cos(event, goal) over open goals, if > T      rewards/    ELLM; or RND, NovelD, ICM, APT
    achieved += events that satisfied a goal
    agent.learn()                                                stable-baselines3
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger

from ellm_agent.evaluation.recording import Recording
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.goals.base import GoalSuggester
from ellm_agent.runs import checkpoints
from ellm_agent.runs.callbacks import Checkpoints, EpisodeLog, Evaluation, FrameBudget, Metrics, ProgressLine
from ellm_agent.runs.folder import Run
from ellm_agent.runs.logging import MetricsWriter, TensorBoard
from ellm_agent.runs.signals import GracefulStop
from ellm_agent.runs.tracking import Tracker
from ellm_agent.wrappers.added_reward import AddedReward
from ellm_agent.wrappers.goal_exploration import GoalExploration
from ellm_agent.wrappers.recorder import TransitionRecorder
from envs.interface import World


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        world: describes the worlds and computes their scores.
        worlds: the training worlds: suggestions, observations and the reward for goals.
        held_out: the same for evaluation, one world for each episode.
        bonus: a reward for novelty around the training worlds, or None.
        agent: the learner; its environment is ``recorder``, ``bonus`` or ``worlds``.
        suggester: suggests the goals.
        recorder: writes the transitions down, around all else, or None.
        callbacks: more to do while the agent learns, such as asking which clips are better.
    """

    world: World
    worlds: GoalExploration
    held_out: GoalExploration
    bonus: AddedReward | None
    agent: BaseAlgorithm
    suggester: GoalSuggester
    recorder: TransitionRecorder | None = None
    callbacks: tuple[BaseCallback, ...] = ()


@dataclass(frozen=True)
class Trained:
    """The result of training that is not in files.

    Attributes:
        parts: of the run, trained.
        recordings: the last evaluation's episodes.
        seconds: spent training.
    """

    parts: Parts
    recordings: list[Recording]
    seconds: float


def train(parts: Parts, run: Run, checkpoint: Mapping[str, Any] | None = None) -> Trained:
    """Trains the agent, writing the run's logs.

    Args:
        parts: from ``build.build``.
        run: where logs and checkpoints go, and for how long.
        checkpoint: state to continue from; rows that were logged after it are dropped, and written again.

    Raises:
        UserError: if the checkpoint does not fit; for a judge of clips that answers neither way, when all is saved.
        LanguageModelError: if a language model cannot be reached from the start, or failed and failures are to stop
            the run; everything learned before is saved.
        Stopped: after a signal; everything learned is saved.
    """
    options, worlds, agent = run.config.run, parts.worlds, parts.agent
    counters = checkpoint["counters"] if checkpoint else {"seconds": 0.0, "rows": {}}

    def success_rates() -> SuccessRates:
        return SuccessRates(parts.world, worlds.language.achievements)

    with contextlib.ExitStack() as closing:
        closing.callback(parts.suggester.close)
        if parts.bonus:
            closing.callback(parts.bonus.finish)
        agent.set_logger(Logger(str(run.folder), _outputs(run)))
        closing.callback(agent.logger.close)
        if checkpoint:
            checkpoints.load(checkpoint, run.folder, agent, worlds, parts.bonus, parts.recorder)
        elif parts.recorder:
            parts.recorder.resume(None, frames=0)
        run.truncate_logs(counters["rows"])

        episodes = EpisodeLog(run, success_rates())
        sources = [worlds, parts.bonus] if parts.bonus else [worlds]
        metrics = Metrics(options.log_every, sources, episodes, counters["seconds"])
        evaluation = Evaluation(run, options.eval_every, parts.held_out, success_rates)
        progress = ProgressLine(options.frames, episodes, options.log_every, parts.suggester.status)
        closing.callback(progress.close)
        stop = closing.enter_context(GracefulStop())
        saving = Checkpoints(
            run, options.checkpoint_every, worlds, parts.bonus, metrics, stop, parts.recorder
        )
        agent.learn(
            options.frames - agent.num_timesteps,
            CallbackList(
                [
                    episodes,
                    evaluation,
                    metrics,
                    *parts.callbacks,
                    saving,  # behind what may fail
                    progress,
                    FrameBudget(options.frames),
                ]
            ),
            log_interval=None,  # Metrics writes the rows
            reset_num_timesteps=checkpoint is None,
        )
    return Trained(parts, evaluation.recordings, metrics.seconds)


def _outputs(run: Run) -> list[Any]:
    outputs: list[Any] = [MetricsWriter(run)]
    if run.config.run.tensorboard:
        outputs.append(TensorBoard(Path(run.folder) / "tensorboard"))
    if run.config.run.track:
        outputs.append(Tracker(run))
    return outputs
