"""The tiny counting world as a world of the registry, which can be drawn."""

from typing import ClassVar

import numpy as np

from ellm_agent.build import build, make_suggester
from ellm_agent.config import PRESETS
from ellm_agent.training import train
from envs import registry
from envs.interface import World
from tests.helpers.counting import Counting


class Drawn(Counting):
    """Takes the options of all worlds, and ignores them."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None, **options):
        super().__init__()
        self.render_mode = render_mode


class TinyWorld(World):
    name, title = "tiny", "Tiny"

    def make_env(self, **options):
        return Drawn(**options)

    def draw(self, env):
        return np.full((450, 450, 3), 30 * env.frame, np.uint8)


TINY = TinyWorld()

SMALL = {
    "run.frames": 400,
    "run.eval_every": 100_000,
    "run.eval_episodes": 2,
    "run.log_every": 200,
    "run.checkpoint_every": 150,
    "run.tensorboard": False,
    "run.replays": 0,
    "env.name": "tiny",
    "agent.on_policy.rollout": 25,
    "agent.dqn.learning_starts": 100,
    "suggester.kind": "none",
    "reward.preference.labels": 20,
    "reward.preference.steps": 10,
    "reward.preference.clip_frames": 2,
    "reward.preference.hidden": 8,
}


def configure(folder, **options):
    """A small run in the tiny world; options with __ in place of dots."""
    changes = {name.replace("__", "."): value for name, value in options.items()}
    return PRESETS["debug"].changed(**{**SMALL, "run.out": folder, **changes})


def play(run, checkpoint=None):
    """Trains; the run's parts and recordings."""
    parts = build(run, make_suggester(run.config, registry.get("tiny").language()), checkpoint)
    return train(parts, run, checkpoint)
