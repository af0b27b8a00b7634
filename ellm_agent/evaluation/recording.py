"""Episodes on held-out worlds, recorded so that they can be played again."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy

from ellm_agent.errors import DAMAGED, UserError
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.runs.folder import write_whole
from ellm_agent.wrappers.goal_exploration import GoalExploration
from envs.interface import HELD_OUT_SEEDS

EPSILON = 0.001  # of epsilon-greedy agents in evaluation; the paper's


_OLD_NAMES = {"met": "satisfied", "pays": "task_reward"}  # of 0.7.0


@dataclass
class Recording:
    """An episode that can be played again: the world, the actions, and the goals and rewards of each step.

    Attributes:
        world_seed: of the environment.
        environment: keyword arguments of the environment.
        world: its world, by the name in ``envs.registry``.
        actions: one per frame.
        steps: one per frame: ``goals`` (the active ones before the action), ``open`` (those not achieved before it),
            ``satisfied`` (open goals satisfied by it), ``events``, ``reward`` (for goals) and ``cosine`` (of the event and
            the closest of them; up to 0.8.0 it is the reward).
        unlocked: achievements at the end.
        success: whether the environment's task was solved; None if it has none.
        scores: other numbers of the world at the end, by name.
    """

    world_seed: int
    environment: dict[str, Any]
    world: str = "crafter"
    actions: list[int] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    unlocked: tuple[str, ...] = ()
    success: bool | None = None
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Undiscounted sum of the rewards for goals."""
        return sum(step["reward"] for step in self.steps)

    def save(self, path: Path) -> None:
        """Writes JSON."""
        write_whole(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Reads what ``save`` wrote, also in versions before 0.8.0, and also compressed (``.gz``).

        Raises:
            UserError: if the file is no recording.
        """
        try:
            content = path.read_bytes()
            data = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
            data["unlocked"] = tuple(data["unlocked"])
            data["environment"] = {_OLD_NAMES.get(k, k): v for k, v in data["environment"].items()}
            data["steps"] = [{_OLD_NAMES.get(k, k): v for k, v in step.items()} for step in data["steps"]]
            return cls(**data)
        except DAMAGED as error:
            raise UserError(f"{path} is not a recorded episode") from error


def record_episodes(
    agent: BaseAlgorithm,
    exploration: GoalExploration,
    world: str,
    environment: Mapping[str, Any],
    first_world: int = HELD_OUT_SEEDS,
) -> list[Recording]:
    """Lets the agent play held-out worlds, one episode each, with its exploring policy.

    Args:
        agent: chooses actions; they are sampled, as in training.
        exploration: parallel worlds that the agent does not train in, one for each episode.
        world: name of the world, kept in the recordings.
        environment: keyword arguments of its environments, kept in the recordings.
        first_world: world seed of the first episode; the others follow.
    """
    episodes = exploration.num_envs
    exploration.seed(first_world)
    exploration.set_options([{"world_seed": first_world + i} for i in range(episodes)])
    recordings = [Recording(first_world + i, dict(environment), world) for i in range(episodes)]

    def keep(local: dict, _) -> None:
        info, recording, log = local["info"], recordings[local["i"]], exploration.log(local["i"])
        recording.actions.append(int(local["actions"][local["i"]]))
        recording.steps.append(
            {
                "goals": log.goals,
                "open": exploration.open_before(log),
                "satisfied": log.reward.goals,
                "events": info["events"],
                "reward": round(log.reward.value, 4),
                "cosine": round(log.reward.cosine, 4),
            }
        )
        if "finished" in info:
            end = info["finished"]
            recording.unlocked, recording.success, recording.scores = (
                end.unlocked,
                end.success,
                dict(end.scores),
            )

    with _apart_from_training(agent, seed=first_world % 2**31):
        evaluate_policy(
            agent, exploration, n_eval_episodes=episodes, deterministic=False, callback=keep, warn=False
        )
    return recordings


@contextlib.contextmanager
def _apart_from_training(agent: BaseAlgorithm, seed: int) -> Iterator[None]:
    """Random numbers of its own, always the same, so that evaluating changes nothing in training; and the
    paper's evaluation epsilon, for an agent that has one."""
    numpy_state, epsilon = np.random.get_state(), getattr(agent, "exploration_rate", None)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed)
        if epsilon is not None:
            agent.exploration_rate = min(epsilon, EPSILON)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            if epsilon is not None:
                agent.exploration_rate = epsilon


def summarise(recordings: Sequence[Recording], rates: SuccessRates) -> dict[str, float]:
    """Mean unlocks, scores (%), length (frames) and intrinsic return of recorded episodes; share of tasks solved, if any.

    Args:
        recordings: the episodes.
        rates: success rates that have counted nothing yet.
    """
    for recording in recordings:
        rates.add(recording.unlocked, recording.scores)
    solved = [recording.success for recording in recordings if recording.success is not None]
    return {
        **({"success_rate": float(np.mean(solved))} if solved else {}),
        "episodes": len(recordings),
        "unlocks_per_episode": float(np.mean([len(r.unlocked) for r in recordings])),
        **rates.scores(),
        "episode_length": float(np.mean([len(r.actions) for r in recordings])),
        "intrinsic_return": float(np.mean([r.total for r in recordings])),
    }
