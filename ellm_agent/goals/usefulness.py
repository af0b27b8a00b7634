"""How useful an answer was: what the agent then achieved of it, and how soon. Pure; knows nothing of agents or logs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

WINDOW = 64  # frames after a suggestion in which a goal counts as achieved
COST = 0.1  # of each goal that is not achieved
DISCOUNT = 0.95  # per frame: the agent's own


def usefulness(
    goals: Sequence[str],
    before: Collection[str],
    after: Mapping[str, int],
    satisfies: Callable[[str, str], bool],
    worth: Mapping[str, float] = MappingProxyType({}),
    cost: float = COST,
) -> float:
    """What the agent gains of an answer: new events that the goals name, less a cost for each goal that names none.

        U = sum over e in after that an open goal names of w_e .95^(t_e - 1)  -  c |{open g that names no e in after}|

    A goal is open if no event of ``before`` satisfies it; closed ones count nothing, for the achieved filter drops them.
    An event counts once, however many goals name it: two wordings of a goal are worth one. Without the discount, naming
    everything would be best, since a capable agent achieves much within the window that is not possible yet
    (docs/suggester_training.md has the figures).

    Args:
        goals: the answer's.
        before: events that happened in the episode before.
        after: event that happened within ``WINDOW`` frames, and not before -> frames until it first did, at least 1.
        satisfies: (event, goal) -> whether the event fulfils the goal.
        worth: event -> w_e; 1 where it has none.
        cost: c.
    """
    still_open = [
        goal for goal in dict.fromkeys(goals) if not any(satisfies(event, goal) for event in before)
    ]
    gain = sum(
        worth.get(event, 1.0) * DISCOUNT ** (frames - 1)
        for event, frames in after.items()
        if any(satisfies(event, goal) for goal in still_open)
    )
    return gain - cost * sum(not any(satisfies(event, goal) for event in after) for goal in still_open)


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
