"""Comparisons: statistics that hold, tables worked out by hand, pages that can be trusted."""

import dataclasses
import json
import shutil
import subprocess

import numpy as np
import pytest
from rliable import metrics

from ellm_agent.analysis import comparison_report as comparison_page
from ellm_agent.analysis import page
from ellm_agent.analysis import results as comparison
from ellm_agent.analysis.results import Cell
from ellm_agent.analysis.statistics import interquartile_mean, performance_profile, probability_of_improvement
from ellm_agent.config import files as config_files
from ellm_agent.config.methods import METHODS
from ellm_agent.config.presets import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.evaluation.scores import crafter_score
from envs.crafter.knowledge import knowledge
from tests.experiments.test_run import SMALL, run

NAMES = list(knowledge().achievements)


# --- statistics --------------------------------------------------------------------------------------------


def test_interquartile_mean_by_hand():
    found = interquartile_mean({"few": [1, 2, 6], "many": [0, 1, 2, 3, 4, 5, 6, 100]})
    assert found["few"].centre == pytest.approx(3)  # of three seeds: their mean
    assert found["many"].centre == pytest.approx(3.5)  # of 2, 3, 4, 5
    # Three times the same of three is drawn once in 27 times, which is more than 2.5 %: the interval is the range.
    assert (found["few"].low, found["few"].high) == (1, 6)
    assert str(found["few"]) == found["few"].told(3) == "3.00 [1.00, 6.00]"
    assert found["few"].told(2) == "3.00"


def test_an_estimate_does_not_depend_on_what_stands_beside_it():
    runs = dict(zip("abc", np.random.default_rng(0).normal(size=(3, 5)), strict=True))
    alone = {name: interquartile_mean({name: values})[name] for name, values in runs.items()}
    assert interquartile_mean(runs) == alone == interquartile_mean(dict(reversed(runs.items())))


def test_interquartile_mean_is_rliables():
    runs = np.random.default_rng(0).normal(size=(7, 5))
    found = interquartile_mean({"a": runs})["a"]
    assert found.centre.tolist() == pytest.approx([metrics.aggregate_iqm(runs[:, i]) for i in range(5)])
    assert (found.low < found.centre).all()
    assert (found.centre < found.high).all()
    again = interquartile_mean({"a": runs})["a"]
    assert (again.low == found.low).all()  # resampling is seeded


def test_probability_of_improvement_by_hand():
    assert probability_of_improvement([3, 4], [1, 2]).centre == 1
    assert probability_of_improvement([1, 3], [2, 2]).centre == 0.5
    assert probability_of_improvement([1, 2], [2, 2]).centre == 0.25  # a tie counts half


def test_performance_profile_by_hand():
    found = performance_profile({"a": [[0.0, 0.5], [1.0, 0.2]]}, np.array([0.0, 0.3, 0.6]))
    assert found["a"].centre.tolist() == [0.75, 0.5, 0.25]
    # Seeds are drawn anew for each task. None is above 0.6 or one in two is; the first task's alone decides.
    assert (found["a"].low[2], found["a"].high[2]) == (0, 0.5)


@pytest.mark.parametrize(
    ("rates", "score"),
    [
        (np.zeros(22), 0.0),
        (np.ones(22), 100.0),
        (np.repeat([1, 0], 11), 9.0499),  # sqrt(101) - 1
    ],
)
def test_crafter_score_by_hand(rates, score):
    assert crafter_score(rates) == pytest.approx(score, abs=1e-4)


def test_curves_by_hand():
    unlocked = np.zeros((3, 22), bool)
    unlocked[1, :2] = unlocked[2, 0] = True
    solved = np.array([False, True, True])
    result = comparison.Result(
        Cell("p", "a", "m", 0), 300, np.array([100, 200, 300]), unlocked, solved, {}, None
    )
    assert result.unlock_curve(np.array([50, 100, 250, 300])).tolist() == [0, 0, 1, 1]
    after_two = np.expm1(2 * np.log1p(50) / 22)
    assert result.score_curve(np.array([50, 250])).tolist() == pytest.approx([0, after_two])
    assert result.unlocks == 1
    assert result.success_curve(np.array([50, 100, 250, 300])).tolist() == pytest.approx([0, 0, 1 / 2, 2 / 3])
    # Of 201 points from 0 to 300 frames, 66 lie from 200 on and before 300, where it is 1/2, and one at 300.
    assert result.area() == pytest.approx((66 / 2 + 2 / 3) / 201)


# --- reports ---------------------------------------------------------------------------------------------------


LENGTHS = (20, 50, 100)  # of episodes, frames


def write_cell(results, cell, unlocks, version="0.7.0", lost=0):
    """Writes a cell whose worlds all played the same: three episodes, of which the last two unlock something."""
    folder = cell.folder(results)
    folder.mkdir(parents=True)
    config = dataclasses.replace(PRESETS["default"], frames=32 * sum(LENGTHS))
    (folder / "config.yaml").write_text(config_files.to_yaml(config))
    ends = 32 * np.cumsum(LENGTHS)
    rows = [
        {"frames": int(end), "length": length, "unlocked": NAMES[: unlocks * (end > ends[0])]}
        for end, length in zip(ends, LENGTHS, strict=True)
    ]
    comparison.compress(
        "".join(json.dumps(r) + "\n" for r in rows[lost:]).encode(), folder / "episodes.jsonl.gz"
    )
    bins = {"good": 0.75, "poorly_timed": 0.25, "bad": 0.0, "nonsensical": 0.0}
    summary = {
        "suggester": cell.method,
        "seconds": 2.0,
        "quality": {"suggested": bins, "rewarded": bins} if cell.method == "oracle" else {},
        "versions": {"ellm-agent": version},
    }
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def known(tmp_path):
    """Results that can be worked out by hand: three seeds, two learners, and a method without one."""
    for seed in range(3):
        for algo in ("dqn", "ppo"):
            write_cell(tmp_path, Cell("crafter", algo, "oracle", seed), 9 + 3 * seed)
            write_cell(
                tmp_path, Cell("crafter", algo, "rnd", seed), 3 * seed, "0.6.0" if algo == "dqn" else "0.7.0"
            )
        write_cell(tmp_path, Cell("crafter", "any", "random", seed), 3)
    return tmp_path


def test_tables_by_hand(known):
    groups = comparison.read_all(known)
    assert list(groups) == [("crafter", "dqn"), ("crafter", "ppo")]
    dqn, ppo = (comparison_page.markdown({key: methods}) for key, methods in groups.items())
    for told in (dqn, ppo):
        # Two of three episodes unlock 9, 12 or 15 of 22, so that the score is (1 + 200 / 3) ** (n / 22) - 1.
        assert (
            "| oracle | oracle | 3 | 5,440 | 8.00 [6.00, 10.00] | 10.09 [4.61, 16.70] | 6.00, 4.6; " in told
        )
        assert "| rnd | rnd | 3 | 5,440 | 2.00 [0.00, 4.00] |" in told
        assert "| random | random | 3 | 5,440 | 2.00 [2.00, 2.00] |" in told  # beside each learner
        assert "| 2,720 | 0.0 |" in told  # frames a second, minutes
        assert "| oracle > rnd | 1.00 [1.00, 1.00] |" in told
        assert "| rnd > random | 0.50 [0.00, 1.00] |" in told  # one worse, one alike, one better
        assert "open >" not in told
    assert "Versions that made the runs: 0.6.0: rnd; 0.7.0: oracle, random." in dqn
    assert "Versions" not in ppo


def test_first_unlocks_and_quality_by_hand(known):
    methods = comparison.read_all(known)["crafter", "ppo"]
    told = comparison_page.first_unlocks(methods)
    # The tenth achievement: two of three seeds of the oracle unlock it, first in the second episode (70 frames in 32 worlds).
    tenth = NAMES[9].replace("_", " ")
    assert f'<td>{tenth}</td><td class="number">2,240</td>' in told
    assert f'<td>{NAMES[-1].replace("_", " ")}</td><td class="number">never</td>' in told
    (told,) = comparison_page.quality(methods)
    assert told.count("75.0%") == told.count("25.0%") == 2
    assert "rnd" not in told


def test_a_log_that_has_lost_its_beginning_is_refused(known):
    """Its score would leave out the episodes in which an agent knows nothing yet."""
    write_cell(known, Cell("crafter", "ppo", "oracle", 3), 12, lost=1)
    with pytest.raises(
        UserError, match=r"seed3 has lost the first episodes .* frame 2,240, after 50 in each of 32"
    ):
        comparison.read_all(known)


# --- pages -----------------------------------------------------------------------------------------------------

HOSTILE = "<script>document.title = 'taken'</script>"


def test_texts_on_a_page_are_escaped():
    parts = [
        page.heading(HOSTILE),
        page.paragraph(HOSTILE, aside=True),
        page.code(HOSTILE),
        page.table([[HOSTILE, "1"]], [HOSTILE, "n"], [1]),
        page.picture(b"GIF89a", "image/gif", f'" onerror="{HOSTILE}'),
    ]
    told = page.page(HOSTILE, parts)
    assert "<script>" not in told
    assert told.count("&lt;script&gt;") == 9
    assert 'onerror="<' not in told


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_the_page_of_a_run_in_a_browser(tmp_path):
    """A suggestion that contains a script is shown as text, and nothing is complained of."""
    folder = tmp_path / "run"
    run(*SMALL, "--out", folder)
    from ellm_agent.analysis import run_report as report
    from ellm_agent.runs.folder import Run

    summary = json.loads((folder / "summary.json").read_text())
    summary["suggester"] = HOSTILE
    summary["suggestions"] = [(HOSTILE, 3)]  # what a language model may have said
    path = report.write_page(Run.open(folder), summary)
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.count("&lt;script&gt;document.title") == 2
    assert "<title>taken" not in done.stdout
    assert ":CONSOLE" not in done.stderr


def test_methods_can_be_told_apart():
    names = [*METHODS, "none", "oracle-double", "oracle-raw", "mine", "yours", "mine-too"]
    looks = comparison_page.looks(names)
    assert set(looks) == set(names)
    assert len(set(looks.values())) == len(names)
    assert looks["open"].colour == looks["open-script"].colour
    assert looks["open"] == comparison_page.looks(["open"])["open"]
    assert (
        len({looks[name].colour for name in ("open", "closed", "oracle", "rnd", "apt", "icm", "noveld")}) == 7
    )
    assert len(comparison_page.looks(map(str, range(40)))) == 40
