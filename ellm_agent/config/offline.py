"""The configuration of a run that learns from logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ellm_agent.config.files import in_world
from ellm_agent.config.schema import Config
from envs import registry


class Logged(Protocol):
    """What was observed and done in a log: its world, and the options of its environments."""

    world: str
    options: Mapping[str, Any]
    hide_clauses: str | None


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
            "run.eval_every": config.run.eval_every * frames,
            "run.log_every": config.run.log_every * frames,
            "run.checkpoint_every": config.run.checkpoint_every * frames,
        }
    )
