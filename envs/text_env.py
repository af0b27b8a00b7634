"""Base class of text environments that are played in Python.

It does what is the same in every world: clauses to ids, infos, drawing of world seeds, time limits, saving an episode
and resuming it. A world adds its language and says how an episode starts, what an action does, and what is observed.

Knows nothing of any world, and nothing of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from envs.interface import HELD_OUT_SEEDS, Language, Privileged, Situation


@dataclass(frozen=True)
class Outcome:
    """Result of one action.

    Attributes:
        reward: the environment's.
        terminated: whether the episode ended in the world itself (a death, a solved task), not by time.
        events: phrases, what really happened (the *effect* definition).
        attempt: the phrase that was tried, or None (the *attempt* definition).
    """

    reward: float = 0.0
    terminated: bool = False
    events: tuple[str, ...] = ()
    attempt: str | None = None


class TextEnv(gym.Env):
    """A text environment as ``envs.interface`` describes it.

    Subclasses override :meth:`start_episode`, :meth:`act` and :meth:`clauses`, and what else differs in their world.

    Args:
        language: the words of the world.
        actions: the action space, one entry for each action.
        max_clauses: length of an observation: the most clauses that a caption can have.
        episode_length: frames after which an episode is truncated.
        render_mode: None, or one of ``metadata["render_modes"]``.

    Raises:
        ValueError: for an episode length below 1, or an unknown render mode.
    """

    def __init__(
        self,
        language: Language,
        actions: Sequence[Any],
        max_clauses: int,
        episode_length: int,
        render_mode: str | None = None,
    ):
        if episode_length < 1:
            raise ValueError(f"episode_length is {episode_length}; it must be at least 1 frame")
        modes = self.metadata.get("render_modes", [])
        if render_mode is not None and render_mode not in modes:
            raise ValueError(
                f"render_mode is {render_mode!r}; choose None or {' or '.join(map(repr, modes))}"
            )
        self.language, self.actions, self.episode_length = language, tuple(actions), episode_length
        self.render_mode = render_mode
        self.action_space = gym.spaces.Discrete(len(self.actions))
        self.observation_space = gym.spaces.Box(0, len(language.vocabulary) - 1, (max_clauses,), np.int16)
        self._ids = {clause: i for i, clause in enumerate(language.vocabulary)}
        self._world_seed: int | None = None
        self._actions_taken: list[int] = []
        self._achieved: set[str] = set()

    # --- what a world says --------------------------------------------------------------------------

    def start_episode(self, world_seed: int) -> None:
        """Starts an episode. The world seed and the actions must determine all of it."""
        raise NotImplementedError

    def act(self, action: int) -> Outcome:
        """Plays one frame."""
        raise NotImplementedError

    def clauses(self) -> Sequence[str]:
        """Clauses of the present state's caption, as the agent observes it; all are in the vocabulary."""
        raise NotImplementedError

    def situation(self) -> Situation:
        """The present state in words; by default the observation's clauses as text."""
        return Situation(self.language.to_sentence(self.clauses()))

    def privileged(self) -> Privileged:
        """Hidden part of the present state; by default nothing is possible."""
        return Privileged(())

    @property
    def unlocked(self) -> tuple[str, ...]:
        """Sorted names of the achievements unlocked in this episode; by default the events that are named so."""
        return tuple(sorted(self._achieved.intersection(self.language.achievements)))

    def last_info(self) -> dict[str, Any]:
        """Further entries of an episode's last info: ``success`` and ``scores``, if the world has any."""
        return {}

    # --- gymnasium's interface ----------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode; ``options={"world_seed": int}`` chooses the world."""
        super().reset(seed=seed)
        world_seed = (options or {}).get("world_seed")
        if world_seed is None:
            world_seed = self.np_random.integers(HELD_OUT_SEEDS)
        self._start(int(world_seed))
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays one frame."""
        if self._world_seed is None:
            raise RuntimeError("step() was called before reset()")
        self._actions_taken.append(int(action))
        outcome = self.act(int(action))
        self._achieved.update(outcome.events)
        truncated = self.time_is_up and not outcome.terminated
        info = {**self._info(), "events": outcome.events, "attempt": outcome.attempt}
        if outcome.terminated or truncated:
            info |= {"unlocked": self.unlocked, **self.last_info()}
        return self._observation(), outcome.reward, outcome.terminated, truncated, info

    @property
    def time_is_up(self) -> bool:
        """True if the frame that is being played is the last that ``episode_length`` allows."""
        return len(self._actions_taken) >= self.episode_length

    # --- saving and resuming ------------------------------------------------------------------------

    def episode(self) -> dict[str, Any]:
        """JSON values from which ``resume_episode`` plays the present episode again, also in another process."""
        return save_episode(self.np_random, self._world_seed, self._actions_taken)

    def resume_episode(self, episode: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """Plays a saved episode again up to its last action. Returns what ``reset`` does.

        Raises:
            KeyError, TypeError, ValueError: if it is no unfinished episode of such an environment.
        """
        world_seed, actions = read_episode(episode, int(self.action_space.n))
        self.np_random.bit_generator.state = episode["random"]
        self._start(world_seed)
        for action in actions:
            _, _, terminated, truncated, _ = self.step(action)
            if terminated or truncated:
                raise ValueError("the episode ended before its last action")
        return self._observation(), self._info()

    # --- shared -------------------------------------------------------------------------------------

    def _start(self, world_seed: int) -> None:
        self._world_seed, self._actions_taken, self._achieved = world_seed, [], set()
        self.start_episode(world_seed)

    def _observation(self) -> np.ndarray:
        """Ids of the clauses, ``(max_clauses,)`` int16, padded with 0.

        Raises:
            ValueError: if a caption has more clauses than an observation.
        """
        ids = [self._ids[clause] for clause in self.clauses()]
        observation = np.zeros(self.observation_space.shape, np.int16)
        if len(ids) > len(observation):
            raise ValueError(f"the caption has {len(ids)} clauses; max_clauses is {len(observation)}")
        observation[: len(ids)] = ids
        return observation

    def _info(self) -> dict[str, Any]:
        return {
            "situation": self.situation(),
            "privileged": self.privileged(),
            "world_seed": self._world_seed,
        }


def save_episode(random: np.random.Generator, world_seed: int, actions: Sequence[int]) -> dict[str, Any]:
    """An unfinished episode as JSON values.

    Args:
        random: the generator that draws the world seeds of the episodes after it.
        world_seed: of the episode.
        actions: taken so far.
    """
    return {
        "random": random.bit_generator.state,
        "world_seed": world_seed,
        "actions": list(map(int, actions)),
    }


def read_episode(episode: Mapping[str, Any], n_actions: int) -> tuple[int, list[int]]:
    """World seed and actions of what ``save_episode`` gave.

    Raises:
        KeyError, TypeError, ValueError: if it is something else.
    """
    world_seed, actions = episode["world_seed"], episode["actions"]
    if type(world_seed) is not int or not 0 <= world_seed < 2**32:
        raise ValueError(f"world_seed is {world_seed!r}; it must be an integer in [0, 2**32)")
    for action in actions:
        if type(action) is not int or not 0 <= action < n_actions:
            raise ValueError(f"an action is {action!r}; it must be an integer in [0, {n_actions})")
    return world_seed, list(actions)
