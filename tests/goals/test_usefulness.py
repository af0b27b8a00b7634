"""What an answer was worth, against numbers worked out by hand."""

import pytest

from ellm_agent.goals.usefulness import achieved_goals, usefulness


def satisfies(event, goal):
    return event.split()[-1] == goal.split()[-1]


def test_by_hand():
    after = {"chop tree": 1, "drink water": 3, "eat cow": 9}
    goals = ["chop tree", "drink water", "mine iron", "sleep"]
    # 1 and .95^2, less .1 for iron; sleep is closed.
    worth = usefulness(goals, ["sleep"], after, satisfies)
    assert worth == pytest.approx(1 + 0.95**2 - 0.1)
    assert achieved_goals(goals, ["sleep"], after, satisfies) == ["chop tree", "drink water"]


def test_rare_events_may_be_worth_more():
    worth = usefulness(
        ["chop tree", "mine iron"], [], {"chop tree": 1, "mine iron": 2}, satisfies, {"mine iron": 4.0}
    )
    assert worth == pytest.approx(1 + 4 * 0.95)
    # The cost of a goal that is not achieved stays.
    assert usefulness(["mine iron"], [], {}, satisfies, {"mine iron": 4.0}) == pytest.approx(-0.1)
    assert usefulness(["mine iron"], [], {}, satisfies, cost=1.0) == pytest.approx(-1.0)


def test_two_wordings_are_worth_one():
    worth = usefulness(["chop tree", "fell the tree", "chop tree"], [], {"chop tree": 1}, satisfies)
    assert worth == pytest.approx(1.0)


def test_naming_everything_is_worth_less_than_what_can_be_done():
    events = [f"do {letter}" for letter in "abcdefghijklmnopqrst"]
    after = {"do a": 2, "do b": 40, "do c": 50}
    assert usefulness(events, [], after, satisfies) < usefulness(["do a", "do d"], [], after, satisfies)
    assert usefulness([], [], after, satisfies) == 0
