"""Random walks (as in trlx): walks on a graph are the training text; the reward is how near to the shortest path they are.

A walk is written as its nodes; its first node is given. It is over at node 0 or after ``LONGEST`` nodes. Node n is token
n + 1, token 0 is the padding.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ellm_agent.llm.value_heads import ValueHeads
from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.checks import tiny
from ellm_agent.lm_training.decoding import Adjust, sample
from ellm_agent.lm_training.ilql import ILQL, Episode, Row, Settings
from ellm_agent.lm_training.networks import ScalarModel
from ellm_agent.lm_training.ppo import PPO
from ellm_agent.lm_training.ppo import Settings as PPOSettings

NODES, EDGES, LONGEST = 21, 0.1, 10  # nodes; probability of an edge; nodes in a walk


@dataclass(frozen=True)
class Graph:
    """A directed graph in which node 0 can be reached from everywhere within a walk.

    Attributes:
        edges: ``(nodes, nodes)`` bool; node 0 has none: walks end there.
        shortest: nodes of the shortest walk from each node to node 0, both included.
    """

    edges: np.ndarray
    shortest: np.ndarray

    @classmethod
    def random(cls, seed: int) -> Graph:
        """The first random graph that is so connected."""
        rng = np.random.default_rng(seed)
        while True:
            edges = rng.random((NODES, NODES)) < EDGES
            np.fill_diagonal(edges, False)
            edges[0] = False
            shortest = shortest_walks(edges)
            if (shortest <= LONGEST).all() and edges[1:].any(axis=1).all():
                return cls(edges, shortest)

    def walks(self, count: int, rng: np.random.Generator) -> list[list[int]]:
        """Uniformly random walks from random nodes other than 0."""
        walks = []
        for _ in range(count):
            walk = [int(rng.integers(1, NODES))]
            while walk[-1] != 0 and len(walk) < LONGEST:
                walk.append(int(rng.choice(np.flatnonzero(self.edges[walk[-1]]))))
            walks.append(walk)
        return walks

    def optimality(self, walk: list[int]) -> float:
        """(longest - nodes of the walk) / (longest - nodes of the shortest), in [0, 1]; 0 if it does not lead to node 0
        along edges.
        """
        steps = itertools.pairwise(walk)
        if walk[-1] != 0 or not all(self.edges[a, b] for a, b in steps):
            return 0.0
        return (LONGEST - len(walk)) / max(LONGEST - int(self.shortest[walk[0]]), 1)


def shortest_walks(edges: np.ndarray) -> np.ndarray:
    """Nodes of the shortest walk from each node to node 0, ``(nodes,)``; more than all nodes if there is none."""
    lengths = np.full(len(edges), len(edges) + 1)
    lengths[0] = 1
    for _ in range(len(edges)):
        through = np.where(edges, lengths[None, :] + 1, len(edges) + 1).min(axis=1)
        lengths = np.minimum(lengths, through)
    return lengths


def episodes(graph: Graph, walks: list[list[int]]) -> list[Episode]:
    """Walks with their optimality as the last reward."""
    return [
        Episode(
            [
                Row(
                    ids=[node + 1 for node in walk],
                    actions=list(range(1, len(walk))),
                    rewards=[0.0] * (len(walk) - 2) + [graph.optimality(walk)],
                )
            ]
        )
        for walk in walks
    ]


def play(
    model, starts: list[int], generator: torch.Generator, adjust: Adjust | None = None
) -> list[list[int]]:
    """Answers, in token ids, to walks' first nodes."""
    return sample(model, [[start + 1] for start in starts], LONGEST - 1, (1,), generator, adjust=adjust)


def mean_optimality(graph: Graph, starts: list[int], answers: list[list[int]]) -> float:
    """Mean optimality of answers."""
    walks = [[start, *(token - 1 for token in answer)] for start, answer in zip(starts, answers, strict=True)]
    return float(np.mean([graph.optimality(walk) for walk in walks]))


def check(
    seed: int, iterations: int = 60, report: Callable[[str], object] = lambda _: None
) -> dict[str, float]:
    """SFT on 1,000 random walks, then PPO, and ILQL on the same walks. Gives the mean optimality of each."""
    graph = Graph.random(seed)
    rng = np.random.default_rng([seed, 1])
    walks = graph.walks(1_000, rng)
    data = episodes(graph, walks)
    starts = rng.integers(1, NODES, 1_000).tolist()
    sft = tiny.tiny_model(NODES + 1, LONGEST, width=64, layers=2, heads=2, seed=seed)
    tiny.clone(sft, data, 300, seed, Settings(learning_rate=1e-3, batch=100), report=report, name="sft")

    def test(model, adjust: Adjust | None = None) -> float:
        return mean_optimality(
            graph, starts, play(model, starts, torch.Generator().manual_seed(seed), adjust)
        )

    figures = {"data": float(np.mean([graph.optimality(walk) for walk in walks])), "sft": test(sft)}

    with resumable.seeded(seed):
        heads = ValueHeads(64, NODES + 1)
    learner = ILQL(
        copy.deepcopy(sft),
        heads,
        Settings(learning_rate=1e-3, batch=100, tau=0.9, alpha=0.01),
    )
    tiny.train(learner, data, 600, seed, report, "ilql")
    figures["ilql"] = test(learner.model, learner.policy(beta=32.0))

    generator = torch.Generator().manual_seed(seed)
    ppo = PPO(sft, ScalarModel(sft, generator), PPOSettings(learning_rate=5e-4, beta=0.02))
    for i in range(iterations):
        ppo.anneal(i / iterations)
        asked = rng.integers(1, NODES, 256).tolist()
        answers = play(ppo.policy, asked, generator)
        scores = [mean_optimality(graph, [a], [b]) for a, b in zip(asked, answers, strict=True)]
        row = ppo.learn([[start + 1] for start in asked], answers, torch.tensor(scores), generator)
        if (i + 1) % 10 == 0:
            report(f"ppo: {i + 1} of {iterations}  score {row['score']:.3f}  kl {row['kl']:.2f}")
    return figures | {"ppo": test(ppo.policy), "kl": row["kl"]}
