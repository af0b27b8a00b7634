"""``CrafterTextEnv`` for many worlds at once, compiled: the same observations, rewards and infos, frame by frame.

The rules are in ``compiled_rules.py``, what is told of a world in ``compiled_captions.py``; here is SB3's interface. Text is
looked up only where somebody reads it, and each distinct situation is put into words once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices

from envs.crafter.actions import attempted, faced_noun
from envs.crafter.compiled.captions import (
    ITEM_BIT,
    look,
    make_actions,
    make_goals,
    make_moment,
    make_tables,
    paper_caption,
    play,
    start,
    view_of,
)
from envs.crafter.compiled.rules import daylight
from envs.crafter.compiled.world import AREA, ITEMS, WORLD
from envs.crafter.env import CrafterTextEnv, episode_of, read_episode
from envs.crafter.knowledge import knowledge
from envs.crafter.state import CrafterState
from envs.crafter.tasks import Progress
from envs.crafter.worldgen import generate_map
from envs.interface import HELD_OUT_SEEDS, Privileged, Situation

_K = knowledge()


REMEMBERED = 2**14  # situations whose words are kept: most are met once or twice


def is_compiled() -> bool:
    """Whether Numba's cache holds the compiled code; the first compilation takes about half a minute."""
    return any(Path(__file__).parent.glob("__pycache__/captions.play-*.nbi"))


class CompiledCrafter(VecEnv):
    """``DummyVecEnv`` of ``CrafterTextEnv``, compiled: equal in everything it returns, given the same seeds.

    Drawing is not among it: pictures come from ``CrafterTextEnv``, which plays the same episode from the same
    world seed and actions.

    Args:
        n_envs: parallel worlds.
        **arguments: of :class:`envs.crafter.env.CrafterTextEnv`.
    """

    def __init__(self, n_envs: int, **arguments: Any):
        model = CrafterTextEnv(**arguments)
        self.language, self.rules, self.episode_length = model.language, model.rules, model.episode_length
        self.render_mode = None
        self._arguments = arguments
        self._space = model.actions
        self._actions = make_actions(model.actions)
        self._tables = make_tables(arguments.get("caption", "spatial"), self.language.vocabulary)
        self._goals = make_goals(self.rules.table_wood)
        super().__init__(n_envs, model.observation_space, model.action_space)
        self._worlds = np.zeros(n_envs, WORLD)
        self._moment = make_moment(n_envs)
        self._random = [seeding.np_random()[0] for _ in range(n_envs)]
        self._world_seeds = [0] * n_envs
        self._frames = np.zeros(n_envs, int)
        self._played = np.zeros((n_envs, 512), np.min_scalar_type(model.action_space.n - 1))  # grows
        self._progress: list[Progress] | None = None
        if model.task:
            self._progress = [
                Progress(model.task, model.progress.reward, self.episode_length) for _ in range(n_envs)
            ]
        self._situations: dict[tuple[int, str | None], Situation] = {}
        self._privileged: dict[int, Privileged] = {}
        self._events: dict[int, tuple[str, ...]] = {0: ()}
        self._attempts: dict[tuple[int, ...], str | None] = {}

    def reset(self) -> np.ndarray:
        for i in range(self.num_envs):
            if self._seeds[i] is not None:
                self._random[i] = seeding.np_random(self._seeds[i])[0]
            self._start(i, (self._options[i] or {}).get("world_seed"))
        self._reset_seeds()
        self._reset_options()
        return self._moment.observation.copy()

    def step_async(self, actions: np.ndarray) -> None:
        self._chosen = np.asarray(actions, np.int64)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        faced, held = self._moment.faced.tolist(), (self._moment.caption >> ITEM_BIT).tolist()
        rules = self.rules
        play(
            self._worlds,
            self._chosen,
            self._actions,
            rules.one_hit,
            rules.table_wood,
            rules.health_reward,
            self._tables,
            self._goals,
            _K.dark_below,
            _K.feels_below,
            self._moment,
        )
        if self._frames.max() == self._played.shape[1]:
            self._played = np.pad(self._played, ((0, 0), (0, self._played.shape[1])))
        self._played[np.arange(self.num_envs), self._frames] = self._chosen
        self._frames += 1
        ended = self._moment.dead.copy()
        rewards = self._moment.reward.astype(np.float32)
        if self._progress:
            self._advance_tasks(ended, rewards)
        truncated = (self._frames >= self.episode_length) & ~ended
        dones = ended | truncated
        infos = self._infos(faced, held, truncated)
        for i in np.flatnonzero(dones):
            infos[i]["unlocked"] = self._unlocked(i)
            if self._progress:
                infos[i]["success"] = self._progress[i].solved
            infos[i]["terminal_observation"] = self._moment.observation[i].copy()
            self._start(i)
        return self._moment.observation.copy(), rewards, dones, infos

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"{attr_name} of compiled worlds cannot be set; make new ones")

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        if method_name not in ("episode", "resume_episode"):
            raise AttributeError(f"compiled worlds have no method {method_name}; use CrafterTextEnv")
        method = getattr(self, f"_{method_name}")
        return [method(i, *args, **kwargs) for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def _episode(self, i: int) -> dict[str, Any]:
        """As ``CrafterTextEnv.episode``."""
        return episode_of(self._random[i], self._world_seeds[i], self._played[i, : self._frames[i]])

    def _resume_episode(self, i: int, episode: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        """As ``CrafterTextEnv.resume_episode``."""
        world_seed, actions = read_episode(episode, self.action_space.n)
        alone = self._understudy
        alone._start(0, world_seed)
        for action in actions:
            alone.step(np.array([action]))
        if alone._frames[0] != len(actions):
            raise ValueError("the episode ended before its last action")
        self._random[i].bit_generator.state = episode["random"]
        self._worlds[i], self._world_seeds[i] = alone._worlds[0], world_seed
        if self._progress:
            self._progress[i], alone._progress[0] = alone._progress[0], self._progress[i]
        width = max(alone._played.shape[1] - self._played.shape[1], 0)
        self._played = np.pad(self._played, ((0, 0), (0, width)))
        self._played[i, : len(actions)], self._frames[i] = actions, len(actions)
        self._look(i)
        return self._moment.observation[i].copy(), self._state_info(i)

    @functools.cached_property
    def _understudy(self) -> CompiledCrafter:
        """One world, to play episodes again in."""
        return CompiledCrafter(1, **self._arguments)

    def _start(self, i: int, world_seed: int | None = None) -> None:
        """A new episode in world ``i``; its seed is drawn unless given."""
        if world_seed is None:
            world_seed = self._random[i].integers(HELD_OUT_SEEDS)
        self._world_seeds[i] = int(world_seed)
        self._frames[i] = 0
        if self._progress:
            self._progress[i].start()
        generator = np.random.RandomState(self._world_seeds[i])
        creatures = generate_map(generator, AREA // 2, AREA // 2, self._worlds[i]["material"])
        _, key, position, *_ = generator.get_state()
        self._worlds[i]["mt"][:] = key
        self._worlds["mt_position"][i] = position
        start(self._worlds, i, creatures)
        self._look(i)
        self.reset_infos[i] = self._state_info(i)

    def _advance_tasks(self, ended: np.ndarray, rewards: np.ndarray) -> None:
        """The task's rewards instead of the game's; worlds in which it is solved have ended."""
        last = self._frames >= self.episode_length
        for i, events in enumerate(self._moment.events.tolist()):
            progress = self._progress[i]
            rewards[i] = progress.advance(
                self._name_events(events), lambda i=i: self._state(i), not ended[i], bool(last[i])
            )
            ended[i] |= progress.over

    def _state(self, i: int) -> CrafterState:
        """World ``i`` as ``CrafterTextEnv.state`` tells it."""
        world, view = self._worlds[i], np.empty(_K.view, np.uint8)
        view_of(self._worlds, i, view)
        return CrafterState(
            view=view,
            facing=(int(world["facing"][0]), int(world["facing"][1])),
            inventory=tuple(world["inventory"].tolist()),
            asleep=bool(world["sleeping"]),
            daylight=float(daylight(world["step"])),
            counts=tuple(world["counts"].tolist()),
        )

    def _look(self, i: int) -> None:
        """Describes world ``i`` as it is now."""
        look(self._worlds, i, i + 1, self._tables, self._goals, _K.dark_below, _K.feels_below, self._moment)

    def _infos(self, faced: list[int], held: list[int], truncated: np.ndarray) -> list[dict[str, Any]]:
        """Infos of a step; what was faced and held is of the states before it."""
        moment = self._moment
        columns = (moment.caption.tolist(), moment.possible.tolist(), moment.events.tolist())
        chosen, cut = self._chosen.tolist(), truncated.tolist()
        infos = []
        instructions = [progress.instruction for progress in self._progress or ()] or [None] * self.num_envs
        for i, (caption, possible, events) in enumerate(zip(*columns, strict=True)):
            happened = self._events.get(events)
            tried = (chosen[i], faced[i], held[i], events)
            infos.append(
                {
                    "situation": self._situations.get((caption, instructions[i])) or self._situation(i),
                    "privileged": self._privileged.get(possible) or self._name_possible(possible),
                    "world_seed": self._world_seeds[i],
                    "events": happened if happened is not None else self._name_events(events),
                    "attempt": self._attempts[tried] if tried in self._attempts else self._attempt(*tried),
                    "TimeLimit.truncated": cut[i],
                }
            )
        return infos

    def _state_info(self, i: int) -> dict[str, Any]:
        """What the info of a state holds, at reset and later."""
        return {
            "situation": self._situation(i),
            "privileged": self._name_possible(int(self._moment.possible[i])),
            "world_seed": self._world_seeds[i],
        }

    def _situation(self, i: int) -> Situation:
        """The situation of world ``i`` in words, which are made once for each distinct one."""
        caption = int(self._moment.caption[i])
        instruction = self._progress[i].instruction if self._progress else None
        if (caption, instruction) not in self._situations:
            if len(self._situations) == REMEMBERED:
                self._situations.clear()
            self._situations[caption, instruction] = Situation(paper_caption(caption), instruction)
        return self._situations[caption, instruction]

    def _name_possible(self, bits: int) -> Privileged:
        if bits not in self._privileged:
            if len(self._privileged) == REMEMBERED:
                self._privileged.clear()
            self._privileged[bits] = Privileged(
                tuple(goal for bit, goal in enumerate(_K.goals) if bits >> bit & 1)
            )
        return self._privileged[bits]

    def _name_events(self, bits: int) -> tuple[str, ...]:
        if bits not in self._events:
            names = [*(_K.phrase_of[name] for name in _K.achievements), "sleep"]
            self._events[bits] = tuple(name for bit, name in enumerate(names) if bits >> bit & 1)
        return self._events[bits]

    def _attempt(self, chosen: int, faced: int, held: int, events: int) -> str | None:
        items = {item for i, item in enumerate(ITEMS) if held >> i & 1}
        if len(self._attempts) == REMEMBERED:
            self._attempts.clear()
        phrase = attempted(self._space[chosen], faced_noun(_K.things[faced]), items, self._events[events])
        self._attempts[chosen, faced, held, events] = phrase
        return phrase

    def _unlocked(self, i: int) -> tuple[str, ...]:
        counts = zip(_K.achievements, self._worlds[i]["counts"], strict=True)
        return tuple(sorted(name for name, count in counts if count))
