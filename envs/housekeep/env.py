"""Housekeep as a gridworld in words: the reference implementation, in plain Python."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from envs.housekeep import captions, scenes, vocabulary
from envs.housekeep.homes import DIRECTIONS, DOOR, FLOOR, home_of
from envs.housekeep.placements import Placements, placements
from envs.housekeep.tasks import TASKS, home_of_task
from envs.housekeep.votes import read_votes
from envs.interface import Privileged, Situation, unknown
from envs.text_env import Outcome, TextEnv

PROTOCOLS = ("ellm", "homes")
CAPTIONS = ("map", "spatial")
ACTIONS = ("noop", "west", "east", "north", "south", "grab or release")
GRAB = vocabulary.GRAB
EPISODE_LENGTH = 1_000  # frames
RIGHT, WRONG = 1.0, -0.1  # the environment's reward: the paper's 2.5 and -.25, divided by 2.5


class HousekeepEnv(TextEnv):
    """A home in which objects lie where they do not belong, described in clauses.

    After Housekeep (Kant et al. 2022) as Du et al. (2023, section 4.2) use it; here a gridworld with data of its own
    (``placements.yaml``). docs/housekeep.md lists what differs.

    **Home**: 1 to 7 rooms of 5x5 cells on a board of 3x3, doors between neighbours, 5 to 8 receptacles in each room, 7 to
    10 objects of which 3 to 5 lie in a typical wrong place. Each has at least one right place in this home.

    **Observation**: ``Box(0, n - 1, (34,), int16 or int32)``: ids into ``language.vocabulary``, padded with 0, of the
    clauses of the caption. The player sees its own room, and nothing else: all receptacles, objects and doors in a
    window of 9x9 cells (which covers the room from each of its cells; doors are in the wall, up to one cell further).
    With caption ``spatial`` it remembers nothing. With ``map`` it remembers the doors of the rooms in which it has
    been: the caption says which door leads to each room that it knows of, and to the nearest one in which it has not
    been. An example: "this is the kitchen. kitchen fridge: 3 west, 1 north. apple: in kitchen fridge. door to
    bathroom: 2 east. way to bedroom: 2 east. way to a room not seen yet: 2 east. west of you: floor. east of you: ...
    you face kitchen fridge. grab: pick up apple from kitchen fridge. you hold nothing."

    **Actions**: ``Discrete(6)``.

    =====================  ======================================================================================
    0 noop                 nothing
    1-4 west, east,        turns, and goes one cell if it is free; receptacles and walls are not. A step into a door
    north, south           leads through it, to the first cell of the next room
    5 grab or release      with an empty hand: takes an object from the faced receptacle: the one that has lain there longest,
                           or after steps against the receptacle the next ones, one for each step; with a
                           full one: puts it into the faced receptacle. Both take two such actions, one after the
                           other: the first reaches out. Elsewhere nothing happens
    =====================  ======================================================================================

    **Protocols**: ``ellm``: four fixed homes of one room each with five misplaced objects; the world seed chooses one of
    them and the player's first cell, one of the nine in the middle. ``homes``: a new home from each world seed, with
    training objects, and for evaluation (world seeds from 2**30 on) with held-out ones.

    **Reward** (the *environment's*; exploration usually replaces it): 1 when an object that was misplaced is picked up for
    the first time, and when such an object is put into a right place for the first time; -0.1 when an object is taken from
    a right place or put into one that is not right.

    **Termination**: ``terminated`` when every object lies in a right place and the hand is empty; ``truncated`` after
    ``episode_length`` frames.

    **Info**: as ``envs.interface`` says.

    - ``situation``: the paper's caption: receptacles (with their rooms) and objects seen so far in the episode, where
      these are, and what is held.
    - ``privileged``: goals that the oracle would suggest (:func:`scenes.oracle`).
    - ``events`` and ``attempt``: "pick up apple from living room sofa", "place apple in kitchen fridge", and in a room in
      which the player has not been before in the episode "explore kitchen".
    - at the end of an episode ``success`` (with a task: whether all is tidy), ``unlocked`` (of
      ``captions.ACHIEVEMENTS``) and ``scores`` (:meth:`last_info`).

    Args:
        protocol: "ellm" or "homes".
        caption: "map" or "spatial".
        action_space: None; there is one.
        episode_length: frames; None: 1,000.
        task: None, or one of ``tasks.TASKS``: an instruction, and success when all is tidy. The reward is the same.
        task_reward: unused: there is one reward.
        placements: file of Housekeep's votes (``data.npy``) in place of the world's own placements.
        render_mode: None or "rgb_array".

    Attributes:
        known: what belongs where.
        home: the home of the episode.
        at: for each object, the number of the receptacle in which it lies; -1 if it is held.
        held: the object in the hand, or -1.

    Raises:
        OSError: if the file of votes cannot be read.
        ValueError: one line, for an unknown name, an episode length below 1, or a wrong file of votes.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 8}

    def __init__(
        self,
        protocol: str = PROTOCOLS[0],
        caption: str = CAPTIONS[0],
        action_space: str | None = None,
        episode_length: int | None = None,
        task: str | None = None,
        task_reward: str = "last",
        placements: str | Path | None = None,
        render_mode: str | None = None,
    ):
        for name, value, choices in (
            ("protocol", protocol, PROTOCOLS),
            ("caption", caption, CAPTIONS),
            ("action-space", action_space, (None,)),
            ("task", task, (None, *TASKS)),
        ):
            if value not in choices:
                raise ValueError(unknown(name, value, [c for c in choices if c]))
        self.protocol, self.caption, self.known = protocol, caption, known_placements(placements)
        self.task, self.fixed_home = task, home_of_task(task, protocol)
        language = vocabulary.words(self.known, protocol).language
        super().__init__(
            # `TextEnv` has numbers of 16 bits, too few for the clauses of `homes`: the vocabulary follows below.
            dataclasses.replace(language, vocabulary=("",)),
            ACTIONS,
            vocabulary.MAX_CLAUSES,
            EPISODE_LENGTH if episode_length is None else episode_length,
            render_mode,
        )
        self.language, last = language, len(language.vocabulary) - 1
        self._ids = {clause: i for i, clause in enumerate(language.vocabulary)}
        dtype = np.int16 if last <= np.iinfo(np.int16).max else np.int32
        self.observation_space = spaces.Box(0, last, (vocabulary.MAX_CLAUSES,), dtype)

    # --- an episode -------------------------------------------------------------------------------------------------

    def start_episode(self, world_seed: int) -> None:
        """Starts an episode in the home of a world seed."""
        self.home, (self.x, self.y) = home_of(self.known, self.protocol, world_seed, self.fixed_home)
        n = len(self.home.objects)
        self.facing, self.reaching = DIRECTIONS[3], False
        self.looking = 0  # steps against the faced receptacle: each turns to the next object in it
        self.room = int(self.home.room_at[self.x, self.y])
        self.visited = {self.room}
        self.at = list(self.home.at)
        self.since = [-n + o for o in range(n)]  # when each was put there, in frames
        self.held = -1
        self.put: set[tuple[int, int]] = set()  # objects that the player has put somewhere, and where
        self.frame = 0
        self.picked: set[int] = set()  # objects that were in the hand
        self.picks = self.right_picks = self.puts = self.right_puts = self.most_fixed = 0
        self.all_tidy = False

    def act(self, action: int) -> Outcome:
        """Plays one frame."""
        self.frame += 1
        event, reward = None, 0.0
        if 1 <= action <= 4:
            event = self._move(DIRECTIONS[action - 1])
        grabs = action == GRAB and self.faced_place >= 0 and max(self.held, self.in_reach) >= 0
        if grabs and self.reaching and self.held >= 0:
            event, reward = self._put(self.held, self.faced_place)
        elif grabs and self.reaching:
            event, reward = self._pick_up(self.in_reach, self.faced_place)
        self.reaching = grabs and not self.reaching
        self.all_tidy = self.held < 0 and all(self.is_right(o) for o in range(len(self.at)))
        return Outcome(reward, self.all_tidy, (event,) if event else (), event)

    def _move(self, direction: tuple[int, int]) -> str | None:
        """Turns and goes; the event of coming into a room for the first time."""
        again, self.facing = direction == self.facing, direction
        x, y = self.x + direction[0], self.y + direction[1]
        if self.home.grid[x, y] == DOOR:
            x, y = x + direction[0], y + direction[1]
        if self.home.grid[x, y] == FLOOR:
            self.x, self.y = x, y
            self.room = int(self.home.room_at[x, y])
            again = False
        self.looking = self.looking + 1 if again else 0
        new = self.room not in self.visited
        self.visited.add(self.room)
        return captions.explore(self.room_name(self.room)) if new else None

    def _pick_up(self, thing: int, place: int) -> tuple[str, float]:
        misplaced = not self.is_right(thing)
        first = thing in self.home.misplaced and thing not in self.picked
        reward = RIGHT * first if misplaced else WRONG
        self.picked.add(thing)
        self.picks += 1
        self.right_picks += misplaced
        self.held, self.at[thing], self.looking = thing, -1, 0
        return captions.pick_up(self.name(thing), self.place_name(place)), reward

    def _put(self, thing: int, place: int) -> tuple[str, float]:
        right = bool(self.home.right[thing, place])
        open_before = thing in self.open_objects()
        self.held, self.at[thing], self.since[thing] = -1, place, self.frame
        self.put.add((thing, place))
        self.looking = 0
        self.puts += 1
        self.right_puts += right
        self.most_fixed = max(self.most_fixed, len(self.fixed))
        reward = RIGHT * open_before if right else WRONG
        return captions.put(self.name(thing), self.where(place)), reward

    def change(self, random: np.random.Generator) -> None:
        """Brings the home into a state that a player may come into: rooms seen, an object in the hand."""
        others = random.permutation(len(self.home.rooms))[: random.integers(len(self.home.rooms) + 1)]
        self.visited |= set(others.tolist())
        seen = [o for o, place in enumerate(self.at) if self.home.place_room[place] in self.visited]
        if seen and random.random() < 0.5:
            thing = seen[random.integers(len(seen))]
            self._pick_up(thing, self.at[thing])

    # --- what is so -------------------------------------------------------------------------------------------------

    @property
    def faced_place(self) -> int:
        """The receptacle that the player faces, or -1."""
        return max(-1, int(self.home.grid[self.x + self.facing[0], self.y + self.facing[1]]) - 1)

    @property
    def in_reach(self) -> int:
        """The object that a grab takes from the faced receptacle, or -1: the one that has lain there longest, or after
        steps against it the next ones.
        """
        lying = [o for o, place in enumerate(self.at) if place >= 0 and place == self.faced_place]
        return sorted(lying, key=lambda o: self.since[o])[self.looking % len(lying)] if lying else -1

    def is_right(self, thing: int) -> bool:
        """Whether an object lies in a right place."""
        return self.at[thing] >= 0 and bool(self.home.right[thing, self.at[thing]])

    @property
    def fixed(self) -> list[int]:
        """Objects that were misplaced at the start and lie in a right place now."""
        return [o for o in self.home.misplaced if self.is_right(o)]

    def open_objects(self) -> set[int]:
        """Objects that were misplaced at the start, and that the player has never yet put into a right place."""
        done = {o for o, place in self.put if self.home.right[o, place]}
        return set(self.home.misplaced) - done

    def name(self, thing: int) -> str:
        return self.known.objects[self.home.objects[thing]]

    def place_name(self, place: int) -> str:
        return str(self.known.places[self.home.places[place]])

    def where(self, place: int) -> str:
        return self.known.where(self.home.places[place])

    def room_name(self, room: int) -> str:
        return list(self.known.rooms)[self.home.rooms[room]]

    def thing_at(self, x: int, y: int) -> str:
        """What is in a cell beside the player."""
        code = int(self.home.grid[x, y])
        if code == DOOR:
            direction = DIRECTIONS.index((x - self.x, y - self.y))
            return captions.door(self.room_name(self.home.neighbours[self.room, direction]))
        return self.place_name(code - 1) if code > 0 else captions.FLOOR if code == FLOOR else captions.WALL

    # --- in words ---------------------------------------------------------------------------------------------------

    def clauses(self) -> list[str]:
        """The present state as the player sees it."""
        home, here = self.home, self.room
        places = [p for p in range(len(home.places)) if home.place_room[p] == here]
        clauses = [captions.room_clause(self.room_name(here))]
        for place in places:
            x, y = home.cells[place]
            clauses.append(captions.where_clause(self.place_name(place), x - self.x, y - self.y))
        clauses += [
            captions.lies_clause(self.name(o), self.where(place))
            for o, place in enumerate(self.at)
            if place in places
        ]
        for x, y, room in home.doors(here):
            clauses.append(captions.where_clause(captions.door(self.room_name(room)), x - self.x, y - self.y))
        clauses += self._map() if self.caption == "map" else []
        for side, (dx, dy) in zip(captions.SIDES, DIRECTIONS, strict=True):
            clauses.append(captions.side_clause(side, self.thing_at(self.x + dx, self.y + dy)))
        dx, dy = self.facing
        clauses.append(captions.faced_clause(self.thing_at(self.x + dx, self.y + dy)))
        if self.faced_place >= 0 and self.held >= 0:
            clauses.append(
                captions.grab_clause(captions.put(self.name(self.held), self.where(self.faced_place)))
            )
        elif self.in_reach >= 0:
            goal = captions.pick_up(self.name(self.in_reach), self.place_name(self.faced_place))
            clauses.append(captions.grab_clause(goal))
        if self.reaching:
            clauses.append(captions.REACHING)
        clauses.append(captions.NOTHING_HELD if self.held < 0 else captions.held_clause(self.name(self.held)))
        return clauses

    def _map(self) -> list[str]:
        """Which door leads to each known room that is not next door, and to the nearest one not seen yet."""
        ways, doors = self.home.ways(self.room, self.visited), self.home.doors(self.room)
        cell = {room: (x - self.x, y - self.y) for x, y, room in doors}
        first = {room: int(self.home.neighbours[self.room, direction]) for room, direction in ways.items()}
        clauses = [
            captions.where_clause(captions.way(self.room_name(room)), *cell[first[room]])
            for room in sorted(first)
            if room not in cell
        ]
        unseen = next((room for room in first if room not in self.visited), None)
        if unseen is not None:
            clauses.append(captions.where_clause(captions.way(captions.UNSEEN), *cell[first[unseen]]))
        return clauses

    def situation(self) -> Situation:
        """The paper's caption: everything seen so far in the episode."""
        return scenes.situation(*self._facts(), self.task)

    def privileged(self) -> Privileged:
        """The goals of :func:`scenes.oracle`."""
        return scenes.oracle(*self._facts())

    def _facts(self) -> tuple[Any, ...]:
        return self.known, self.home, sorted(self.visited), self.at, self.held

    @property
    def unlocked(self) -> tuple[str, ...]:
        """Sorted names of the achievements unlocked in this episode."""
        return unlocked(self.right_picks, self.right_puts, self.most_fixed, self.all_tidy)

    def last_info(self) -> dict[str, Any]:
        """``scores`` of the episode, see :func:`scores`."""
        n_right = sum(self.is_right(o) for o in range(len(self.at)))
        counts = self.picks, self.right_picks, self.puts, self.right_puts
        found = scores(n_right / len(self.at), len(self.fixed) / len(self.home.misplaced), *counts)
        return {"scores": found, **({"success": self.all_tidy} if self.task else {})}

    def render(self) -> np.ndarray | None:
        """The player's room, ``(450, 450, 3)`` uint8, or None without a render mode."""
        if self.render_mode != "rgb_array":
            return None
        from envs.housekeep.drawing import draw

        return draw(self)

    def _observation(self) -> np.ndarray:
        # As in `TextEnv`, with this space's type.
        observation = np.zeros(self.observation_space.shape, self.observation_space.dtype)
        ids = [self._ids[clause] for clause in self.clauses()]
        observation[: len(ids)] = ids
        return observation


def known_placements(file: str | Path | None) -> Placements:
    """The world's own placements, or those of a file of votes, which is read once."""
    if file is None:
        return placements()
    state = Path(file).stat()
    return _votes(Path(file), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _votes(file: Path, *_: int) -> Placements:
    return read_votes(file)


def unlocked(right_picks: int, right_puts: int, most_fixed: int, all_tidy: bool) -> tuple[str, ...]:
    """Sorted names of achievements.

    Args:
        right_picks: how often a misplaced object was picked up.
        right_puts: how often an object was put into a right place.
        most_fixed: how many of the misplaced objects lay in right places at one time, at most.
        all_tidy: whether the episode ended with everything in its place.
    """
    picked, put, *_, tidy = captions.ACHIEVEMENTS
    names = [picked] * (right_picks > 0) + [put] * (right_puts > 0) + [tidy] * all_tidy
    return tuple(sorted([*names, *captions.FIXED[:most_fixed]]))


def scores(
    rearranged: float, fixed: float, picks: int, right_picks: int, puts: int, right_puts: int
) -> dict[str, float]:
    """Scores of an episode, each in [0, 1].

    Args:
        rearranged: share of all objects that lie in right places at the end.
        fixed: share of the misplaced objects that do.
        picks: objects picked up.
        right_picks: of these, misplaced ones.
        puts: objects put down.
        right_puts: of these, into right places.

    Returns:
        ``rearrange_success``, ``misplaced_fixed``, ``pick_success`` and ``place_success`` (0 if none was picked or put).
    """
    return {
        "rearrange_success": rearranged,
        "misplaced_fixed": fixed,
        "pick_success": right_picks / max(picks, 1),
        "place_success": right_puts / max(puts, 1),
    }
