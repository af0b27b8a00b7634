"""Sweeps: their cells, what they refuse, and that they can be stopped at any moment."""

import json
import shutil
import time

import psutil
import pytest

from ellm_agent.analysis import results as comparison
from ellm_agent.config import files as config_files
from ellm_agent.config import methods
from ellm_agent.config.presets import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.sweeps.local import lock, run_sweep
from ellm_agent.sweeps.plan import Options, plan, unfinished
from tests.helpers.processes import Script, script

SWEEP = ["--methods", "oracle", "random", "--algos", "ppo", "--seeds", "0", "--frames", "800", "--jobs", "1"]
EACH = ["--", "--preset", "debug", "--episode-length", "60", "--eval-every", "400", "--eval-episodes", "2"]


def compare(tmp_path, name, *more, start=False):
    """Runs a small sweep; ``more`` may end in ``--`` and options of each run."""
    split = more.index("--") if "--" in more else len(more)
    arguments = [
        "--name",
        name,
        "--results",
        tmp_path / "results",
        "--work",
        tmp_path / "work",
        *SWEEP,
        *more[:split],
        *EACH,
        *more[split + 1 :],
    ]
    return Script("compare.py", *arguments) if start else script("compare.py", *arguments)


def raw_files(folder):
    """Path -> content of the raw results; times and speeds are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name == "summary.json":
            found[path.relative_to(folder)] = {
                k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"
            }
        elif path.name == "metrics.jsonl.gz":
            timed = ("seconds", "frames_per_second", "memory_mb")
            found[path.relative_to(folder)] = [
                {k: v for k, v in row.items() if k not in timed} for row in comparison.read_rows(path)
            ]
        elif path.is_file():
            found[path.relative_to(folder)] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    done = compare(folder, "whole")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("option", ["--seed", "--frames", "--protocol", "--algo", "--seed=5"])
def test_what_a_cell_is_called_cannot_be_overridden(option):
    with pytest.raises(UserError, match=f"{option.partition('=')[0]} .* before the --"):
        plan(Options(), [option, "5"])


@pytest.mark.parametrize(
    ("options", "more", "message"),
    [
        ({"algos": ("random",)}, [], "no learner"),
        ({"seeds": ()}, [], "nothing to run"),
        ({}, ["--replays", "3"], "every run of a sweep has its own"),
        ({"methods": ("oracel",)}, [], "choose from"),
        ({"protocols": ("chess",)}, [], "chess"),
        ({"jobs": 0}, [], "jobs is 0; it must be at least 1"),
        ({"name": "../up"}, [], "name is '../up'"),
        ({"name": ""}, [], "name is ''"),
        ({"label": "a/b"}, [], "label is 'a/b'"),
    ],
)
def test_sweeps_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, options, more, message):
    with pytest.raises(UserError, match=message):
        run_sweep(Options(work=tmp_path / "work", results=tmp_path / "results", **options), more)
    assert not list(tmp_path.iterdir())


def test_cells_are_what_they_are_called():
    cells = plan(Options(seeds=(1, 4), methods=("open", "random"), protocols=("ellm",)), ["--hidden", "32"])
    assert len(cells) == 6  # random once for each seed, whatever the learners
    for cell, config in cells.items():
        assert cell.seed == config.run.seed
        assert cell.protocol == config.env.protocol == "ellm"
        assert config.agent.algo == ("random" if cell.method == "random" else cell.algo)
        assert config.agent.hidden == 32


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("rnd", ["--bonus", "apt"]),
        ("rnd", ["--bonus-weight", "3"]),
        ("rnd", ["--goal-mode", "novelty"]),
        ("oracle", ["--extrinsic-weight=1"]),
        ("novelty", ["--success", "attempt"]),
    ],
)
def test_what_makes_another_method_needs_a_name(method, more):
    one = {"seeds": (0,), "methods": (method,), "algos": ("ppo",)}
    with pytest.raises(UserError, match=f"which makes {method} another method"):
        plan(Options(**one), more)
    ((cell, config),) = plan(Options(**one, label="other"), more).items()
    assert cell.method == f"{method}-other"
    assert config_files.differences(methods.apply(method, PRESETS["default"]), config)
    plan(Options(**one), ["--preset", "paper"])  # which rewards attempts, whatever the method


@pytest.mark.parametrize(
    ("algo", "more", "same"),
    [
        ("ppo", ["--dqn.temperature", "0.5"], True),
        ("ppo", ["--ppo.epochs", "7"], False),
        ("dqn", ["--dqn.temperature", "0.5"], False),
        ("dqn", ["--ppo.epochs", "7"], True),
    ],
)
def test_options_of_another_learner_make_no_other_run(tmp_path, algo, more, same):
    options = Options(seeds=(0,), methods=("oracle",), algos=(algo,))
    ((cell, config),) = plan(options, more).items()
    folder = cell.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config_files.to_yaml(config))
    now = plan(options, [])
    if same:
        assert not unfinished(now, tmp_path)
    else:
        with pytest.raises(UserError, match="holds another run"):
            unfinished(now, tmp_path)


def test_results_in_which_a_default_is_written_out_are_the_same_run(tmp_path):
    """Up to 0.13.0 the entropy's weight was .01 in each file."""
    options = Options(seeds=(0,), methods=("oracle",), algos=("ppo",))
    ((cell, config),) = plan(options, ["--ppo.entropy", "0.01"]).items()
    folder = cell.folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config_files.to_yaml(config))
    assert not unfinished(plan(options, []), tmp_path)


def test_an_endpoint_from_the_environment_is_part_of_a_cell(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    more = ["--llm-model", "m"]
    (config,) = plan(Options(seeds=(0,), methods=("open",), algos=("ppo",)), more).values()
    assert config.suggester.llm.base_url == "http://localhost:1/v1"
    assert "secret-key" not in repr(config)


def test_a_second_sweep_of_the_same_name_is_refused(tmp_path):
    with lock(tmp_path), pytest.raises(UserError, match="another sweep"), lock(tmp_path):
        pass


def test_a_run_ends_with_its_sweep(tmp_path):
    process = compare(tmp_path, "orphans", start=True)
    folder = tmp_path / "work" / "orphans"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*/run/config.yaml")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()  # only the sweep itself
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_a_sweep_that_was_killed_goes_on_to_the_same_files(sweep, tmp_path):
    process = compare(tmp_path, "whole", start=True)
    first = tmp_path / "results" / "whole" / "crafter" / "ppo" / "oracle" / "seed0"
    under_way = tmp_path / "work" / "whole" / "crafter-any-random-0"
    while not (first.is_dir() and under_way.is_dir()):
        assert process.poll() is None
        time.sleep(0.05)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()
    finished = first.stat().st_mtime
    assert compare(tmp_path, "whole").returncode == 0
    assert first.stat().st_mtime == finished  # what was finished was not run again
    assert raw_files(tmp_path / "results") == raw_files(sweep / "results")
    assert [path.name for path in (tmp_path / "work" / "whole").iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--frames", "900"], "frames is 900 but was 800"),
        (["--", "--hiden", "3"], "--hidden"),
        (["--", "--algo", "trpo"], "before the --"),
        (["--frmes", "3"], "--frames"),
    ],
)
def test_bad_sweeps_end_in_one_line(sweep, more, message):
    done = compare(sweep, "whole", *more)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_report_of_a_sweep(sweep):
    done = script("report.py", sweep / "results" / "whole")
    assert done.returncode == 0, done.stderr
    folder = sweep / "results" / "whole"
    assert "| oracle | oracle | 1 | 800 |" in (folder / "tables.md").read_text()
    assert "| random | none | 1 | 800 |" in done.stdout  # stands beside the learners
    assert (folder / "curves-crafter-ppo.png").is_file()
    text = (folder / "report.html").read_text()
    assert text.count("<svg") >= 3
    assert "data:image/gif;base64," in text
    assert "captions that are made from the simulator" in text


def test_results_that_do_not_belong_together_are_refused(sweep, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(sweep / "results" / "whole", folder)
    config = folder / "crafter" / "ppo" / "oracle" / "seed0" / "config.yaml"
    config.write_text(config.read_text().replace("  frames: 800", "  frames: 900"))
    with pytest.raises(UserError, match="mixes runs of 800, 900 frames"):
        comparison.read_all(folder)
    (config.parent / "episodes.jsonl.gz").write_bytes(b"cut off")
    done = script("report.py", folder)
    assert done.returncode == 2
    assert "oracle/seed0 is not a finished cell" in done.stderr
    assert script("report.py", tmp_path / "nowhere").returncode == 2
