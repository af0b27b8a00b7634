"""Sweeps over downstream tasks: pretraining, then each task with every agent, and their results."""

import shutil

import pytest

from ellm_agent.analysis import results as comparison
from ellm_agent.analysis.results import ANY, NOTHING, Cell
from ellm_agent.config import files as config_files
from ellm_agent.errors import UserError
from ellm_agent.sweeps.local import lost_with, ready
from ellm_agent.sweeps.plan import Options, plan, with_pretraining, work_folder
from tests.helpers.processes import script
from tests.sweeps.test_plan import compare

TASKS = ["--tasks", "survival", "--task-frames", "400", "--jobs", "2"]


def cells(*seeds, **options):
    options = {"methods": ("oracle", NOTHING), "algos": ("ppo",), "tasks": ("chop tree",), **options}
    return plan(Options(seeds=seeds or (0,), **options))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    done = compare(folder, "whole", "--methods", "oracle", NOTHING, *TASKS)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_task_is_learned_after_its_pretraining():
    found = cells()
    pretraining, after, scratch = found
    assert pretraining == Cell("crafter", "ppo", "oracle", 0)
    assert after == Cell("crafter", "ppo", "oracle", 0, "chop tree")
    assert scratch == Cell("crafter", "ppo", NOTHING, 0, "chop tree")  # and nothing before it
    assert found[after].transfer.pretrained == work_folder(pretraining, Options(name="comparison")) / "run"
    assert found[scratch].transfer.pretrained is None
    # The compared runs differ in that alone, and in the fine-tuning's learning rate.
    differ = config_files.differences(found[after], found[scratch])
    assert {line.split(" ")[0] for line in differ} == {
        "transfer",
        "pretrained",
        "ppo.learning-rate",
        "dqn.learning-rate",
        "dqn.epsilon-initial",
    }
    assert not ready(after, [after], [pretraining])
    assert ready(after, [after], [])
    assert ready(scratch, [scratch], [pretraining])


def test_a_guided_agent_is_held_against_the_same_without_a_guide():
    _, guided, alone = cells(transfer="guide", task_frames=5_000).values()
    assert (guided.agent.algo, guided.agent.dqn.epsilon_frames, guided.run.frames) == ("dqn", 2_500, 5_000)
    differ = {line.split(" ")[0] for line in config_files.differences(guided, alone)}
    assert differ == {
        "transfer",
        "pretrained",
        "dqn.epsilon-greedy",
    }  # the guide's random actions are mixed in


def test_a_control_without_a_guide_is_run_once_for_all_algorithms():
    """Whoever guides, the agent that has no guide is the same DQN."""
    found = cells(transfer="guide", algos=("dqn", "ppo"))
    assert [cell for cell in found if cell.method == NOTHING] == [
        Cell("crafter", ANY, NOTHING, 0, "chop tree")
    ]
    assert cells(transfer="guide", algos=("dqn",)).popitem() == cells(transfer="guide").popitem()
    # After fine-tuning, each algorithm has a control of its own.
    assert sum(cell.method == NOTHING for cell in cells(algos=("dqn", "ppo"))) == 2


def test_pretraining_is_made_again_only_where_its_agent_is_wanted_and_gone(tmp_path):
    options = Options(
        work=tmp_path, methods=("oracle", NOTHING), algos=("ppo",), seeds=(0,), tasks=("chop tree",)
    )
    found = plan(options)
    pretraining, after, scratch = found
    assert list(with_pretraining({scratch: found[scratch]}, found, options)) == [scratch]
    assert list(with_pretraining({after: found[after]}, found, options)) == [pretraining, after]
    there = work_folder(pretraining, options) / "run"
    there.mkdir(parents=True)
    (there / "summary.json").write_text("{}")
    assert list(with_pretraining({after: found[after]}, found, options)) == [
        pretraining,
        after,
    ]  # of an unknown configuration
    (there.parent / "wanted.yaml").write_text(config_files.to_yaml(found[pretraining]))
    assert list(with_pretraining({after: found[after]}, found, options)) == [after]


def test_a_sweep_over_tasks_leaves_its_results(sweep):
    folder = sweep / "results" / "whole"
    assert (folder / "crafter" / "ppo" / "oracle" / "seed0").is_dir()
    (group,) = comparison.read_tasks(folder)
    assert set(group.tasks) == {"survival"}
    for task, runs in group.tasks.items():
        assert set(runs.methods) == {"oracle", NOTHING}
        for (result,) in runs.methods.values():
            assert result.cell.task == task
            assert result.frames == 400
            assert len(result.solved) == len(result.ends) > 0
    kept = config_files.load(
        folder / "tasks" / "survival" / "crafter" / "ppo" / "oracle" / "seed0" / "config.yaml"
    )
    assert str(kept.transfer.pretrained) == "crafter/ppo/oracle/seed0"  # the same on every machine


def test_the_report_has_tasks(sweep):
    folder = sweep / "results" / "whole"
    done = script("report.py", folder)
    assert done.returncode == 0, done.stderr
    tables = (folder / "tables.md").read_text()
    assert "### Downstream tasks by fine-tuning, ppo: crafter protocol, 400 frames each" in tables
    assert "| task | oracle | none |" in tables or "| task | none | oracle |" in tables
    assert "| survival |" in tables
    assert (folder / "tasks-crafter-ppo.png").is_file()
    assert "Share of episodes in which the task is solved" in (folder / "report.html").read_text()


def test_a_control_of_all_algorithms_stands_beside_each(sweep, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(sweep / "results" / "whole", folder)
    rules = folder / "tasks" / "survival" / "crafter"
    shutil.move(rules / "ppo" / NOTHING, rules / ANY / NOTHING)
    (group,) = comparison.read_tasks(folder)
    assert (group.algo, set(group.tasks["survival"].methods)) == ("ppo", {"oracle", NOTHING})
    shutil.copytree(rules / "ppo", rules / "dqn")
    groups = {group.algo: set(group.tasks["survival"].methods) for group in comparison.read_tasks(folder)}
    assert groups == {"dqn": {"oracle", NOTHING}, "ppo": {"oracle", NOTHING}}


def test_tasks_of_other_lengths_are_refused(sweep, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(sweep / "results" / "whole", folder)
    config = folder / "tasks" / "survival" / "crafter" / "ppo" / "oracle" / "seed0" / "config.yaml"
    config.write_text(config.read_text().replace("\n  frames: 400", "\n  frames: 900"))
    with pytest.raises(UserError, match="mix runs of 400, 900 frames"):
        comparison.read_tasks(folder)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tasks", "mine ston"], "did you mean 'mine stone'"),
        (["--tasks", "mine stone", "--task-frames", "0"], "task-frames is 0"),
        (["--tasks", "mine stone", "--methods", "random"], "learns nothing"),
        (["--methods", NOTHING], "method is 'none'"),
        (["--tasks", "mine stone", "--transfer", "copy"], "copy"),
        (["--tasks", "mine stone", "--", "--ppo.learning-rate", "1"], "cannot be given with --tasks"),
    ],
)
def test_bad_sweeps_over_tasks_end_in_one_line(tmp_path, more, message):
    done = compare(tmp_path, "bad", *more)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_tasks_fail_with_their_pretraining():
    pretraining, after, scratch = cells()
    assert lost_with(pretraining, [after, scratch]) == [after]
    assert lost_with(after, [scratch]) == []
