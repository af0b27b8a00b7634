"""Reading results: curves worked out by hand, groups, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from ellm_agent.analysis import results
from ellm_agent.analysis.results import ANY, Cell
from ellm_agent.errors import UserError
from tests.analysis.cells import result, write_cell
from tests.helpers.processes import ROOT


def test_curves_by_hand():
    unlocked = np.zeros((3, 22), bool)
    unlocked[1, :2] = unlocked[2, 0] = True
    run = result(Cell("p", "a", "m", 0), [100, 200, 300], unlocked, [False, True, True])
    assert run.unlock_curve(np.array([50, 100, 250, 300])).tolist() == [0, 0, 1, 1]
    after_two = np.expm1(2 * np.log1p(50) / 22)
    assert run.score_curve(np.array([50, 250])).tolist() == pytest.approx([0, after_two])
    assert run.unlocks == 1
    assert run.success_curve(np.array([50, 100, 250, 300])).tolist() == pytest.approx([0, 0, 1 / 2, 2 / 3])
    # Of 201 points from 0 to 300 frames, 66 lie from 200 on and before 300, where it is 1/2, and one at 300.
    assert run.area == pytest.approx((66 / 2 + 2 / 3) / 201)
    assert run.first_unlocks.tolist() == [200, 200] + [np.inf] * 20


def test_a_run_without_episodes_has_curves():
    run = result(Cell("p", "a", "m", 0), [], np.zeros((0, 22), bool))
    assert run.unlocks == run.score == 0
    assert (
        run.unlock_curve(np.array([1, 300])).tolist()
        == run.score_curve(np.array([1, 300])).tolist()
        == [0, 0]
    )
    assert np.isinf(run.first_unlocks).all()


def test_groups(known):
    groups = results.read_all(known)
    assert [(group.protocol, group.algo) for group in groups] == [("crafter", "dqn"), ("crafter", "ppo")]
    for group in groups:
        assert group.runs[0].frames == 5440
        assert group.ranked() == ["oracle", "rnd", "random"]
        assert [run.cell.seed for run in group.methods["random"]] == [0, 1, 2]  # beside each learner
    assert results.read_tasks(known) == []


def test_groups_of_tasks(tmp_path):
    for method, algo in (("oracle", "ppo"), ("rnd", "dqn"), ("none", ANY)):
        write_cell(tmp_path, Cell("crafter", algo, method, 0, "mine stone"), 3, env__task="mine stone")
    dqn, ppo = results.read_tasks(tmp_path)
    assert set(dqn.tasks["mine stone"].methods) == {"rnd", "none"}
    assert set(ppo.tasks["mine stone"].methods) == {"oracle", "none"}
    assert ppo.runs[0].solved.tolist() == [False, False, True]


def test_a_log_that_has_lost_its_beginning_is_refused(known):
    """Its score would leave out the episodes in which an agent knows nothing yet."""
    write_cell(known, Cell("crafter", "ppo", "oracle", 3), 12, lost=1)
    with pytest.raises(
        UserError, match=r"seed3 has lost the first episodes .* frame 2,240, after 50 in each of 32"
    ):
        results.read_all(known)


def test_runs_that_do_not_belong_together_are_refused(known):
    write_cell(known, Cell("crafter", "ppo", "oracle", 3), 12, run__frames=900)
    with pytest.raises(UserError, match=r"crafter ppo .* mixes runs of 900, 5,440 frames"):
        results.read_all(known)


def test_a_configuration_of_an_older_version_is_refused(known):
    (known / "crafter" / "ppo" / "oracle" / "seed0" / "config.yaml").write_text(
        "preset: default\nframes: 5440\n"
    )
    with pytest.raises(UserError, match=r"unknown key .* experiments/migrate_config.py"):
        results.read_all(known)


def test_committed_results_are_readable():
    """Of versions before 0.7.0, too. The score is the one that its run wrote."""
    run = results.read(ROOT / "results" / "million" / "crafter" / "ppo" / "open" / "seed0")
    assert (run.frames, len(run.ends), run.unlocks) == (1_000_000, 4340, 12.84)
    assert run.score == pytest.approx(21.490705819496327)
    for path in sorted(Path(ROOT / "results").glob("*/*/*/*/seed0")):
        assert results.read(path).frames > 0
