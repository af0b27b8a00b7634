"""``HousekeepEnv`` for many homes at once, compiled: the same observations, rewards and infos, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.compiled_vec import CompiledVecEnv
from envs.housekeep import captions, env, homes, scenes, vocabulary
from envs.housekeep.compiled import rules
from envs.housekeep.compiled.rules import EXPLORE, HOME, PICK, Numbers, Outputs, describe, play
from envs.text_env import read_episode

assert (rules.ROOM, rules.SIDE, rules.MOST_ROOMS) == (homes.ROOM, homes.SIDE, homes.MOST_ROOMS)
assert (rules.MOST_PLACES, rules.MOST_OBJECTS) == (homes.MOST_ROOMS * homes.MOST_IN_ROOM, homes.MOST_OBJECTS)
assert (rules.MAX_CLAUSES, rules.GRAB) == (vocabulary.MAX_CLAUSES, env.GRAB)
assert (rules.DOOR, rules.FLOOR, rules.RIGHT, rules.WRONG) == (homes.DOOR, homes.FLOOR, env.RIGHT, env.WRONG)
assert tuple(zip(rules.DX, rules.DY, strict=True)) == homes.DIRECTIONS


class CompiledHousekeep(CompiledVecEnv):
    """``DummyVecEnv`` of ``HousekeepEnv``, compiled: equal in everything it returns, given the same seeds.

    It draws no pictures: these come from ``HousekeepEnv``, which plays the same episode from the same world seed and
    actions.

    Args:
        n_envs: parallel homes.
        **options: of :class:`envs.housekeep.env.HousekeepEnv`.

    Attributes:
        records: ``(n_envs,)`` of ``rules.HOME``.
    """

    reference = "HousekeepEnv"

    def __init__(self, n_envs: int, **options: Any):
        reference = env.HousekeepEnv(**options)
        self.language, self.episode_length = reference.language, reference.episode_length
        super().__init__(n_envs, reference.observation_space, reference.action_space)
        self._known, self._protocol = reference.known, reference.protocol
        self._task, self._fixed_home = reference.task, reference.fixed_home
        self._remembers = reference.caption == "map"
        words = vocabulary.words(self._known, self._protocol)
        self._numbers = Numbers(*(getattr(words, name) for name in Numbers._fields))
        self.records = np.zeros(n_envs, HOME)
        self._out = Outputs(
            np.zeros((n_envs, vocabulary.MAX_CLAUSES), np.int32),
            np.zeros((n_envs, 3), np.int16),
            np.zeros(n_envs),
            np.zeros(n_envs, np.bool_),
        )
        self._homes: list[homes.Home] = [None] * n_envs
        self._texts: list[dict[str, Any]] = [{}] * n_envs  # the parts of infos that seldom change

    # --- SB3's interface --------------------------------------------------------------------------------------------

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays one frame in every home; where an episode has ended, the next begins."""
        self._play(0, self._chosen)
        terminated = self.records["all_tidy"] == 1
        truncated = (self.records["frame"] >= self.episode_length) & ~terminated
        dones = terminated | truncated
        observations, events = None, self._out.event[:, 0].tolist()
        infos = []
        for i, cut in enumerate(truncated.tolist()):
            event = self._event(i) if events[i] else None
            happened = (event,) if event else ()
            infos.append({**self._texts[i], "events": happened, "attempt": event, "TimeLimit.truncated": cut})
        for i in np.flatnonzero(dones):
            infos[i] |= self._last_info(i)
            if observations is None:
                observations = self._observations()
            infos[i]["terminal_observation"] = observations[i].copy()
            self._start(i)
            self.reset_infos[i] = self._info(i)
        return self._observations(), self._out.reward.astype(np.float32), dones, infos

    # --- episodes ---------------------------------------------------------------------------------------------------

    def _resume_episode(self, i: int, episode: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
        world_seed, actions = read_episode(episode, int(self.action_space.n))
        self._random[i].bit_generator.state = episode["random"]
        self._start(i, world_seed)
        for action in actions:
            self._play(i, np.array([action], np.int64))
            if self.records["all_tidy"][i] or self.records["frame"][i] >= self.episode_length:
                raise ValueError("the episode ended before its last action")
        return self._observations()[i], self._info(i)

    def _info(self, i: int) -> dict[str, Any]:
        return dict(self._texts[i])

    def _start(self, i: int, world_seed: int | None = None) -> None:
        """Starts an episode in home ``i``; its world seed is drawn if none is given."""
        home, start = homes.home_of(
            self._known, self._protocol, self._draw_seed(i, world_seed), self._fixed_home
        )
        self._homes[i] = home
        _write(home, start, self.records[i : i + 1])
        describe(self.records, i, i + 1, self._numbers, self._remembers, self._out)
        self._describe_texts(i)

    def _play(self, first: int, actions: np.ndarray) -> None:
        """Plays one frame in the homes from the first on, one for each action."""
        play(self.records, first, actions, self._numbers, self._remembers, self._out)
        for i, action in enumerate(actions.tolist(), first):
            self._actions_taken[i].append(action)
        for i in np.flatnonzero(self._out.changed[first : first + len(actions)]):
            self._describe_texts(first + int(i))

    # --- words ------------------------------------------------------------------------------------------------------

    def _observations(self) -> np.ndarray:
        return self._out.observation.astype(self.observation_space.dtype)

    def _describe_texts(self, i: int) -> None:
        h, home = self.records[i], self._homes[i]
        facts = (
            self._known,
            home,
            np.flatnonzero(h["visited"]).tolist(),
            h["at"][: len(home.objects)].tolist(),
            int(h["held"]),
        )
        self._texts[i] = {
            "situation": scenes.situation(*facts, self._task),
            "privileged": scenes.oracle(*facts),
            "world_seed": self._world_seeds[i],
        }

    def _event(self, i: int) -> str:
        kind, thing, place = self._out.event[i].tolist()
        home = self._homes[i]
        if kind == EXPLORE:
            return captions.explore(list(self._known.rooms)[home.rooms[thing]])
        name = self._known.objects[home.objects[thing]]
        if kind == PICK:
            return captions.pick_up(name, str(self._known.places[home.places[place]]))
        return captions.put(name, self._known.where(home.places[place]))

    def _last_info(self, i: int) -> dict[str, Any]:
        h, home = self.records[i], self._homes[i]
        right = [place >= 0 and home.right[o, place] for o, place in enumerate(h["at"][: len(home.objects)])]
        counts = (int(h[name]) for name in ("picks", "right_picks", "puts", "right_puts"))
        fixed = sum(right[o] for o in home.misplaced)
        return {
            "unlocked": env.unlocked(
                int(h["right_picks"]), int(h["right_puts"]), int(h["most_fixed"]), bool(h["all_tidy"])
            ),
            "scores": env.scores(sum(right) / len(right), fixed / len(home.misplaced), *counts),
            **({"success": bool(h["all_tidy"])} if self._task else {}),
        }


def _write(home: homes.Home, start: tuple[int, int], record: np.ndarray) -> None:
    """Writes a home at the start of an episode into a record, ``(1,)`` of ``HOME``."""
    record[:] = np.zeros((), HOME)
    h, rooms, places, objects = record[0], len(home.rooms), len(home.places), len(home.objects)
    h["grid"][:], h["room_at"][:] = home.grid, home.room_at
    h["neighbours"][:] = -1
    h["neighbours"][:rooms], h["corner"][:rooms], h["room_kind"][:rooms] = (
        home.neighbours,
        home.corners,
        home.rooms,
    )
    h["first_place"][:] = np.searchsorted(home.place_room, np.arange(len(h["first_place"])))
    h["place_kind"][:places], h["cell"][:places] = home.places, home.cells
    h["object_kind"][:objects], h["at"][:objects] = home.objects, home.at
    h["right"][:objects, :places] = home.right
    h["misplaced"][list(home.misplaced)] = True
    h["since"][:objects] = np.arange(objects) - objects
    for name, value in (
        ("objects", objects),
        ("held", -1),
        ("direction", 3),
        ("x", start[0]),
        ("y", start[1]),
    ):
        record[name] = value
    record["room"] = home.room_at[start]
    h["visited"][home.room_at[start]] = True
