"""What an agent does that is told a goal."""

from __future__ import annotations

import json
import shutil

import pytest

from ellm_agent.evaluation import goal_following as told
from tests.helpers.processes import script


def test_an_agent_is_told_goals(pretrained, tmp_path):
    run = shutil.copytree(pretrained(), tmp_path / "run")
    options = ["--goals", "chop grass", "Drink the water", "--episodes", "3", "--within", "30"]
    done = script("evaluate.py", run, *options)
    assert done.returncode == 0, done.stderr
    assert "does not read goals" not in done.stdout
    assert all(
        word in done.stdout for word in ("another told", "chop grass", "Drink the water", "within 30 frames")
    )
    found = json.loads((run / "told.json").read_text())
    assert found["goals"] == ["chop grass", "Drink the water"]
    assert found["events"] == ["chop grass", "drink water"]
    assert (found["within"], found["reads_goals"], found["frames"]) == (30, True, 640)
    assert found["run"]["goals.goal_conditioned"] is True
    assert str(tmp_path) not in json.dumps(found)
    reached = found["reached"]
    assert [[len(episodes) for episodes in row] for row in reached] == [[3, 3], [3, 3]]
    assert all(f is None or 1 <= f <= 30 for row in reached for episodes in row for f in episodes)
    again = script("evaluate.py", run, *options, "--out", tmp_path / "again.json")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again.json").read_text()) == found  # the same worlds, the same dice


def test_an_agent_that_does_not_read_is_only_watched(pretrained, tmp_path):
    out = tmp_path / "told.json"
    done = script("evaluate.py", pretrained("ppo"), "--episodes", "2", "--within", "60", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "this agent does not read goals" in done.stdout
    assert "another told" not in done.stdout
    found = json.loads(out.read_text())
    assert found["reads_goals"] is False
    assert len(found["goals"]) == len(found["events"]) == 23
    assert [len(row) for row in found["reached"]] == [23]
    assert any(frame for episodes in found["reached"][0] for frame in episodes)


def test_what_is_told_is_worked_out_by_hand():
    goals = ("drink", "grass", "table")
    events = ("drink water", "chop grass", "place crafting table")
    reached = [
        [[3, 8, None, 9], [5, 2, None, None], [None] * 4],  # told to drink
        [[9, None, 1, None], [4, 6, 2, None], [None] * 4],  # told to fetch grass
        [[None] * 4, [None, None, None, 7], [6, 6, 6, 6]],
    ]
    found = told.Told(goals, events, True, 10, reached)
    assert [found.told(i) for i in range(3)] == [0.75, 0.75, 1.0]
    assert [found.frames(i) for i in range(3)] == [8, 4, 6]
    # Drinking before grass: told so, in episodes 1 and 4 of 4; told grass, in the third. Before the table: 3 of 4; 0 of 4.
    assert found.compared(0) == pytest.approx(((2 / 4 + 3 / 4) / 2, (1 / 4 + 0) / 2))
    assert found._before(0, 1, 0) == 1 / 4  # a frame too late is not before
    deaf = told.Told(goals, events, True, 10, [reached[0]] * 3)
    one, other = deaf.compared(0)
    assert one == other  # who does not listen does the same
    wood = told.Told(
        ("tree", "table"), ("chop tree", "place crafting table"), True, 10, [row[:2] for row in reached[:2]]
    )
    assert wood.compared(0) is None  # on the way to a table: nothing to compare with
    assert wood.compared(1) is not None
    watched = told.Told(goals, events, False, 10, reached[:1])
    assert [watched.told(i) for i in range(3)] == [0.75, 0.5, 0.0]
    assert watched.frames(2) is None
    assert watched.compared(0) is None
