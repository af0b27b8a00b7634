"""The configuration of a run that learns from logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ellm_agent.config.agent import OFFLINE
from ellm_agent.config.files import flatten, in_world
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from envs import registry


class Logged(Protocol):
    """What was observed and done in a log: its world, and the options of its environments."""

    world: str
    options: Mapping[str, Any]
    hide_clauses: str | None


INTERVALS = ("run.eval_every", "run.log_every", "run.checkpoint_every")  # frames


def online(config: Config) -> dict[str, Any]:
    """What changes in a configuration so that its agent plays: an algorithm that learns from logs becomes the one that learns
    on from its networks, with as many environments as its preset has. Other configurations stay as they are.
    """
    if config.agent.algo not in OFFLINE:
        return {}
    usual = flatten(in_world(PRESETS[config.run.preset], config.env.name))
    return {
        "agent.algo": OFFLINE[config.agent.algo],
        "agent.offline.data": (),
        **{name: usual[name] for name in ("env.n_envs", *INTERVALS)},
    }


def offline_config(preset: Config, log: Logged, data: tuple[Path, ...]) -> Config:
    """A preset, for the worlds of a log.

    The agent observes no goals and has no action prior: it has nothing but the log.

    Args:
        preset: one of ``PRESETS``.
        log: the interface of the data.
        data: folders of logs.
    """
    config = in_world(preset, log.world)
    known = registry.get(log.world).options
    own = {name: value for name, value in log.options.items() if name in known}
    shared = {name: value for name, value in log.options.items() if name not in known}
    frames = 1 if preset.run.preset == "debug" else 10
    return config.changed(
        **{
            "env": {
                **config.env.model_dump(),
                **shared,
                "own": own,
                "hide_clauses": log.hide_clauses,
                "n_envs": 1,
            },
            "agent.algo": "iql",
            "agent.goal_conditioned": False,
            "agent.action_prior": None,
            "agent.offline.data": data,
            "agent.offline.batch_size": 64 if preset.run.preset == "debug" else 1024,
            "suggester.kind": "none",
            "suggester.max_active_goals": None,
            "suggester.learned_filter": False,
            "reward.extrinsic_weight": 1.0,
            "reward.novelty.kind": None,
            "run.frames": config.run.frames * frames,
            **{name: flatten(config)[name] * frames for name in INTERVALS},
        }
    )
