"""Scores, and episodes on held-out worlds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy

from ellm_agent.errors import UserError
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.runs.folder import write_whole
from ellm_agent.wrappers.goal_exploration import GoalExploration

EPSILON = 0.001  # of epsilon-greedy agents in evaluation; the paper's
HELD_OUT = 2**30  # world seeds from here on are never trained on (envs.crafter.env.WORLD_SEEDS)


@dataclass
class Recording:
    """An episode that can be played again: the world, the actions, and what exploration made of it.

    Attributes:
        world_seed: of the environment.
        environment: keyword arguments of the environment.
        actions: one per frame.
        steps: one per frame: ``goals`` (all suggested before the action), ``open`` (those not achieved
            before it), ``met`` (goals met by it), ``events`` and ``reward``.
        unlocked: achievements at the end.
        success: whether the environment's task was solved; None if it has none.
    """

    world_seed: int
    environment: dict[str, Any]
    actions: list[int] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    unlocked: tuple[str, ...] = ()
    success: bool | None = None

    @property
    def total(self) -> float:
        """Intrinsic return, undiscounted."""
        return sum(step["reward"] for step in self.steps)

    def save(self, path: Path) -> None:
        """Writes JSON."""
        write_whole(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Reads what ``save`` wrote.

        Raises:
            UserError: if the file is no recording.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**data, "unlocked": tuple(data["unlocked"])})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{path} is not a recorded episode") from error


def record_episodes(
    agent: BaseAlgorithm,
    exploration: GoalExploration,
    episodes: int,
    environment: Mapping[str, Any],
    first_world: int = HELD_OUT,
) -> list[Recording]:
    """Lets the agent play held-out worlds, one episode each, with its exploring policy.

    Args:
        agent: chooses actions; they are sampled, as in training.
        exploration: parallel worlds that the agent does not train in, at least one for each episode.
        episodes: how many.
        environment: keyword arguments of the worlds, kept in the recordings.
        first_world: world seed of the first episode; the others follow.
    """
    assert exploration.num_envs == episodes, (exploration.num_envs, episodes)
    exploration.seed(first_world)
    exploration.set_options([{"world_seed": first_world + i} for i in range(episodes)])
    recordings = [Recording(first_world + i, dict(environment)) for i in range(episodes)]

    def keep(local: dict, _) -> None:
        i, info = local["i"], local["info"]
        log = exploration.log(i)
        payment = log.payment
        recordings[i].actions.append(int(local["actions"][i]))
        recordings[i].steps.append(
            {
                "goals": log.goals,
                "open": exploration.open_before(log),
                "met": payment.goals,
                "events": info["events"],
                "reward": round(payment.reward, 4),
            }
        )
        if "finished" in info:
            recordings[i].unlocked = info["finished"].unlocked
            recordings[i].success = info["finished"].success

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
    with torch.random.fork_rng(devices=[]):
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


def summarise(recordings: Sequence[Recording], achievements: Sequence[str]) -> dict[str, float]:
    """Mean unlocks, score (%), length (frames) and intrinsic return of recorded episodes; share of tasks solved, if any."""
    rates = SuccessRates(achievements)
    for recording in recordings:
        rates.add(recording.unlocked)
    solved = [recording.success for recording in recordings if recording.success is not None]
    return {
        **({"success_rate": float(np.mean(solved))} if solved else {}),
        "episodes": len(recordings),
        "unlocks_per_episode": float(np.mean([len(r.unlocked) for r in recordings])),
        "crafter_score": rates.score(),
        "episode_length": float(np.mean([len(r.actions) for r in recordings])),
        "intrinsic_return": float(np.mean([r.total for r in recordings])),
    }
