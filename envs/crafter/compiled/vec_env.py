"""``CrafterTextEnv`` for many worlds at once, compiled: the same observations, rewards and infos, frame by frame.

Here is SB3's interface; the rules are in ``rules.py`` and ``player.py``, captions in ``captions.py``, texts in ``words.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from crafter import constants

from envs.compiled_vec import CompiledVecEnv
from envs.crafter.compiled import words
from envs.crafter.compiled.captions import (
    StepOutputs,
    make_outputs,
    make_rules,
    observe,
    play,
    view_of,
)
from envs.crafter.compiled.rules import daylight, start_world
from envs.crafter.compiled.world import AREA, WORLD
from envs.crafter.env import CrafterTextEnv
from envs.crafter.knowledge import knowledge
from envs.crafter.state import CrafterState
from envs.crafter.worldgen import generate_map
from envs.text_env import read_episode


class CompiledCrafter(CompiledVecEnv):
    """``DummyVecEnv`` of ``CrafterTextEnv``, compiled: equal in everything it returns, given the same seeds.

    It draws no pictures: these come from ``CrafterTextEnv``, which plays the same episode from the same world seed and
    actions.

    Args:
        n_envs: parallel worlds.
        **options: of :class:`envs.crafter.env.CrafterTextEnv`.

    Attributes:
        records: ``(n_envs,)`` of ``world.WORLD``, the worlds' states. Whoever changes one (scenes and tests) calls
            ``describe`` afterwards; its episode can then not be resumed.
    """

    reference = "CrafterTextEnv"

    def __init__(self, n_envs: int, **options: Any):
        reference = CrafterTextEnv(**options)
        self.language, self.episode_length = reference.language, reference.episode_length
        super().__init__(n_envs, reference.observation_space, reference.action_space)
        self._action_space_name = reference.action_space_name
        self._rules = make_rules(reference.rules, reference.actions, options.get("caption", "spatial"))
        self.records = np.zeros(n_envs, WORLD)
        self._outputs = make_outputs(n_envs, reference.observation_space.shape[0])
        progress = reference.progress  # one for each world, if there is a task
        self._progress = [copy.copy(progress) for _ in range(n_envs)] if progress else []

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays one frame in every world; where an episode has ended, the next begins."""
        before = (self._outputs.caption & words.FACED_OR_HELD).tolist()
        rewards, terminated, truncated = self._play(0, self.num_envs, self._chosen)
        dones = terminated | truncated
        events, cut = self._outputs.events.tolist(), truncated.tolist()
        infos = self._infos(0, self.num_envs)
        for i, (info, action) in enumerate(zip(infos, self._chosen.tolist(), strict=True)):
            info["events"] = words.event_phrases(events[i])
            info["attempt"] = words.attempt(self._action_space_name, action, before[i], events[i])
            info["TimeLimit.truncated"] = cut[i]
        for i in np.flatnonzero(dones):
            infos[i]["unlocked"] = self._state(i).unlocked
            if self._progress:
                infos[i]["success"] = self._progress[i].solved
            infos[i]["terminal_observation"] = self._outputs.observation[i].copy()
            self._start(i)
            self.reset_infos[i] = self._info(i)
        return self._observations(), rewards, dones, infos

    def describe(self, i: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Reads world ``i`` again after its record was changed. Returns what ``CrafterTextEnv.reset`` does."""
        self._observe(i, i + 1)
        return self._outputs.observation[i].copy(), self._info(i)

    def _resume_episode(self, i: int, episode: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        world_seed, actions = read_episode(episode, int(self.action_space.n))
        self._random[i].bit_generator.state = episode["random"]
        self._start(i, world_seed)
        for action in actions:
            _, (terminated,), (truncated,) = self._play(i, i + 1, np.array([action]))
            if terminated or truncated:
                raise ValueError("the episode ended before its last action")
        return self.describe(i)

    def _start(self, i: int, world_seed: int | None = None) -> None:
        """Starts an episode in world ``i``; its seed is drawn if none is given."""
        generator = np.random.RandomState(self._draw_seed(i, world_seed))
        if self._progress:
            self._progress[i].start()
        self.records[i] = np.zeros((), WORLD)
        creatures = generate_map(generator, AREA // 2, AREA // 2, self.records[i]["material"])
        _, key, position, *_ = generator.get_state()
        self.records[i]["mt"][:] = key
        self.records["mt_position"][i] = position
        start_world(self.records, i, creatures)
        self._observe(i, i + 1)

    def _play(self, first: int, last: int, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Plays one frame in the worlds from the first to before the last.

        Returns:
            rewards (float32), terminated and truncated, each ``(last - first,)``.
        """
        outputs = StepOutputs(*(column[first:last] for column in self._outputs))
        play(self.records[first:last], actions, self._rules, outputs)
        for taken, action in zip(self._actions_taken[first:last], actions.tolist(), strict=True):
            taken.append(action)
        rewards, terminated = outputs.reward.astype(np.float32), outputs.dead.copy()
        time_is_up = self.records["step"][first:last] >= self.episode_length
        for k, progress in enumerate(self._progress[first:last]):
            events = words.event_phrases(int(outputs.events[k]))
            rewards[k] = progress.advance(
                events, lambda i=first + k: self._state(i), not terminated[k], bool(time_is_up[k])
            )
            terminated[k] |= progress.over
        return rewards, terminated, time_is_up & ~terminated

    def _observe(self, first: int, last: int) -> None:
        observe(self.records, first, last, self._rules, self._outputs)

    def _observations(self) -> np.ndarray:
        return self._outputs.observation.copy()

    def _info(self, i: int) -> dict[str, Any]:
        return self._infos(i, i + 1)[0]

    def _infos(self, first: int, last: int) -> list[dict[str, Any]]:
        """Infos of the present states of the worlds from the first to before the last."""
        outputs = self._outputs
        texts = zip(
            outputs.caption[first:last].tolist(),
            outputs.possible[first:last].tolist(),
            outputs.needed[first:last].tolist(),
            self._world_seeds[first:last],
            [progress.instruction for progress in self._progress[first:last]] or [None] * (last - first),
            strict=True,
        )
        return [
            {
                "situation": words.situation(caption, instruction),
                "privileged": words.privileged(possible, needed),
                "world_seed": world_seed,
            }
            for caption, possible, needed, world_seed, instruction in texts
        ]

    def _state(self, i: int) -> CrafterState:
        """``CrafterTextEnv.state`` of world ``i``."""
        world, view = self.records[i], np.empty(knowledge().view, np.uint8)
        view_of(self.records, i, view)
        return CrafterState(
            view=view,
            facing=(int(world["facing"][0]), int(world["facing"][1])),
            inventory=tuple(world["inventory"].tolist()),
            asleep=bool(world["sleeping"]),
            daylight=float(daylight(world["step"])),
            last_action=constants.actions[world["last_action"]],
            counts=tuple(world["counts"].tolist()),
        )
