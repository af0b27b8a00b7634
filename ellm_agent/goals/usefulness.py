"""How useful an answer was: what the agent then achieved of it. Pure functions; knows nothing of agents or logs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

WINDOW = 64  # frames after a suggestion in which a goal counts as achieved
COST = 0.1  # of each goal that is not achieved


def usefulness(
    goals: Sequence[str],
    before: Collection[str],
    after: Collection[str],
    satisfies: Callable[[str, str], bool],
) -> float:
    """Number of new events that the goals name, less a cost for each goal that names none.

        U = |{e in after: some open goal is satisfied by e}| - 0.1 |{open g: no e in after satisfies g}|

    A goal is open if no event of ``before`` satisfies it; closed ones count nothing, for the achieved filter drops them.
    An event counts once, however many goals name it: two wordings of a goal are worth one.

    Args:
        goals: the answer's.
        before: events that happened in the episode before.
        after: events that happened within ``WINDOW`` frames, and not before.
        satisfies: (event, goal) -> whether the event fulfils the goal.
    """
    still_open = [
        goal for goal in dict.fromkeys(goals) if not any(satisfies(event, goal) for event in before)
    ]
    named = sum(any(satisfies(event, goal) for goal in still_open) for event in after)
    return named - COST * sum(not any(satisfies(event, goal) for event in after) for goal in still_open)


def achieved_goals(
    goals: Sequence[str],
    before: Collection[str],
    after: Collection[str],
    satisfies: Callable[[str, str], bool],
) -> list[str]:
    """The goals that were open and that an event of ``after`` satisfies."""
    return [
        goal
        for goal in dict.fromkeys(goals)
        if any(satisfies(event, goal) for event in after)
        and not any(satisfies(event, goal) for event in before)
    ]
