"""The interface of goal suggesters, and those that need no language model."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from envs.interface import Privileged, Situation

Goal = str  # a goal is its text
REMEMBERED = 2**14  # captions whose goals are kept


class FullState(NamedTuple):
    """What an oracle is given in place of a situation."""

    situation: Situation
    privileged: Privileged


class Source:
    """What suggesters and judges have in common: they report, are part of checkpoints, and may have questions in flight."""

    def status(self) -> str:
        """A few words for the progress line."""
        return ""

    def metrics(self) -> dict[str, float]:
        """Counters for the log, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``."""

    def close(self) -> None:
        """Gives up the questions in flight."""


class GoalSuggester(Source):
    """Suggests goals for a batch of situations."""

    description: str  # one line for people: the source of the suggestions
    likely_goals: Sequence[Goal] = ()  # that it will probably suggest, if any are known beforehand
    rewards_goals: bool = True  # whether achieving one gives intrinsic reward, and closes it for the episode
    open_vocabulary: bool = (
        False  # whether it may suggest goals in other words than those of ``Language.goals``
    )
    learns_from_attempts: bool = False  # whether `note_attempt` is to be called
    reads_privileged: bool = (
        False  # whether it is given `FullState` in place of `Situation`. Only for oracles
    )

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """Goals for each situation, most important first, possibly none; None where they are not known yet."""
        raise NotImplementedError

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """The same for evaluation, which must not change training: asks nobody, and changes nothing that is
        suggested later.
        """
        return self.suggest(situations)

    @property
    def known_goals(self) -> Collection[Goal]:
        """All goals that ``recall`` may return now, beside ``likely_goals``; only ever added to, in a fixed order."""
        return ()

    def tokens_of(self, situation: Situation) -> int | None:
        """Tokens that a language model wrote about a situation; None: it wrote none (its goals are borrowed, or rules)."""
        return None

    def note_attempt(self, goal: Goal, situation: Situation, succeeded: bool) -> None:
        """Takes note of an attempt of the agent.

        Args:
            goal: one of ``Language.goals``: the meaning of the agent's action.
            situation: in which it acted.
            succeeded: whether an event fulfilled the goal.
        """


class OracleSuggester(GoalSuggester):
    """Suggests exactly the goals whose prerequisites hold (the oracle of Du et al. 2023)."""

    description = "oracle: goals whose prerequisites hold in the simulator's state (not a language model)"
    reads_privileged = True

    def suggest(self, situations: Sequence[FullState]) -> list[tuple[Goal, ...]]:
        return [state.privileged.possible for state in situations]


class FixedGoals(GoalSuggester):
    """Suggests the same goals always, such as an instruction that the agent is to follow.

    Args:
        goals: in the words that the agent was trained with.
    """

    description = "fixed: goals given by the user (not a language model)"
    open_vocabulary = True

    def __init__(self, goals: Sequence[Goal]):
        self._goals = tuple(goals)

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        return [self._goals] * len(situations)


class AllGoals(FixedGoals):
    """Suggests every goal, always: with the achieved filter, the reward for whatever is new in the episode and can be rewarded.

    Args:
        goals: all goals of the world.
        candidates: caption -> the goals that could be achieved there; the others could not be rewarded and are left out.
            None: the world does not say.
    """

    description = "novelty: every goal at all times (not a language model)"
    open_vocabulary = False

    def __init__(self, goals: Sequence[Goal], candidates: Callable[[str], tuple[Goal, ...]] | None = None):
        super().__init__(goals)
        self._candidates = candidates and functools.lru_cache(REMEMBERED)(candidates)

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        if self._candidates is None:
            return super().suggest(situations)
        return [self._candidates(situation.caption) for situation in situations]


class CommonGoals(FixedGoals):
    """Suggests the goals that are possible most often, whatever the situation: what a caption adds is measured against it.

    Args:
        situations: a sample of what happens in the world.
        count: of goals.
        goals: that can be suggested; None: all that are possible there.
    """

    open_vocabulary = False

    def __init__(
        self,
        situations: Iterable[tuple[Situation, Privileged]],
        count: int = 5,
        goals: Collection[Goal] | None = None,
    ):
        possible = Counter(
            goal
            for _, privileged in situations
            for goal in privileged.possible
            if goals is None or goal in goals
        )
        super().__init__(
            [goal for goal, _ in sorted(possible.items(), key=lambda pair: (-pair[1], pair[0]))[:count]]
        )
        self.description = f"common: always {', '.join(self._goals)} (not a language model)"


class NoGoals(FixedGoals):
    """Suggests nothing: the control."""

    description = "none: no goals, no intrinsic reward"
    open_vocabulary = False
    rewards_goals = False

    def __init__(self):
        super().__init__(())


class TaskGoals(GoalSuggester):
    """Suggests the next step of the environment's task. Only the environment rewards it."""

    description = "task: the next step of the environment's task (not a language model)"
    open_vocabulary = True
    rewards_goals = False

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        return [() if s.instruction is None else (s.instruction,) for s in situations]
