"""Everything that SB3's algorithms keep in memory, for exact resume. The only module that touches their private fields."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

BUFFER = (
    "observations",
    "next_observations",
    "actions",
    "rewards",
    "dones",
    "timeouts",
)  # arrays of SB3's replay


def state_dict(agent: BaseAlgorithm) -> dict[str, Any]:
    """The state of an agent between two collections of experience, and of all random generators but the worlds'."""
    logger, starts = getattr(agent, "_logger", None), agent._last_episode_starts
    return {
        "parameters": agent.get_parameters(),
        "replay": _replay_state(agent),
        "frames": agent.num_timesteps,
        "updates": agent._n_updates,
        "calls": getattr(agent, "_n_calls", 0),
        "exploration_rate": getattr(agent, "exploration_rate", 0.0),
        "episode_starts": None if starts is None else torch.as_tensor(starts),
        # Recorded, but not yet written to the log.
        "pending": {name: plain(value) for name, value in logger.name_to_value.items()} if logger else {},
        "pending_counts": dict(logger.name_to_count) if logger else {},
        "generators": _generators(agent),
    }


def load_state_dict(agent: BaseAlgorithm, state: Mapping[str, Any], observation: np.ndarray) -> None:
    """Takes over what ``state_dict`` gave, the random generators last.

    Args:
        agent: built from the same configuration; its environments are restored.
        state: of such an agent.
        observation: of its environments.
    """
    agent.set_parameters(state["parameters"])
    _load_replay(agent, state["replay"])
    agent.num_timesteps, agent._n_updates = int(state["frames"]), int(state["updates"])
    if hasattr(agent, "_n_calls"):
        agent._n_calls = int(state["calls"])
        agent.exploration_rate = float(state["exploration_rate"])
    starts = state["episode_starts"]
    agent._last_obs = observation
    agent._last_episode_starts = None if starts is None else starts.numpy().copy()
    logger = getattr(agent, "_logger", None)
    if logger:
        for name, value in state["pending"].items():
            logger.record(name, value)
        logger.name_to_count.update(state["pending_counts"])
    _load_generators(agent, state["generators"])


def plain(value: Any) -> int | float:
    """A number of the log as Python's own type.

    Raises:
        TypeError: if it is no number.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _replay_state(agent: BaseAlgorithm) -> dict[str, Any] | None:
    """The transitions in a replay buffer, the oldest first; None for agents without one."""
    buffer = getattr(agent, "replay_buffer", None)
    if buffer is None:
        return None
    order = np.arange(buffer.size())
    if buffer.full:
        order = (order + buffer.pos) % buffer.buffer_size
    return {name: torch.from_numpy(getattr(buffer, name)[order]) for name in BUFFER} | {
        "position": buffer.pos,
        "full": buffer.full,
    }


def _load_replay(agent: BaseAlgorithm, state: Mapping[str, Any] | None) -> None:
    """Fills a replay buffer; one of another size takes the newest transitions, from its start on."""
    if state is None:
        return
    buffer = agent.replay_buffer
    count = len(state["rewards"])
    if state["full"] and count == buffer.buffer_size:  # every transition keeps its place
        places, position = (np.arange(count) + state["position"]) % count, state["position"]
    else:
        count = min(count, buffer.buffer_size)
        places, position = np.arange(count), count % buffer.buffer_size
    for name in BUFFER:
        getattr(buffer, name)[places] = state[name].numpy()[-count:] if count else 0
    buffer.pos, buffer.full = int(position), count == buffer.buffer_size


def _generators(agent: BaseAlgorithm) -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()
    version, words, gauss = random.getstate()
    device = agent.device.type
    return {
        "torch": torch.get_rng_state(),
        "device": getattr(torch, device).get_rng_state() if device in ("cuda", "mps") else None,
        "numpy": [name, keys.tolist(), *rest],
        "python": [version, list(words), gauss],
        "actions": agent.action_space.np_random.bit_generator.state,
    }


def _load_generators(agent: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    device = agent.device.type
    if state["device"] is not None and device in ("cuda", "mps"):
        getattr(torch, device).set_rng_state(state["device"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    agent.action_space.np_random.bit_generator.state = state["actions"]
