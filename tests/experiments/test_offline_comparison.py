"""The script that compares offline agents: what it refuses, and what it makes of results (written by hand here)."""

import json

import pytest

from ellm_agent.errors import UserError
from experiments.offline_comparison import Report, Run
from tests.helpers.stitching import INTERFACE

OPTIONS = {"frames": 1000, "hidden": 64, "batch_size": 256, "learning_rate": 1e-3, "polyak": 0.01}


@pytest.fixture
def results(tmp_path):
    """Writes cells; the folder of results."""

    def write(data="log", variants=("cql",), values=((500, 1.0), (1000, 2.0)), **changes):
        for variant in variants:
            path = tmp_path / "results" / data / f"{variant}-seed0.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            about = {"checksum": "0", "transitions": 9, "episodes": 2, "mean_return": 1.0}
            row = {
                "data": about,
                "variant": variant,
                "seed": 0,
                **OPTIONS,
                "values": values,
                "cpu_seconds": 1.0,
            }
            row |= {"unlocks": 3.0, "score": 2.0, "discounted_return": 1.5, "unlocks_of_episodes": [3, 3]}
            path.write_text(json.dumps({**row, **changes}))
        return tmp_path / "results"

    return write


def comparison(folder, results, **changes):
    options = {"variants": ("cql",), "seeds": (0,), "frames": 1000, "episodes": 2, "out": results, **changes}
    return Run((folder,), **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch-size is 0"),
        ({"learning_rate": 0.0}, "learning-rate is 0"),
        ({"seeds": (-1,)}, "seed is -1"),
        ({"frames": 0}, "frames is 0; it must be at least 1"),
        ({"hidden": 0}, "hidden is 0"),
        ({"variants": ("ql",)}, "variant is 'ql'; choose among bc"),
    ],
)
def test_bad_options_are_named(tmp_path, changes, message):
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "card.json").write_text(json.dumps({"interface": {**INTERFACE.plain(), "world": "crafter",
                                                                "options": {}}}))  # fmt: skip
    with pytest.raises(UserError, match=message):
        comparison(folder, tmp_path / "results", **changes).run()
    assert not (tmp_path / "results").exists()


def test_cells_of_other_options_are_not_taken_for_these(tmp_path, results):
    out = results()
    for name, value in (("batch_size", 128), ("polyak", 0.1), ("frames", 2000), ("episodes", 3)):
        run = comparison(tmp_path / "log", out, **{name: value})
        with pytest.raises(
            UserError, match=rf"was made with {name.replace('_', '-')} .*, not {value}; choose"
        ):
            run.run()


def test_two_folders_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="two folders are named log"):
        Run((tmp_path / "a" / "log", tmp_path / "b" / "log")).run()


def test_the_report_draws_the_values_of_a_dataset(results, capsys):
    results("plain", ("bc",), [[1000, None]])
    out = results("random", ("dqn", "cql"))
    Report(out).run()
    assert (out / "values.png").read_bytes().startswith(b"\x89PNG")
    assert "| cql | 1 |" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"figure-of is plain; .* has values of random"):
        Report(out, "plain").run()


def test_logged_rewards_have_no_return_to_compare_estimates_with(tmp_path, results, capsys):
    out = results(reward="logged", discounted_return=None)
    Report(out).run()
    assert "| cql | 1 | 3.00 | 2.00 | 2.00 |  | 1 |" in capsys.readouterr().out
    assert not (out / "values.png").exists()
    with pytest.raises(UserError, match="was made with reward logged, not unlocks; choose"):
        comparison(tmp_path / "log", out).run()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"unlocks_of_episodes": 3}'])
def test_a_damaged_cell_is_named(results, text):
    out = results()
    (out / "log" / "bc-seed0.json").write_text(text)
    with pytest.raises(UserError, match=r"bc-seed0.json holds no results of this script"):
        Report(out).run()
