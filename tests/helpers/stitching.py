"""A gridworld whose best path is in no single episode of its log.

    .  #  .  .  .
    S  .  M  .  G      S: the start. G: the goal, reward 1. h: home, reward .3. p: a pit, reward 0.
    h  #  p  .  .

The log's episodes from S go home, or right to M and down into the pit. Others begin above M, and go from there into the
pit, or right to the goal. So right, right, right, right from S is in no episode; it is worth .9^3 = .73, and home .3.
Under the logged policy M leads to the goal in 3 of 10 cases: there SARSA (tau = .5) expects .27 of it, and from S .22, less
than home. The expectile tau = .7 is .45 at M and .36 from S.
"""

from __future__ import annotations

import numpy as np

from ellm_agent.datasets.dataset import Dataset, Interface
from envs.interface import Language, World
from envs.text_env import Outcome, TextEnv

MOVES = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
START, ABOVE, HOME, PIT, GOAL = (0, 1), (2, 0), (0, 2), (2, 2), (4, 1)
CELLS = [(x, y) for x in range(5) for y in range(3) if (x, y) not in ((1, 0), (1, 2))]
ENDS = {HOME: 0.3, PIT: 0.0, GOAL: 1.0}
EVENTS = {HOME: "go home", PIT: "fall into pit", GOAL: "reach goal"}
LANGUAGE = Language(
    vocabulary=("", *(f"column {x}, row {y}" for x, y in CELLS)),
    to_sentence=". ".join,
    goals=tuple(EVENTS.values()),
    achievements=("reach goal",),
    goal_of={"reach goal": "reach goal"},
)
PATHS = [  # start, actions, how often
    (START, "down", 10),
    (START, "right right down", 10),
    (ABOVE, "down down", 4),
    (ABOVE, "down right right", 6),
]


class Grid(TextEnv):
    def start_episode(self, world_seed):
        self.cell = START

    def act(self, action):
        dx, dy = list(MOVES.values())[action]
        cell = self.cell[0] + dx, self.cell[1] + dy
        self.cell = cell if cell in CELLS else self.cell
        over = self.cell in ENDS
        return Outcome(ENDS.get(self.cell, 0.0), over, (EVENTS[self.cell],) if over else ())

    def clauses(self):
        return (f"column {self.cell[0]}, row {self.cell[1]}",)


class GridWorld(World):
    name, title, captions = "grid", "Grid", ("spatial",)

    def make_env(self, episode_length=None, **options):
        return Grid(LANGUAGE, tuple(MOVES), max_clauses=1, episode_length=episode_length or 20)


GRID = GridWorld()
INTERFACE = Interface(
    "grid",
    {
        "protocol": "default",
        "caption": "spatial",
        "action_space": None,
        "episode_length": None,
        "task": None,
        "task_reward": "last",
    },
    len(MOVES),
    {"caption": 1, "achieved": len(EVENTS)},
)


def log() -> Dataset:
    """The log; its ids are those of the vocabulary, then the events."""
    env = Grid(LANGUAGE, tuple(MOVES), 1, 20)
    phrases = (*LANGUAGE.vocabulary, *EVENTS.values())
    ids, starts, actions, rewards, terminated, events = [], [0], [], [], [], []
    for start, words, times in PATHS:
        for _ in range(times):
            env.reset(options={"world_seed": 0})
            env.cell = start
            ids += [env._observation()[0]]
            for word in words.split():
                observation, reward, over, _, info = env.step(list(MOVES).index(word))
                events += [(len(actions), phrases.index(event)) for event in info["events"]]
                ids += [observation[0]]
                actions, rewards = [*actions, list(MOVES).index(word)], [*rewards, reward]
                terminated.append(over)
            starts.append(len(actions))
    return Dataset(
        INTERFACE,
        phrases,
        np.stack([np.ones(len(ids)), np.zeros(len(ids))], axis=1).astype(np.uint16),
        np.array(ids, np.int32),
        np.array(starts),
        np.array(actions, np.uint8),
        np.array(rewards, np.float32),
        np.array(terminated),
        np.zeros(len(actions), bool),
        np.array([step for step, _ in events]),
        np.array([event for _, event in events], np.int32),
        np.zeros(len(starts) - 1, np.int64),
        ({"name": "by hand", "algo": "by hand", "seed": 0, "frames": len(actions)},),
    )
