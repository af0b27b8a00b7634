"""Crafter as a text environment: gymnasium's interface over the PyPI package ``crafter``."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import crafter
import numpy as np
from crafter import constants, engine, objects

from envs.crafter import captions
from envs.crafter.actions import (
    ACTION_SPACES,
    Action,
    action_meanings,
    attempted,
    carried_out,
    faced_noun,
    go_to,
)
from envs.crafter.knowledge import Protocol, canonical, knowledge
from envs.crafter.state import CrafterState, read_state
from envs.crafter.tasks import REWARDS, Progress, Task, tasks
from envs.crafter.worldgen import generate_world
from envs.interface import Language, Privileged, Situation
from envs.text_env import Outcome, TextEnv


class CrafterTextEnv(TextEnv):
    """Crafter, described in clauses.

    **Observation**: ``Box(0, n - 1, (clauses,), int16)``. Ids into ``language.vocabulary`` of
    the clauses of the state's caption, in the captioner's order, padded with 0 (the empty clause). With
    ``caption="spatial"`` (default) they say where the nearest of each thing in the 9x7 view is, what
    is on each side, what is faced, how much of each item is held, and how each need stands; with
    ``caption="full"`` also the points of each need, the side that the player looks to, daylight and the last
    action; with ``caption="paper"`` they hold names only. ``language.to_sentence`` joins
    clauses into text. Captions are made from the simulator's state: unlike the package's pictures,
    which are noisy at night and black during sleep, they always describe the whole view.

    **Actions**: ``Discrete(n)``, named in ``actions``.

    ============  ===  ==================================================================
    actions        n   meaning
    ============  ===  ==================================================================
    native         17  the package's: noop, 4 moves, do, sleep, 4 place_*, 6 make_*
    verb-noun     139  noop, 4 moves, sleep, and 7 verbs x 19 nouns; 23 of the pairs mean
                       something ("chop tree"), and those that act on the faced thing do
                       so only when it is their noun; all others do nothing
    ============  ===  ==================================================================

    **Rules** (``protocol``; each part can be set by its own argument):

    ================  ==============  ================
    part              crafter         ellm
    ================  ==============  ================
    action_space      native          verb-noun
    episode_length    10,000 frames   400 frames
    health in reward  yes             no
    creatures die in  several hits    one hit
    a table costs     2 wood          1 wood
    ================  ==============  ================

    **Reward** (the *environment's*; exploration usually replaces it): 1 in each frame in which at
    least one achievement is unlocked for the first time in the episode, plus, under ``crafter``, a
    tenth of the change in health.

    **Task** (``task``, see ``envs/crafter/tasks.py``): the reward is then that of the task alone, an episode ends when it is
    solved, and lasts 400 frames unless ``episode_length`` says otherwise.

    **Termination**: ``terminated`` when the player dies or has solved the task; ``truncated`` when ``episode_length`` frames
    have passed and the episode has not terminated.

    **Info**, at reset and at each step:

    - ``situation``: a :class:`envs.interface.Situation`: the language model's caption of the state, and the next step
      of the task;
    - ``privileged``: a :class:`envs.interface.Privileged`: the goals whose prerequisites hold, for the oracle and for
      diagnostics only, and those whose result recipes still need;
    - ``world_seed``: int that, with the actions, determines the episode;
    - ``events`` (step only): tuple of phrases, what really happened (the *effect* definition);
    - ``attempt`` (step only): phrase tried with its noun faced or held, or None (the *attempt*
      definition);
    - ``unlocked`` (last step of an episode only): sorted names of the achievements unlocked;
    - ``success`` (last step of an episode with a task only): whether it was solved.

    **Determinism**: the world seed and the actions give the same episode in every process, with any
    PYTHONHASHSEED, drawn or not. ``reset(seed=s)`` seeds the generator that draws world seeds (below
    2**30); ``reset(options={"world_seed": w})`` plays world ``w``.

    **Rendering**: nothing is drawn unless ``render()`` is called; ``render_mode="rgb_array"`` gives
    ``(size, size, 3)`` uint8 from the package's own renderer.

    Args:
        protocol: "crafter" or "ellm".
        caption: "spatial", "full" or "paper".
        action_space: "native" or "verb-noun"; None: the protocol's.
        episode_length: frames; None: the protocol's, or that of tasks.
        task: one of ``envs.crafter.tasks.tasks()``, or None.
        task_reward: what a task rewards: "last" (its solution) or "each" (each step, too).
        render_mode: None or "rgb_array".
        size: side of the picture in pixels.
        grain: whether night pictures have the package's noise.

    Attributes:
        game: the package's environment. Tests change its fields, and call ``describe`` afterwards.
        state: the present state.

    Raises:
        ValueError: for an unknown name or an episode length below 1.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        protocol: str = "crafter",
        caption: str = "spatial",
        action_space: str | None = None,
        episode_length: int | None = None,
        task: str | None = None,
        task_reward: str = "last",
        render_mode: str | None = None,
        size: int = 450,
        grain: bool = True,
    ):
        self.rules: Protocol = _choose("protocol", protocol, knowledge().protocols)
        style = _choose("caption", caption, captions.CAPTIONS)
        self._describe = style.clauses
        if task_reward not in REWARDS:
            raise ValueError(f"task_reward is {task_reward!r}; choose one of {', '.join(REWARDS)}")
        self.task = _choose("task", task, tasks().by_name) if task else None
        if episode_length is None:
            episode_length = tasks().episode_length if task else self.rules.episode_length
        self.action_space_name = action_space or self.rules.actions
        actions = _choose("action_space", self.action_space_name, ACTION_SPACES)
        super().__init__(
            language(style.vocabulary(), actions),
            actions,
            style.most_clauses,
            episode_length,
            render_mode,
        )
        self.progress = Progress(self.task, task_reward, episode_length) if self.task else None
        self.game = _Game(self.rules, size, grain)
        self.state: CrafterState | None = None

    def start_episode(self, world_seed: int) -> None:
        """Starts an episode in a world."""
        self.game.start(world_seed)
        self.state = self.game.state()
        if self.progress:
            self.progress.start()

    def act(self, action: int) -> Outcome:
        """Plays one frame."""
        before, chosen = self.state, self.actions[action]
        faced = faced_noun(before.faced)
        reward, terminated = self.game.step(carried_out(chosen, faced))
        self.state = self.game.state()
        events = captions.describe_transition(before, self.state)
        if self.progress:
            reward = self.progress.advance(events, lambda: self.state, not terminated, self.time_is_up)
            terminated = terminated or self.progress.over
        return Outcome(reward, terminated, events, attempted(chosen, faced, before.held, events))

    def clauses(self) -> tuple[str, ...]:
        """The present state's caption in the style that the agent reads."""
        return self._describe(self.state)

    def situation(self) -> Situation:
        """The language model's caption of the present state, and the next step of the task."""
        return Situation(
            caption=captions.to_sentence(captions.detailed_clauses(self.state)),
            instruction=self.progress.instruction if self.progress else None,
        )

    def privileged(self) -> Privileged:
        """The goals whose prerequisites hold, and those whose item is still needed."""
        wood = self.rules.table_wood
        return Privileged(captions.possible_goals(self.state, wood), captions.needed_goals(self.state, wood))

    @property
    def unlocked(self) -> tuple[str, ...]:
        """Sorted names of the achievements unlocked in this episode."""
        return self.state.unlocked

    def last_info(self) -> dict[str, Any]:
        """``success``, if there is a task."""
        return {"success": self.progress.solved} if self.progress else {}

    def render(self) -> np.ndarray | None:
        """The package's picture, ``(size, size, 3)`` uint8, or None without a render mode."""
        return self.game.picture() if self.render_mode == "rgb_array" else None

    def describe(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Reads the game again after its fields were changed. Returns what ``reset`` does."""
        self.state = self.game.state()
        return self._observation(), self._info()


def language(vocabulary: Sequence[str], actions: Sequence[Action] = ACTION_SPACES["native"]) -> Language:
    """Crafter's words.

    Args:
        vocabulary: clauses of the captions that the agent reads, without the empty one.
        actions: the action space.
    """
    known = knowledge()
    meanings = action_meanings(actions)
    return Language(
        vocabulary=("", *vocabulary),
        to_sentence=captions.to_sentence,
        drop_target=captions.drop_target,
        names_only=captions.names_only,
        clauses_of=captions.clauses_of,
        goals=tuple(known.goals),
        canonical=canonical,
        verbs=known.verbs,
        nouns=known.nouns,
        nounless_goals=tuple(goal for goal in known.goals if goal not in known.phrases),
        achievements=known.achievements,
        goal_of=dict(known.phrase_of),
        briefing=known.briefing,
        examples=known.examples,
        action_meanings={clause: meanings[clause] for clause in ("", *vocabulary) if clause in meanings},
        supporting={
            goal: tuple(go_to(thing) for thing in sorted(needed.sees))
            for goal, needed in known.goals.items()
            if needed.sees
        },
    )


def _choose(what: str, name: str, table: Mapping[str, Any]) -> Any:
    if name not in table:
        raise ValueError(f"{what} is {name!r}; choose one of {', '.join(table)}")
    return table[name]


def _task_environment(task: Task) -> type[CrafterTextEnv]:
    """The class of a task's environment; its docstring says what solves the task."""

    def __init__(self, **options: Any):
        CrafterTextEnv.__init__(self, **{"task": task.name, **options})

    members = {"__init__": __init__, "__doc__": task.specification, "__module__": __name__}
    return type(task.environment, (CrafterTextEnv,), members)


# One class for each task, such as ``PlantRow``; ``envs/__init__.py`` registers them with gymnasium.
globals().update({task.environment: _task_environment(task) for task in tasks().by_name.values()})


class _Game(crafter.Env):
    """The package's environment: reproducible, drawn only on demand, with a protocol's rules."""

    def __init__(self, rules: Protocol, size: int, grain: bool):
        super().__init__(size=(size, size), seed=0)
        self._rules = rules
        self._world = _World(self._world.area, constants.materials, (12, 12))
        self._local_view._world = self._world
        self._sem_view = lambda: None  # a picture of ids that nobody reads
        if not grain:
            self.remove_grain()

    def remove_grain(self) -> None:
        """Lets pictures of the night be without the package's noise."""
        self._local_view._noise = lambda canvas, amount, stddev: canvas

    def start(self, world_seed: int) -> None:
        # `crafter.Env.reset` derives the world's seed from a counter; here it is given.
        self._step = 0
        self._world.reset(seed=world_seed)
        self._update_time()
        center = (self._world.area[0] // 2, self._world.area[1] // 2)
        self._player = _Player(self._world, center, self._rules)
        self._last_health = self._player.health
        self._unlocked = set()
        self._world.add(self._player)
        generate_world(self._world, self._player)

    def step(self, native: str) -> tuple[float, bool]:
        """Plays one frame; returns the environment's reward and whether the player died."""
        health = self._player.health
        _, reward, _, _ = super().step(constants.actions.index(native))
        if not self._rules.health_reward:
            reward -= (self._player.health - health) / 10
            reward = float(round(reward))  # 0 or 1, free of rounding errors
        return float(reward), self._player.health <= 0

    def state(self) -> CrafterState:
        return read_state(self._world, self._player)

    def picture(self) -> np.ndarray:
        # The night's noise comes from the world's generator: put back what drawing takes out.
        before = self._world.random.get_state()
        picture = self.render()
        self._world.random.set_state(before)
        return picture

    def _obs(self) -> None:
        """Draws nothing (the package draws in every step)."""


class _World(engine.World):
    """The package keeps a chunk's creatures in a set, ordered by memory address. Here by arrival."""

    def reset(self, seed: int | None = None) -> None:
        super().reset(seed)
        self._chunks = collections.defaultdict(_Arrivals)


class _Arrivals(dict):
    """The part of a set's interface that the package uses, in order of arrival."""

    add, remove = dict.setdefault, dict.__delitem__


class _Player(objects.Player):
    """The package's player, under a protocol's rules."""

    def __init__(self, world, pos, rules: Protocol):
        super().__init__(world, pos)
        self._rules = rules

    def _do_object(self, obj) -> None:
        if self._rules.one_hit and isinstance(obj, objects.Cow | objects.Zombie | objects.Skeleton):
            obj.health = min(obj.health, 1)
        super()._do_object(obj)

    def _place(self, name, target, material) -> None:
        # The package's prices are global to the process. A discount is wood lent before and, if
        # nothing was placed, taken back.
        discount = constants.place["table"]["uses"]["wood"] - self._rules.table_wood
        if name != "table" or not discount or self.inventory["wood"] < self._rules.table_wood:
            super()._place(name, target, material)
            return
        placed = self.achievements["place_table"]
        self.inventory["wood"] += discount
        super()._place(name, target, material)
        if self.achievements["place_table"] == placed:
            self.inventory["wood"] -= discount
