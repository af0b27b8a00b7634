"""A sweep as commands for a batch system: one line for each cell, which can be run in any order, and again."""

import shlex

import pytest

from ellm_agent.errors import UserError
from ellm_agent.sweeps import commands
from ellm_agent.sweeps.plan import Options
from tests.helpers.processes import script
from tests.sweeps.test_plan import EACH, compare, raw_files


def test_each_line_is_a_cell_and_leaves_what_the_sweep_leaves(tmp_path):
    printed = compare(tmp_path, "whole", "--print-commands", *EACH)
    assert printed.returncode == 0, printed.stderr
    lines = printed.stdout.splitlines()
    assert len(lines) == 2
    for line in reversed(lines):
        _, name, *arguments = shlex.split(line)
        done = script(name.rpartition("/")[2], *arguments)
        assert done.returncode == 0, done.stderr
    assert len(raw_files(tmp_path / "results")) == 10  # two cells of five files
    again = compare(tmp_path, "whole", "--print-commands", *EACH)
    assert (again.returncode, again.stdout) == (0, "")


def test_tasks_stand_behind_their_pretraining(tmp_path, capsys):
    options = Options(
        methods=("oracle", "none"), algos=("ppo",), seeds=(0,), tasks=("chop tree", "mine stone"),
        results=tmp_path / "results", work=tmp_path / "work",
    )  # fmt: skip
    commands.print_commands(options, ["compare.py", "--print-commands", "--tasks", "chop tree", "mine stone"])
    first, *others = capsys.readouterr().out.splitlines()
    assert [part.split()[-1] for part in first.split(" && ")] == ["0", "1", "2"]
    assert "--print-commands" not in first
    assert "'chop tree'" in first
    assert [line.split()[-1] for line in others] == ["3", "4"]  # of agents that learn from scratch


@pytest.mark.parametrize("number", [-1, 2])
def test_a_cell_that_does_not_exist(tmp_path, number):
    options = Options(methods=("oracle",), algos=("ppo",), seeds=(0, 1), cell=number, work=tmp_path)
    with pytest.raises(UserError, match=f"cell is {number}; the sweep has cells 0 to 1"):
        commands.run_one(options)
