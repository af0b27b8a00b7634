"""Goal following: numbers worked out by hand, and the script end to end."""

from __future__ import annotations

import json
import shutil

import pytest

from ellm_agent.evaluation.goal_following import GoalFollowing
from tests.helpers.processes import script


def test_an_agent_is_given_instructions(pretrained, tmp_path):
    run = shutil.copytree(pretrained(), tmp_path / "run")
    options = ["--goals", "chop grass", "Drink the water", "--episodes", "3", "--within", "30"]
    done = script("evaluate.py", run, *options, env={"COLUMNS": "200"})  # where no head is wrapped
    assert done.returncode == 0, done.stderr
    assert "does not observe goals" not in done.stdout
    for words in ("other instruction", "chop grass", "Drink the water", "within 30 frames"):
        assert words in done.stdout
    found = json.loads((run / "goal_following.json").read_text())
    assert found["goals"] == ["chop grass", "Drink the water"]
    assert found["events"] == ["chop grass", "drink water"]
    assert (found["within"], found["observes_goals"], found["frames"]) == (30, True, 640)
    assert found["run"]["agent.goal_conditioned"] is True
    assert str(tmp_path) not in json.dumps(found)
    reached = found["reached"]
    assert [[len(episodes) for episodes in row] for row in reached] == [[3, 3], [3, 3]]
    assert all(f is None or 1 <= f <= 30 for row in reached for episodes in row for f in episodes)
    again = script("evaluate.py", run, *options, "--out", tmp_path / "again.json")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again.json").read_text()) == found  # the same worlds and random numbers


def test_an_agent_that_observes_no_goals_is_only_counted(pretrained, tmp_path):
    out = tmp_path / "found.json"
    done = script("evaluate.py", pretrained("ppo"), "--episodes", "2", "--within", "60", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "this agent does not observe goals" in done.stdout
    assert "other instruction" not in done.stdout
    found = json.loads(out.read_text())
    assert found["observes_goals"] is False
    assert len(found["goals"]) == len(found["events"]) == 23
    assert [len(row) for row in found["reached"]] == [23]
    assert any(frame for episodes in found["reached"][0] for frame in episodes)


GOALS = ("drink", "grass", "table")
EVENTS = ("drink water", "chop grass", "place crafting table")
NEEDS = ((), (), ())
REACHED = [
    [[3, 8, None, 9], [5, 2, None, None], [None] * 4],  # the instruction is to drink
    [[9, None, 1, None], [4, 6, 2, None], [None] * 4],  # to chop grass
    [[None] * 4, [None, None, None, 7], [6, 6, 6, 6]],
]


def test_success_rates_and_frames_by_hand():
    found = GoalFollowing(GOALS, EVENTS, NEEDS, True, 10, REACHED)
    assert [found.success_rate(i) for i in range(3)] == [0.75, 0.75, 1.0]
    assert [found.median_frames(i) for i in range(3)] == [8, 4, 6]


def test_which_goal_comes_first_by_hand():
    """Drinking before grass: in episodes 1 and 4 of 4; if grass is the instruction, in the third.

    Before the table: 3 of 4; 0 of 4.
    """
    found = GoalFollowing(GOALS, EVENTS, NEEDS, True, 10, REACHED)
    assert found.first_rates(0) == pytest.approx(((2 / 4 + 3 / 4) / 2, (1 / 4 + 0) / 2))
    # Grass, when the instruction is to drink: before the drink in the second episode only. When it is the table: at
    # frame 7, and the table at 6: one frame later is not before.
    assert found.first_rates(1)[1] == pytest.approx((1 / 4 + 0) / 2)


def test_an_agent_that_ignores_its_instruction_has_the_same_rate_twice():
    found = GoalFollowing(GOALS, EVENTS, NEEDS, True, 10, [REACHED[0]] * 3)
    own, other = found.first_rates(0)
    assert own == other


def test_a_goal_is_not_compared_with_one_that_needs_it():
    """A table needs wood: wood is on the way to it."""
    reached = [row[:2] for row in REACHED[:2]]
    events = ("chop tree", "place crafting table")
    wood = GoalFollowing(("tree", "table"), events, ((), (0,)), True, 10, reached)
    assert wood.first_rates(0) is None
    assert wood.first_rates(1) is not None


def test_an_agent_without_goals_has_one_set_of_episodes():
    found = GoalFollowing(GOALS, EVENTS, NEEDS, False, 10, REACHED[:1])
    assert [found.success_rate(i) for i in range(3)] == [0.75, 0.5, 0.0]
    assert found.median_frames(2) is None
    assert found.first_rates(0) is None
