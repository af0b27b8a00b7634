"""An oracle with mistakes at known rates: how good must a suggester be?"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence

from ellm_agent.goals.base import FullState, Goal, GoalSuggester

CACHED = 2**16  # scenes


class NoisyOracle(GoalSuggester):
    """The oracle with goals left out and impossible ones added, at random, but always the same in the same scene.

    A possible goal is suggested with probability *recall* r. To m possible goals of a scene belong f = r m (1 - p) / p
    impossible ones (rounded up or down at random, and at most all there are), so that among suggestions the share of
    possible ones is the *precision* p = r m / (r m + f). As with a language model, mistakes belong to the scene: whoever
    stays, or comes again, finds the same ones.

    Args:
        recall: r.
        precision: p.
        goals: of the world.
        candidates: caption -> the goals out of which impossible ones are taken, in a fixed order; None: ``goals``.
        scene: situation's caption -> the caption that a language model would be asked about.
    """

    reads_privileged = True

    def __init__(
        self,
        recall: float,
        precision: float,
        goals: Sequence[Goal],
        scene: Callable[[str], str] = str,
        candidates: Callable[[str], Sequence[Goal]] | None = None,
    ):
        self.description = (
            f"oracle with mistakes: recall {recall:g}, precision {precision:g} (not a language model)"
        )
        self._recall, self._precision, self._scene = recall, precision, scene
        self._candidates = candidates or (lambda caption, goals=tuple(goals): goals)
        self._suggestion = functools.lru_cache(CACHED)(self._suggest)

    def suggest(self, situations: Sequence[FullState]) -> list[tuple[Goal, ...]]:
        return [self._suggestion(state.situation.caption, state.privileged.possible) for state in situations]

    def _suggest(self, caption: str, possible: tuple[Goal, ...]) -> tuple[Goal, ...]:
        rng = random.Random(self._scene(caption))  # of a text: the same in every process
        goals = self._candidates(caption)
        kept, added = ({goal: rng.random() for goal in goals} for _ in range(2))
        wanted = self._recall * len(possible) * (1 - self._precision) / self._precision
        others = sorted({*goals} - {*possible}, key=added.__getitem__)
        suggested = {goal for goal in possible if kept[goal] < self._recall}
        suggested.update(others[: int(wanted + rng.random())])
        return tuple(goal for goal in goals if goal in suggested)  # in an order that tells nothing
