"""The commands for downstream tasks, end to end, and what they say to what is wrong."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from ellm_agent import cli, run_commands
from ellm_agent.config import files as config_files
from experiments import evaluate, finetune, guided_exploration
from tests.experiments.test_run import rows
from tests.helpers.processes import script
from tests.helpers.run_kills import differences, outcome
from tests.helpers.transfers import SHORT, SMALL


@pytest.mark.parametrize(
    ("algo", "name", "options"),
    [("dqn", "guided_exploration.py", []), ("ppo", "finetune.py", ["--layers", "head"])],
)
def test_a_run_goes_on_without_the_pretrained_one(pretrained, tmp_path, algo, name, options):
    """Killed before its first checkpoint, or after it: it ends bit for bit as it would have, though the other run is gone."""
    gone = shutil.copytree(pretrained(algo), tmp_path / "gone")
    folder = tmp_path / "run"
    done = script(name, gone, "--task", "chop grass", *SHORT, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    whole = outcome(folder)
    assert any(json.loads(row)["success"] for row in whole["episodes"])
    shutil.rmtree(gone)
    for left in (1, 0) if algo == "dqn" else (1,):
        there = sorted((folder / "checkpoints").iterdir())
        assert len(there) == 2
        for checkpoint in there[left:]:
            checkpoint.unlink()
        done = script("run_crafter.py", "--resume", folder)
        assert done.returncode == 0, done.stderr
        assert list(differences(whole, outcome(folder))) == []


def read(folder):
    return json.loads((folder / "summary.json").read_text()), config_files.load(folder / "config.yaml")


@pytest.mark.parametrize(
    ("name", "options", "promised"),
    [
        ("finetune.py", [], "fine-tuning all layers of"),
        ("finetune.py", ["--layers", "head", "--pays", "each", "--report"], "fine-tuning head layers of"),
        ("finetune.py", ["--from-scratch"], None),
        ("guided_exploration.py", ["--guide-share", "0.25", "--replays", "1", "--report"], "guided by"),
    ],
)
def test_scripts_leave_what_they_promise(pretrained, tmp_path, name, options, promised):
    folder = tmp_path / "run"
    done = script(name, pretrained(), "--task", "chop grass", *SHORT, *options, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "goals: task: the next step of the environment's task" in done.stdout
    assert re.search(r"task 'chop grass' solved, last 100 training episodes: \d+\.\d%", done.stdout)
    assert (f"{promised} {pretrained()}" in done.stdout) if promised else ("fine-tuning" not in done.stdout)
    summary, config = read(folder)
    assert summary["task"] == config.env.task == "chop grass"
    assert summary["frames"] == 640
    episodes = rows(folder, "episodes")
    solved = [row["success"] for row in episodes]
    assert True in solved
    assert summary["success_rate"] == pytest.approx(np.mean(solved[-100:]))
    assert rows(folder, "metrics")[-1]["success_rate"] == summary["success_rate"]
    assert 0 <= rows(folder, "evaluations")[-1]["success_rate"] <= 1
    for row in episodes:
        assert row["intrinsic_return"] == 0
        assert row["extrinsic_return"] == row["success"]
        assert row["success"] == ("collect_sapling" in row["unlocked"])
        assert row["length"] <= 40
    taken = {path.name for path in (folder / "pretrained").iterdir()} if promised else None
    assert taken in (None, {"config.yaml", "agent.pt"})
    assert (folder / "pretrained").exists() == bool(promised)
    if "--report" in options:
        assert "solved" in (folder / "report.html").read_text()
    kind = {"finetune.py": "finetune", "guided_exploration.py": "guide"}[name] if promised else "scratch"
    assert summary["name"] == f"crafter-chop_grass-{kind}-dqn-double-length_40-seed0"
    assert len(list((folder / "replays").glob("*.gif"))) == ("--replays" in options)
    again = script(name, pretrained(), "--task", "sleep", *SHORT, *options, "--out", folder)
    assert again.returncode == 2
    assert (
        again.stderr == f"error: {folder} holds a run already; choose another --out, or --resume {folder}\n"
    )


def test_a_task_is_learned_by_the_main_script_too(tmp_path):
    """As any other run: here with goals beside the task."""
    options = ["--goal-mode", "novelty", "--task", "survival", "--extrinsic-weight", "1", "--algo", "ppo"]
    done = script("run_crafter.py", *SMALL, *options, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    summary, _ = read(tmp_path / "run")
    assert summary["name"] == "crafter-survival-novelty-ppo-length_40-seed0"
    episodes = rows(tmp_path / "run", "episodes")
    assert any(row["intrinsic_return"] > 0.9 for row in episodes)
    for row in episodes:
        assert row["extrinsic_return"] == pytest.approx((row["length"] - (not row["success"])) / 40, abs=1e-3)


# --- bad input is refused in one line --------------------------------------------------------------------------------


@pytest.fixture
def complaint(refused):
    """Runs one of the scripts in this process; the line with which it ends, with status 2."""

    def run(module, *arguments):
        main, words = run_commands.downstream, (module.__doc__, "finetune" if module is finetune else "guide")
        if module is evaluate:
            main, words = cli.script, (evaluate.evaluate, evaluate.Options, evaluate.__doc__)
        return refused(module.__name__, arguments, main, *words)

    return run


@pytest.mark.parametrize("module", [finetune, guided_exploration])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the pretrained run's folder comes first, such as runs/NAME"),
        (["--task", "sleep"], "the pretrained run's folder comes first, such as runs/NAME"),
        (["RUN"], "name a task: --task 'mine stone' (docs/tasks.md lists them)"),
        (["RUN", "--task"], "--task needs a value"),
        (["RUN", "--task", "mine stoen"], "task is 'mine stoen'; did you mean 'mine stone'?"),
        (["RUN", "--task=plant_row"], "task is 'plant_row'; did you mean 'plant row'?"),
        (["RUN", "--task", "xyz"], "task is 'xyz'; choose one of chop tree, chop grass, drink water, "),
        (["RUN", "--task", ""], "task is ''; choose one of "),
        (["/nowhere", "--task", "sleep"], "/nowhere is not a folder; name a run folder"),
        ([".", "--task", "sleep"], ". is not a run folder: it holds no config.yaml"),
        (["RUN", "--task", "sleep", "--pays", "all"], "'all'"),
        (
            ["RUN", "--task", "sleep", "--guide-share", "2"],
            "guide-share is 2.0; it must be at most 1",
        ),
        (["RUN", "--task", "sleep", "--guide-share", "nan"], "guide-share is nan; it must be"),
        (["RUN", "--task", "sleep", "--layers", "tail"], "'tail'"),
        (["RUN", "--task", "sleep", "--layer", "head"], "unknown option --layer; did you mean --layers?"),
        (
            ["RUN", "--task", "sleep", "--from-scrach"],
            "unknown option --from-scrach; did you mean --from-scratch?",
        ),
        (["RUN", "OTHER", "--task", "sleep"], "unexpected argument 'OTHER'; options start with --"),
        (["RUN", "--task", "sleep", "--caption", "paper"], "caption is paper, but the agent pretrained in "),
        (["RUN", "--task", "sleep", "--frames", "0"], "frames is 0; it must be at least 1"),
        (["RUN", "--task", "sleep", "--preset", "paper"], "preset is paper, but this script and "),
        (["RUN", "--task", "sleep", "--pretrained", "x"], "pretrained is x, but this script and "),
        (["RUN", "--task", "sleep", "--goal-mode", "psychic"], "'psychic'"),
    ],
)
def test_downstream_scripts_name_what_is_wrong(complaint, pretrained, tmp_path, module, arguments, message):
    arguments = [str(pretrained()) if word == "RUN" else word for word in arguments]
    assert message in complaint(module, *arguments, *(["--out", tmp_path / "out"] if arguments else []))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "algo", "arguments", "message"),
    [
        (guided_exploration, "dqn", ["--algo", "ppo"], "algo is ppo; with --transfer guide it must be dqn"),
        (guided_exploration, "dqn", ["--transfer", "finetune"], "transfer is finetune, but this script and "),
        (finetune, "dqn", ["--transfer", "guide"], "transfer is guide, but this script and "),
        (finetune, "dqn", ["--algo", "ppo"], "algo is ppo, but the agent pretrained in "),
        (finetune, "ppo", ["--algo", "trpo", "--layers", "head"], "with --layers head it must be dqn or ppo"),
        (finetune, "dqn", ["--hidden", "8"], "hidden is 8, but the agent pretrained in "),
    ],
)
def test_what_does_not_go_together(complaint, pretrained, tmp_path, module, algo, arguments, message):
    options = ["--task", "sleep", *arguments, "--out", tmp_path / "out"]
    assert message in complaint(module, pretrained(algo), *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["/nowhere"], "/nowhere is not a folder; name a run folder"),
        (["."], ". is not a run folder: it holds no config.yaml"),
        (["RUN", "--goals", "chop tree", ""], "a goal is empty; name it in words, such as 'chop tree'"),
        (["RUN", "--goals", "  "], "a goal is empty"),
        (["RUN", "--goals", "win the lottery"], "goal 'win the lottery' means nothing in this world"),
        (["RUN", "--goals", "eat cow", "attack cow"], "goals 'eat cow' and 'attack cow' are the same"),
        (["RUN", "--within", "0"], "within is 0; it must be at least 1"),
        (["RUN", "--episodes", "-3"], "episodes is -3; it must be at least 1"),
        (["RUN", "--goal", "sleep"], "unknown option --goal; did you mean --goals?"),
        (["RUN", "--episodes", "few"], "few"),
        (["RUN", "--out", "/nowhere/f.json"], "out is /nowhere/f.json, which cannot be written"),
        (
            ["results/agents/crafter", "--out", "README.md"],
            "out is README.md, a file; name a folder for the episodes",
        ),
    ],
)
def test_evaluate_names_what_is_wrong(complaint, pretrained, arguments, message):
    assert message in complaint(evaluate, *(pretrained() if word == "RUN" else word for word in arguments))


def test_scripts_are_scripts(pretrained, tmp_path):
    """The same from a shell: one line, status 2."""
    for name, arguments, message in (
        ("finetune.py", [pretrained()], "name a task: --task 'mine stone' (docs/tasks.md lists them)"),
        ("guided_exploration.py", [tmp_path, "--task", "sleep"], f"{tmp_path} is not a run folder: it holds no config.yaml"),
        ("evaluate.py", [pretrained(), "--within", "0"], "within is 0; it must be at least 1"),
    ):  # fmt: skip
        done = script(name, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


def test_from_scratch_in_any_spelling_takes_nothing_over(pretrained):
    def parsed(transfer, *words):
        return run_commands.parse_downstream([str(pretrained()), "--task", "sleep", *words], "", transfer)

    for words in (["--from-scratch"], ["--from_scratch"], ["--no-from-scratch", "--from-scratch"]):
        config = parsed("finetune", *words)
        assert config.transfer.pretrained is None, words
        assert config.agent.dqn.epsilon_initial == 1.0
        assert parsed("guide", *words).run.frames == 2_000_000
    for words in ([], ["--no-from-scratch"], ["--from-scratch", "--no-from-scratch"]):
        config = parsed("finetune", *words)
        assert config.transfer.pretrained == pretrained(), words
        assert config.agent.dqn.epsilon_initial == 0.5
    assert parsed("finetune", "--from-scratch", "--seed", "7", "--dqn.gamma", "0.5").agent.dqn.gamma == 0.5


@pytest.mark.parametrize("name", ["finetune.py", "guided_exploration.py", "evaluate.py"])
def test_help_needs_no_run(name):
    done = script(name, "--help")
    assert done.returncode == 0
    option = "--goals" if name == "evaluate.py" else "--from-scratch"
    assert option in done.stdout
