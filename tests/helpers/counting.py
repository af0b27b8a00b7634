"""A tiny world that counts frames, and how it is played."""

import gymnasium as gym
import numpy as np

from ellm_agent.agents.text_encoder import TextEncoder
from ellm_agent.text.whitening import PhraseFeatures
from ellm_agent.wrappers.observation import closed_vocabulary
from envs.interface import Language, Privileged, Situation

LANGUAGE = Language(
    vocabulary=("", *(f"count {i}" for i in range(40))),
    to_sentence=". ".join,
    goals=("chop tree", "drink water"),
    verbs=("chop", "drink"),
    nouns=("tree", "water"),
    achievements=("wood", "water"),
)


class Counting(gym.Env):
    """Counts frames and says so. Frame 2 and 4: chop tree; frame 5: drink water. Ends at frame 7.

    Goals possible: "chop tree" until frame 4; "drink water" from frame 3 on.
    """

    language = LANGUAGE
    observation_space = gym.spaces.Box(0, 40, (2,), np.int16)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, truncates=False):
        self.truncates = truncates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.frame = 0
        return self._observation(), self._info()

    def step(self, action):
        self.frame += 1
        events = {2: ("chop tree",), 4: ("chop tree",), 5: ("drink water",)}.get(self.frame, ())
        ended = self.frame == 7
        info = {**self._info(), "events": events, "attempt": "drink tree" if action else None}
        if ended:
            info["unlocked"] = ("water", "wood")
        return self._observation(), 0.5, ended and not self.truncates, ended and self.truncates, info

    def episode(self):
        return {"frame": self.frame}

    def resume_episode(self, episode):
        self.frame = episode["frame"]
        return self._observation(), self._info()

    def _observation(self):
        return np.array([self.frame + 1, 0], np.int16)

    def _info(self):
        possible = ("chop tree",) if self.frame < 5 else ()
        possible += ("drink water",) if self.frame >= 3 else ()
        return {
            "situation": Situation(f"Frame {self.frame}."),
            "privileged": Privileged(possible, ("chop tree",) if self.frame < 4 else ()),
            "world_seed": 7,
        }


def play(worlds, frames, action=0):
    """Rewards, dones and infos of the first world."""
    steps = []
    for _ in range(frames):
        _, rewards, dones, infos = worlds.step(np.full(worlds.num_envs, action))
        steps.append((float(rewards[0]), bool(dones[0]), {**infos[0], "log": worlds.log(0)}))
    return [list(part) for part in zip(*steps, strict=True)]


def texts(worlds, row):
    """Field -> phrases of an observation."""
    return {f: [worlds.phrases.text(i) for i in row[part] if i] for f, part in worlds.fields.items()}


def policy_options(worlds):
    """``policy_kwargs`` of a small policy that reads the worlds' phrases."""
    closed = worlds.phrases.ids(closed_vocabulary(worlds.language))
    return {
        "features_extractor_class": TextEncoder,
        "features_extractor_kwargs": {
            "features": PhraseFeatures(worlds.phrases, closed, whiten=False),
            "hidden": 8,
        },
        "net_arch": [],
    }
