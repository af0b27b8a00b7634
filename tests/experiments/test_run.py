"""The command line end to end, as a user runs it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ellm_agent import run_commands
from tests.helpers.processes import script

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "--preset",
    "debug",
    "--frames",
    "800",
    "--eval-every",
    "400",
    "--eval-episodes",
    "2",
    "--log-every",
    "200",
]
SMALL += [
    "--checkpoint-every",
    "400",
    "--episode-length",
    "60",
    "--replays",
    "1",
    "--dqn.learning-starts",
    "100",
    "--llm-every",
    "4",
]
QUICK = [*SMALL, "--replays", "0", "--no-report"]  # nothing is drawn
SCRIPT = ["--llm", "script"]  # rules: nothing to load


def run(*arguments, **options):
    done = script("run_crafter.py", *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done


def rows(folder, log):
    return [json.loads(line) for line in (folder / f"{log}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished small run with the README's goal mode, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, run("--goal-mode", "open", *SMALL, "--out", folder).stdout  # with the bundled model


def test_run_folder_holds_what_it_promises(finished):
    folder, printed = finished
    assert "not a pretrained LLM" in printed.splitlines()[0]
    assert "Crafter score" in printed
    assert "goals suggested: good" in printed
    for part in ("config.yaml", "summary.json", "curves.png", "report.html", "tensorboard"):
        assert (folder / part).exists(), part
    episodes = rows(folder, "episodes")
    assert {"frames", "world_seed", "length", "intrinsic_return", "unlocked"} <= set(episodes[0])
    assert all(row["world_seed"] < 2**30 for row in episodes)
    assert all(row["unlocked"] == sorted(row["unlocked"]) for row in episodes)
    metrics = rows(folder, "metrics")
    assert [row["frames"] for row in metrics] == [200, 400, 600, 800]
    wanted = {"frames", "seconds", "frames_per_second", "unlocks_per_episode", "crafter_score"}
    assert wanted <= set(metrics[0])
    assert [row["frames"] for row in rows(folder, "evaluations")] == [400, 800]


def test_scores_can_be_recomputed_from_the_episodes_alone(finished):
    folder, _ = finished
    summary = json.loads((folder / "summary.json").read_text())
    unlocked = [row["unlocked"] for row in rows(folder, "episodes")]
    names = sorted(summary["success_rates"])
    assert len(names) == 22
    rates = np.array([100 * np.mean([name in u for u in unlocked]) for name in names])
    assert summary["crafter_score"] == pytest.approx(np.exp(np.log(1 + rates).mean()) - 1)
    assert summary["unlocks_per_episode"] == pytest.approx(np.mean([len(u) for u in unlocked[-100:]]))


def test_replays_are_pictures_of_the_recorded_episodes(finished, tmp_path):
    folder, _ = finished
    (gif,) = (folder / "replays").glob("*.gif")
    recorded = json.loads(gif.with_suffix(".json").read_text())
    assert recorded["world_seed"] >= 2**30
    with Image.open(gif) as image:
        assert image.size == (870, 450)
        assert 2 < image.n_frames <= len(recorded["actions"]) + 1
    done = script("replay.py", folder, "--episodes", 2, "--max-frames", 20, "--mp4", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gif", ".gif", ".mp4", ".mp4"]


def test_page_needs_no_network(finished):
    folder, _ = finished
    page = (folder / "report.html").read_text()
    links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links), links  # "#": parts of the same drawing
    assert "data:image/gif;base64," in page
    assert "<svg" in page


@pytest.mark.parametrize(
    "options",
    [
        ["--goal-mode", "closed", "--protocol", "ellm"],
        ["--goal-mode", "oracle", "--algo", "ppo", "--goal-conditioned"],
        ["--goal-mode", "novelty", "--algo", "trpo", "--caption", "paper"],
        ["--goal-mode", "none", "--target", "double", "--dqn.n-steps", "3", "--extrinsic-weight", "1"],
        ["--goal-mode", "open", "--encoder", "sentence", "--caption", "paper", "--success", "attempt"],
    ],
)
def test_every_mode_runs(tmp_path, options):
    run(*QUICK, *SCRIPT, *options, "--no-tensorboard", "--out", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["frames"] == 800
    assert summary["episodes"] >= 4
    assert not [path for path in (tmp_path / "run").iterdir() if path.suffix in (".html", ".png")]


def test_resume_continues_without_gaps_or_repeats(tmp_path):
    folder = tmp_path / "run"
    run(*QUICK, "--goal-mode", "oracle", "--out", folder)
    before = rows(folder, "episodes")
    # As if killed at frame 950: rows were written after the last checkpoint.
    with (folder / "episodes.jsonl").open("a") as file:
        file.write(json.dumps({**before[-1], "frames": 950}) + "\n" + '{"frames": 96')
    run("--resume", folder, "--frames", "1600")
    after = rows(folder, "episodes")
    assert after[: len(before)] == before
    assert after[-1]["frames"] > 1000
    assert not any(row["frames"] == 950 and row["world_seed"] == before[-1]["world_seed"] for row in after)
    metrics = rows(folder, "metrics")
    frames = [row["frames"] for row in metrics]
    assert frames == sorted(set(frames))
    assert frames[-1] == 1600
    assert metrics[-1]["seconds"] > metrics[3]["seconds"]
    assert metrics[-1]["episodes"] == len(after)
    assert all(row["unlocks_per_episode"] > 0 for row in metrics[4:])  # counts continue, too
    assert yaml.safe_load((folder / "config.yaml").read_text())["run"]["frames"] == 1600
    assert not (folder / "report.html").exists()
    run("--resume", folder, "--report")  # a finished run: nothing to add but its page
    assert rows(folder, "episodes") == after
    assert (folder / "report.html").exists()
    assert [row["frames"] for row in rows(folder, "evaluations")] == sorted(
        {row["frames"] for row in rows(folder, "evaluations")}
    )
    fewer = script("run_crafter.py", "--resume", folder, "--frames", "700")
    assert fewer.returncode == 2
    assert "frames is 700; the run has 1600 already" in fewer.stderr
    for checkpoint in (folder / "checkpoints").iterdir():
        checkpoint.write_bytes(b"cut off")
    damaged = script("run_crafter.py", "--resume", folder)
    assert damaged.returncode == 2
    assert "holds no checkpoint that is whole" in damaged.stderr.splitlines()[-1]
    assert len(damaged.stderr.splitlines()) == 3  # two are named


def test_a_run_that_ended_above_its_frames_is_drawn_again(tmp_path):
    folder = tmp_path / "run"
    run(*QUICK, "--goal-mode", "oracle", "--frames", "1001", "--out", folder)
    before = rows(folder, "episodes")
    assert rows(folder, "metrics")[-1]["frames"] > 1001
    run("--resume", folder, "--report")
    assert rows(folder, "episodes") == before
    assert (folder / "report.html").exists()


def test_a_mistake_found_late_leaves_no_run_in_the_way(tmp_path):
    """The words of the caption are known only when the worlds are there."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").touch()
    for folder in (tmp_path / "new", mine):
        options = [*QUICK, "--goal-mode", "oracle", "--out", folder]
        done = script("run_crafter.py", *options, "--hide-clauses", "^daylihgt")
        assert done.returncode == 2
        assert "no clause of the caption matches that" in done.stderr
        assert folder.exists() == (folder == mine)
        run(*options, "--hide-clauses", "^daylight", "--frames", "100")
    assert (mine / "notes.txt").exists()


def test_same_seed_same_run(tmp_path):
    """A new process and a forked one, different hash seeds: the same episodes and the same metrics, times aside."""
    options = [*QUICK, "--goal-mode", "open", "--seed", "5"]
    command = [sys.executable, ROOT / "experiments" / "run_crafter.py", *options, "--out", tmp_path / "1"]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    run(*options, "--out", tmp_path / "2")
    assert rows(tmp_path / "1", "episodes") == rows(tmp_path / "2", "episodes")

    def timeless(folder):
        clock = ("seconds", "frames_per_second", "memory_mb", "llm/seconds")
        return [{k: v for k, v in row.items() if k not in clock} for row in rows(folder, "metrics")]

    assert timeless(tmp_path / "1") == timeless(tmp_path / "2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--treshold", "0.5"], "unknown option --treshold; did you mean --threshold?"),
        (["--preset", "huge"], "preset is 'huge'; choose one of default, debug, paper"),
        (["--goal-mode", "psychic"], "'psychic'"),
        (["--threshold", "1.5"], "threshold is 1.5; it must be at most 1"),
        (["--threshold", "nan"], "threshold is nan; it must be a finite number"),
        (["--frames", "many"], "many"),
        (["--frames", "0"], "frames is 0; it must be at least 1"),
        (["--dqn.gamma", "2"], "dqn.gamma is 2.0; it must be at most 1"),
        (["--llm-base-url", "https://example.com/v1", "--llm-model", "some"], "OPENAI_API_KEY is not set"),
        (["--llm-base-url", "nonsense"], "llm-base-url is not a URL"),
        (["--llm", "replay"], "answers.sqlite"),
        (["--llm", "endpoint"], "none is configured"),
        (["--estimate-cost", "--goal-mode", "oracle"], "asks no language model"),
        (
            [
                "--estimate-cost",
                "--goal-mode",
                "scored",
                "--llm-base-url",
                "http://127.0.0.1:9/v1",
                "--llm-model",
                "m",
            ],
            "goal-mode is scored, whose cost is not estimated",
        ),
        (["--config", "/nowhere.yaml"], "cannot read the configuration /nowhere.yaml"),
        (["--resume", "/nowhere"], "/nowhere is not a folder"),
        (["--resume", "."], "is not a run folder"),
        (["stray"], "unexpected argument 'stray'"),
        (["--preset"], "--preset needs a value"),
        (["--config", "x.yaml", "--resume", "runs/x"], "--config and --resume exclude each other"),
        (["--llm-answers", "x.jsonl", "--llm", "bundled"], "only recorded reads such a file"),
        (["--oracle-recall", "0.5", "--goal-mode", "open"], "oracle-recall is 0.5"),
        (["--learned-filter", "--goal-mode", "oracle"], "learned-filter"),
        (["--world", "housekeep", "--goal-mode", "common", "--placements", "x"], "placements"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, monkeypatch, refused, arguments, message):
    preset = [] if "--preset" in arguments else ["--preset", "debug"]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where no answers are
    assert message in refused(
        "run_crafter", [*preset, *arguments], run_commands.experiment, "", None, "crafter"
    )
    assert not (tmp_path / "empty" / "runs").exists()


def test_bad_input_ends_the_script_with_status_2(tmp_path):
    done = script("run_crafter.py", "--treshold", "0.5")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown option --treshold; did you mean --threshold?\n"
    nobody = ["--llm-base-url", "http://127.0.0.1:9/v1", "--llm-model", "m", "--llm-wait"]
    done = script("run_crafter.py", "--preset", "debug", *nobody, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "could not be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frames: [", "is not valid YAML"),
        ("- 1", "must be a mapping"),
        ("framez: 3", "unknown key framez; did you mean run.frames? (in "),
        ("reward: {treshold: 1}", "did you mean reward.threshold?"),
        ('run: {out: "a\\0b"}', "it must be plain text"),
        ("agent: {hidden: 2001-99-99}", "is not valid YAML"),
        ("run: {frames: soon}", "frames is 'soon'; it must be a whole number (in "),
        ("reward: 3", "reward is 3; it must be a section"),
        ("agent: {algo: sarsa}", "'sarsa'; choose one of dqn, ppo, trpo"),
        ("run: {preset: vast}", "preset is 'vast'"),
        ("run: {frames: -4}", "frames is -4; it must be at least 1"),
    ],
)
def test_bad_config_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    done = script("run_crafter.py", "--config", tmp_path / "c.yaml")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_runs_protect_each_other(finished):
    folder, _ = finished
    before = (folder / "episodes.jsonl").read_text()
    again = script("run_crafter.py", *SMALL, "--out", folder)
    assert again.returncode == 2
    assert "holds a run already" in again.stderr
    other = script("run_crafter.py", "--resume", folder, "--threshold", "0.5")
    assert other.returncode == 2
    assert "threshold is 0.5 but was 0.78" in other.stderr
    assert (folder / "episodes.jsonl").read_text() == before


def test_replay_names_what_is_wrong(tmp_path):
    for arguments, message in (
        ([tmp_path], "is not a run folder"),
        ([tmp_path / "none"], "is not a folder"),
        ([tmp_path, "--episode", "3"], "unknown option --episode; did you mean --episodes?"),
    ):
        done = script("replay.py", *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_saved_config_is_the_whole_config(finished, tmp_path):
    from ellm_agent.config import files as config_files
    from ellm_agent.config.presets import PRESETS

    folder, _ = finished
    loaded = config_files.load(folder / "config.yaml")
    assert loaded.run.frames == 800
    assert loaded.suggester.kind == "open"
    assert set(yaml.safe_load((folder / "config.yaml").read_text())) == {
        field.partition(".")[0] for field in config_files.flatten(loaded)
    }
    for name, preset in PRESETS.items():
        (tmp_path / f"{name}.yaml").write_text(config_files.to_yaml(preset))
        assert config_files.load(tmp_path / f"{name}.yaml") == config_files.check(preset)
