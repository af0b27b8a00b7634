"""Tables worked out by hand."""

import numpy as np

from ellm_agent.analysis import comparison_report, tables
from ellm_agent.analysis.results import NOTHING, Cell, Group, read_all, read_tasks
from envs import registry
from tests.analysis.cells import NAMES, result, write_cell


def test_tables_by_hand(known):
    dqn, ppo = (comparison_report.markdown([group]) for group in read_all(known))
    for text in (dqn, ppo):
        # Two of three episodes unlock 9, 12 or 15 of 22, so that the score is (1 + 200 / 3) ** (n / 22) - 1.
        assert (
            "| oracle | oracle | 3 | 5,440 | 8.00 [6.00, 10.00] | 10.09 [4.61, 16.70] | 6.00, 4.6; " in text
        )
        assert "| rnd | rnd | 3 | 5,440 | 2.00 [0.00, 4.00] |" in text
        assert "| random | random | 3 | 5,440 | 2.00 [2.00, 2.00] |" in text  # beside each learner
        assert "| 2,720 | 0.0 |" in text  # frames a second, minutes
        assert "| oracle > rnd | 1.00 [1.00, 1.00] |" in text
        assert "| rnd > random | 0.50 [0.00, 1.00] |" in text  # one worse, one alike, one better
        assert "open >" not in text
        assert "| unlocks/episode, last 100 | Crafter score %, all episodes |" in text
    assert "Versions that made the runs: 0.6.0: rnd; 0.7.0: oracle, random." in dqn
    assert "Versions" not in ppo


def test_first_unlocks_and_quality_by_hand(known):
    _, ppo = read_all(known)
    rows = {row[0]: row for row in tables.first_unlocks(ppo).rows}
    # The tenth achievement: two of three seeds of the oracle unlock it, first in the second episode (70 frames in 32
    # worlds); so do none of the others.
    assert rows[NAMES[9].replace("_", " ")][-3:] == ("2,240", "never", "never")
    assert rows["collect iron"][1] == "mine iron"  # the goal that it is
    assert rows[NAMES[-1].replace("_", " ")][-3:] == ("never", "never", "never")
    quality = tables.quality(ppo)
    assert quality.head == ("goals of", "", "good", "poorly timed", "bad", "nonsensical")
    assert quality.rows == [
        ("oracle", which, "75.0%", "25.0%", "0.0%", "0.0%") for which in ("suggested", "rewarded")
    ]


def test_achievements_of_a_run():
    """Each with the goal that it is in Crafter."""
    language = registry.get("crafter").language()
    assert set(language.goal_of) == set(language.achievements)
    assert set(language.goal_of.values()) < set(language.goals)
    rates = {"eat_cow": 0.1, "collect_iron": 0.5, "wake_up": 0.0}
    assert tables.achievements(rates, {"eat_cow": 1200}, language).rows == [
        ("collect iron", "mine iron", "50.0%", "never"),
        ("eat cow", "eat cow", "10.0%", "1,200"),
        ("wake up", "wake up", "0.0%", "never"),
    ]


def test_a_method_is_judged_by_whole_seeds():
    table = tables.mean_areas({"a": np.array([[0.0, 0.2], [0.4, 0.8], [0.6, 1.0]])})
    # All that a seed learns depends on its one pretrained agent.
    assert table.rows == [("a", "3", "0.50 [0.10, 0.80]", "0.10, 0.60, 0.80")]


def test_areas_are_of_the_seeds_that_all_tasks_have():
    def run(task, method, seed, solved):
        cell = Cell("crafter", "ppo", method, seed, task)
        return result(cell, [0], np.zeros((1, 22), bool), [solved], frames=200)

    runs = [run("one", "a", seed, True) for seed in (0, 1)]
    runs += [run("one", "b", 0, True), run("two", "a", 1, False)]
    areas = tables.areas(Group("crafter", "ppo", runs))
    assert list(areas) == ["a"]
    assert areas["a"].tolist() == [[1.0, 0.0]]


def test_tables_of_tasks(tmp_path):
    for seed in range(3):
        for method in ("oracle", NOTHING):
            write_cell(tmp_path, Cell("crafter", "ppo", method, seed, "survival"), 3, env__task="survival")
    text = comparison_report.markdown([], read_tasks(tmp_path))
    assert "### Downstream tasks by fine-tuning, ppo: crafter protocol, 5,440 frames each" in text
    # One of three episodes is solved, at the last frame: the last of 201 points of the curve is 1/3.
    assert "| oracle | 3 | 0.00 [0.00, 0.00] | 0.00, 0.00, 0.00 |" in text
    assert "| survival | 0.00 [0.00, 0.00] | 0.00 [0.00, 0.00] |" in text
