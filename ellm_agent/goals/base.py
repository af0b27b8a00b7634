"""The suggester interface, and the suggesters that need no language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envs.interface import Situation

Goal = str  # a goal is its text


class GoalSuggester:
    """Suggests goals for a batch of situations, one list each.

    Attributes:
        description: one line for people: what is behind the suggestions.
        likely: goals that it will probably suggest, if any are known beforehand.
        pays: whether achieving a goal is paid for, which closes it for the rest of the episode.
    """

    description: str
    likely: Sequence[Goal] = ()
    pays: bool = True

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """Goals for each situation, most important first, possibly none; None where they are not known yet."""
        raise NotImplementedError

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """As ``suggest``, for evaluation, which must change nothing in training: from what is known, asking nobody."""
        return self.suggest(situations)

    def status(self) -> str:
        """A few words for the progress line."""
        return ""

    def close(self) -> None:
        """Gives up what is under way."""

    def metrics(self) -> dict[str, float]:
        """Counters for the log, by name."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as JSON values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up what ``state`` gave."""


class OracleSuggester(GoalSuggester):
    """Suggests exactly the goals whose prerequisites hold (the paper's oracle)."""

    description = "oracle: goals whose prerequisites hold in the simulator's state (not a language model)"

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        return [situation.possible for situation in situations]


class NoveltySuggester(GoalSuggester):
    """Suggests every goal, always; together with the achieved filter, whatever is new in the episode.

    Args:
        goals: all goals of the environment.
    """

    description = "novelty: every goal at all times (not a language model)"

    def __init__(self, goals: Sequence[Goal]):
        self._goals = tuple(goals)

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        return [self._goals] * len(situations)


class FixedGoals(NoveltySuggester):
    """Tells the agent what to do: always the same goals.

    Args:
        goals: in the words that the agent was trained with.
    """

    description = "fixed: goals that somebody has named (not a language model)"


class TaskGoals(GoalSuggester):
    """Shows the next step of the environment's task; the environment pays for it, not this."""

    description = "task: the next step of the environment's task (not a language model)"
    pays = False

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        return [() if situation.task is None else (situation.task,) for situation in situations]


class NoGoals(NoveltySuggester):
    """Suggests nothing: the control."""

    description = "none: no goals, no intrinsic reward"

    def __init__(self):
        super().__init__(())
