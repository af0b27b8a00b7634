"""What became of suggestions: rows that can be worked out by hand, also after a resume."""

import json

import pytest

from ellm_agent.goals.base import FixedGoals
from ellm_agent.wrappers.suggestion_outcomes import SuggestionOutcomes
from tests.helpers.counting import play


def satisfies(event, goal):
    return event == goal


def follow(outcomes, frames, events, end=None):
    """Opens a row every 16 frames of an episode and plays it; the rows that are complete."""
    rows = []
    for frame in range(frames):
        if frame % 16 == 0:
            outcomes.open(0, world_seed=1, frame=frame, caption=f"{frame}", goals=["a", "b"], tokens=None)
        rows += outcomes.step(0, frame + 1, events.get(frame + 1, ()), frame + 1 == end)
    return rows


def test_windows_by_hand():
    outcomes = SuggestionOutcomes(1, satisfies, {"world": "w"})
    rows = follow(outcomes, 90, {10: ("a",), 20: ("c",), 85: ("b",)}, end=90)
    assert [row["frame"] for row in rows] == [0, 16, 32, 48, 64, 80]
    assert [row["frames_followed"] for row in rows] == [64, 64, 58, 42, 26, 10]
    assert [row["ended"] for row in rows] == [False, False, True, True, True, True]
    assert rows[0]["after"] == {"a": 10, "c": 20}
    assert rows[0]["achieved"] == ["a"]
    assert rows[0]["usefulness"] == pytest.approx(0.95**9 - 0.1, abs=1e-4)
    assert rows[1]["before"] == ["a"]  # closed: it neither gains nor costs
    assert rows[1]["usefulness"] == pytest.approx(-0.1)
    assert rows[5]["before"] == ["a", "c"]
    assert rows[5]["usefulness"] == pytest.approx(0.95**4, abs=1e-4)
    assert follow(outcomes, 3, {}, end=3)[0]["before"] == []  # the next episode


def test_state_is_json_and_goes_on(tmp_path):
    straight, first = (SuggestionOutcomes(1, satisfies, {}) for _ in range(2))
    events = {10: ("a",), 20: ("c",)}
    expected = follow(straight, 70, events, end=70)
    rows = follow(first, 15, events)
    second = SuggestionOutcomes(1, satisfies, {})
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for frame in range(15, 70):
        if frame % 16 == 0:
            second.open(0, world_seed=1, frame=frame, caption=f"{frame}", goals=["a", "b"], tokens=None)
        rows += second.step(0, frame + 1, events.get(frame + 1, ()), frame + 1 == 70)
    assert rows == expected


def test_the_wrapper_gives_rows_with_the_infos(explore):
    worlds = explore(FixedGoals(["chop tree", "mine iron"]), log_suggestions={"world": "counting"})
    worlds.reset()
    infos = play(worlds, 14)[2]
    assert ["suggestions" in info for info in infos] == ([False] * 6 + [True]) * 2
    (row,) = infos[6]["suggestions"]
    assert row["world"] == "counting"
    assert row["caption"] == "Frame 0."
    assert row["after"] == {"chop tree": 2, "drink water": 5}
    assert row["usefulness"] == pytest.approx(0.95 - 0.1)
    assert infos[13]["suggestions"] == [row]
    plain = explore()
    plain.reset()
    assert "suggestions" not in play(plain, 7)[2][6]


def test_rows_under_way_are_in_the_state_of_the_worlds(explore):
    worlds, others = (explore(log_suggestions={}) for _ in range(2))
    for part in (worlds, others):
        part.reset()
    play(worlds, 3)
    others.load_state_dict(worlds.state_dict())
    assert play(others, 4)[2][3]["suggestions"] == play(worlds, 4)[2][3]["suggestions"]
