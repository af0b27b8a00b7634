"""What is known of scenes: the goals that a language model has named for them, and those of scenes like them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ellm_agent.goals.base import Goal
from ellm_agent.goals.nearest import NearestScene
from envs.interface import Situation

FRESH = 1.5  # times as many scenes must be known for another look at which is closest
REMEMBERED = 2**14  # captions and scenes of which something is kept at hand: most are met once or twice


@dataclass(slots=True, eq=False)
class Scene:
    """What is kept at hand of a scene, so that one look is enough in most frames.

    Attributes:
        text: what a language model is told.
        answered: whether the model has named its goals, if only to say that there are none.
        enough: the number of scenes with goals from which on the closest are looked up again.
        goals: of the closest scenes.
    """

    text: str
    answered: bool
    enough: float = 0.0
    goals: tuple[Goal, ...] = ()


class KnownScenes:
    """Scenes by their captions, the goals named for each, and the goals of those closest to it.

    Args:
        tell: caption -> what a language model is told of it, the scene.
        facts: scene -> what it tells, clause by clause.

    Attributes:
        goals: scene -> goals that were named for it.
    """

    def __init__(self, tell: Callable[[str], str], facts: Callable[[str], Collection[str]]):
        self._tell, self._facts = tell, facts
        self._captions: dict[str, Scene] = {}
        self._texts: dict[str, Scene] = {}  # those in `_captions`
        self._looked_up: dict[str, Scene] = {}  # those whose closest scenes are known
        self._tuples: dict[tuple[Goal, ...], tuple[Goal, ...]] = {}  # so that the same goals are one object
        self._take_up({})

    def _take_up(self, goals: dict[str, tuple[Goal, ...]]) -> None:
        self.goals = goals
        self._nearest = NearestScene(self._facts)  # of the scenes that have goals
        for scene, named in goals.items():
            if named:
                self._nearest.add(scene)

    @property
    def any_goals(self) -> bool:
        """Whether some scene has goals."""
        return len(self._nearest) > 0

    def of(self, situations: Sequence[Situation]) -> list[Scene]:
        """The scenes of situations."""
        if len(self._captions) + len(situations) > REMEMBERED:
            self._captions.clear()
            self._texts.clear()
        known = self._captions
        return [known.get(situation.caption) or self._meet(situation.caption) for situation in situations]

    def keep(self, text: str, goals: tuple[Goal, ...]) -> None:
        """Takes up what was named for a scene."""
        self.goals[text] = goals
        if goals:
            self._nearest.add(text)
        scene = self._at_hand(text)
        if scene:
            scene.answered, scene.enough = True, 0.0
            self._looked_up.pop(text, None)

    def of_the_closest(self, scenes: Sequence[Scene], remember: bool = True) -> list[tuple[Goal, ...]]:
        """For each scene, the goals of the closest that have some, its own among them. Some scene must have some.

        Which are closest is remembered until there are half as many scenes again, unless it is told not to.
        """
        there = len(self._nearest)
        return [scene.goals if there < scene.enough else self._look_up(scene, remember) for scene in scenes]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON values."""
        return {
            "goals": {text: list(goals) for text, goals in self.goals.items()},
            "gathered": {text: [scene.enough, scene.goals] for text, scene in self._looked_up.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what ``state`` gave.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if it is no such state.
        """
        self._captions.clear()
        self._texts.clear()
        self._take_up({text: tuple(goals) for text, goals in state["goals"].items()})
        self._looked_up = {
            text: Scene(text, text in self.goals, enough, tuple(goals))
            for text, (enough, goals) in state["gathered"].items()
        }

    def _meet(self, caption: str) -> Scene:
        text = self._tell(caption)
        scene = self._at_hand(text) or Scene(text, text in self.goals)
        self._captions[caption] = self._texts[text] = scene
        return scene

    def _at_hand(self, text: str) -> Scene | None:
        return self._texts.get(text) or self._looked_up.get(text)

    def _look_up(self, scene: Scene, remember: bool) -> tuple[Goal, ...]:
        closest = self._nearest.find(scene.text)
        goals = tuple(dict.fromkeys(itertools.chain.from_iterable(map(self.goals.__getitem__, closest))))
        if len(self._tuples) == REMEMBERED:
            self._tuples.clear()
        goals = self._tuples.setdefault(goals, goals)
        if remember:
            if len(self._looked_up) == REMEMBERED:  # the older half makes room
                rows = list(self._looked_up.items())
                for _, old in rows[: REMEMBERED // 2]:
                    old.enough = 0.0
                self._looked_up = dict(rows[REMEMBERED // 2 :])
            scene.enough, scene.goals = FRESH * len(self._nearest), goals
            self._looked_up[scene.text] = scene
        return goals
