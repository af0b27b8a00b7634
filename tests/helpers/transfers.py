"""Parts of the tests of what is taken over from a pretrained agent."""

from __future__ import annotations

import numpy as np
import torch

from ellm_agent.build import build, make_worlds
from ellm_agent.config.downstream import downstream_config
from ellm_agent.config.schema import Config
from ellm_agent.goals.base import TaskGoals
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import copy_pretrained, find_pretrained
from ellm_agent.training import train
from ellm_agent.wrappers.goal_exploration import GoalExploration

SMALL = [
    "--preset", "debug", "--frames", "640", "--n-envs", "4", "--episode-length", "40", "--eval-every", "10000",
    "--eval-episodes", "2", "--log-every", "320", "--checkpoint-every", "320", "--replays", "0", "--no-report", "--no-tensorboard",
    "--dqn.learning-starts", "100", "--dqn.train-every", "16", "--ppo.rollout", "40", "--ppo.batch-size", "80", "--hidden", "16", "--threads", "1",
]  # fmt: skip
KINDS = {  # what is pretrained
    "dqn": ["--goal-mode", "oracle", "--goal-conditioned", "--target", "double"],
    "ppo": ["--goal-mode", "novelty", "--algo", "ppo", "--no-goal-conditioned"],
}
# What the debug run has, where the paper's settings for what follows are larger.
SHORT = ["--frames", "640", "--dqn.epsilon-frames", "600"]


def learning(run, out, how="finetune", task="chop tree", layers="all", **changes) -> Config:
    """The configuration of a short run that learns a task after pretraining; ``changes`` with dotted names."""
    small = {"run.frames": 640, "run.out": out, "agent.dqn.epsilon_frames": 600, "transfer.layers": layers}
    return downstream_config(run, Run.open(run).config, task, how).changed(**{**small, **changes})


def learn(config) -> None:
    """Such a run, but for what is drawn and written at its end."""
    pretrained = find_pretrained(config)
    run = Run.create(config)
    if pretrained:
        copy_pretrained(pretrained, run)
    train(build(run, TaskGoals()), run)


def parameters(folder):
    """Networks and optimisers in a run's last checkpoint."""
    _, state = checkpoints.latest(folder / "checkpoints")
    return state["agent"]["parameters"]


def equal(one, other, only=""):
    """Names of the tensors that are equal, bit for bit, and of those that are not."""
    names = [name for name in one if only in name]
    same = [name for name in names if torch.equal(one[name], other[name])]
    return same, [name for name in names if name not in same]


def worlds_of(config, pretrained, n_envs=4) -> GoalExploration:
    """Real worlds with a task, with the phrases of a pretrained agent."""
    phrases = checkpoints.load_phrases(pretrained.state, pretrained.source)
    return make_worlds(config, TaskGoals(), phrases, n_envs)


def scenes(worlds, frames=25):
    """Observations on a random walk, ``(worlds * frames, slots)``."""
    worlds.seed(0)
    worlds.reset()
    rng = np.random.default_rng(0)
    return np.concatenate([worlds.step(rng.integers(17, size=worlds.num_envs))[0] for _ in range(frames)])
