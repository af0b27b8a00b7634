"""The smaller scripts of experiments/: bad input ends in one line that names the value and what would be right."""

import json
from types import SimpleNamespace

import pytest

from ellm_agent import cli
from ellm_agent.llm import bundled
from ellm_agent.lm_training import measure
from ellm_agent.lm_training.suggestion_quality import Quality
from ellm_agent.sweeps.local import run_sweep
from experiments import (
    check_lm_training,
    compare,
    dataset,
    dose_response,
    fresh_episodes,
    inspect_prompts,
    llm_cache,
    migrate_config,
    replay,
    report,
    reward_validity,
    score_placements,
    suggestion_quality,
    threshold,
    train_suggester,
    words_in_sight,
)


@pytest.fixture
def complaint(refused):
    """Runs a script in this process; gives the line with which it ends."""

    def run(module, *arguments, main=None, options=None):
        words = (main or module.main, options or module.Options, module.__doc__)
        return refused(module.__name__, arguments, cli.script, *words)

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sft", "--scenes", "0"], "scenes is 0; it must be at least 1"),
        (["measure", "--scenes", "0"], "scenes is 0; it must be at least 1"),
        (["corpus", "--examples", "-1"], "examples is -1; it must be at least 1"),
        (["corpus", "--exampels", "1"], "unknown option --exampels; did you mean --examples?"),
        (["--scenes", "9"], "Expected one of {sft, measure, corpus}"),
        (["sft", "--learning-rate", "inf"], "learning-rate is inf; it must be above 0 and finite"),
        (["corpsu"], "Expected one of {sft, measure, corpus}"),
        (["sft", "--scenes", "1", "--out", "/dev/null/model"], "/dev/null"),
    ],
)
def test_training_a_model_names_what_is_wrong(complaint, arguments, message):
    options = train_suggester.Sft | train_suggester.Measure | train_suggester.Corpus
    assert message in complaint(
        train_suggester, *arguments, main=lambda chosen: chosen.run(), options=options
    )


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (threshold, ["--thresold", "1"], "unknown option --thresold; see --help"),
        (threshold, ["0.5"], "unexpected argument '0.5'"),
        (threshold, ["--pairs", "/nowhere/x.yaml"], "cannot read /nowhere/x.yaml"),
        (threshold, ["--world", "craftre"], "did you mean 'crafter'?"),
        (threshold, ["--out", "/nosuch/x.json"], "out is /nosuch/x.json, which cannot be written"),
        (threshold, ["--out", "README.md/x.json"], "out is README.md/x.json, which cannot be written"),
        (threshold, ["--figure", "/nosuch/x.png"], "figure is /nosuch/x.png, which cannot be written"),
        (dose_response, ["results/first"], "holds crafter with "),
        (fresh_episodes, [], "no run is named; name at least one run folder"),
        (
            fresh_episodes,
            ["a", "b", "--out", "x.json"],
            "out names one file, but there are several runs; leave it out",
        ),
        (fresh_episodes, ["/nowhere"], "/nowhere is not a folder; name a run folder"),
        (reward_validity, [], "give either --votes or --csv"),
        (words_in_sight, ["runs/x", "--words", ""], "words is empty; name a word of captions"),
        (score_placements, ["--out", "/nosuch/x.gz"], "out is /nosuch/x.gz, which cannot be written"),
        (check_lm_training, ["--task", "walks", "--seeds"], "seeds is empty; name one at least"),
        (dose_response, ["--frames", "0"], "frames is 0; it must be at least 1"),
        (migrate_config, ["/nowhere"], "/nowhere holds no config.yaml"),
        (report, ["results/first", "--outt", "x"], "unknown option --outt; see --help"),
        (compare, ["--jobs", "0"], "jobs is 0; it must be at least 1"),
        (replay, ["runs/x", "--episodes", "0"], "episodes is 0; it must be at least 1"),
        (replay, ["runs/x", "--max-frames", "-1"], "max-frames is -1; it must be at least 1"),
        (replay, ["runs/x", "--maxframes", "9"], "did you mean --max-frames?"),
        (inspect_prompts, ["--captions", "x"], "unknown option --captions; did you mean --caption?"),
        (suggestion_quality, ["--seed", "-1"], "seed is -1; it must be at least 0"),
        (suggestion_quality, ["--out", "/nosuch/x.json"], "out is /nosuch/x.json, which cannot be written"),
        (check_lm_training, ["--task", "walks", "--seeds", "0", "-1"], "seeds is -1; it must be at least 0"),
        (score_placements, ["--threads", "0"], "threads is 0; it must be at least 1"),
        (dose_response, ["--held-out", "/nosuch", "1", "1"], "held-out is /nosuch, which holds no runs"),
    ],
)
def test_other_scripts_do_so_too(complaint, module, arguments, message):
    options = {check_lm_training: check_lm_training.Check}.get(module)
    assert message in complaint(module, *arguments, main=getattr(module, "main", run_sweep), options=options)


@pytest.mark.parametrize(("value", "said"), [("nan", "nan"), ("inf", "inf"), ("-1", "-1.0")])
def test_numbers_that_are_none_are_refused(complaint, value, said):
    arguments = ["--logs", "x", "--reward-model", "x", "--out", "x", "--cost", value]
    message = complaint(
        train_suggester, *arguments, main=lambda chosen: chosen.run(), options=train_suggester.Ppo
    )
    assert f"cost is {said}; it must be at least 0" in message


def test_a_summary_of_nothing_is_not_written(complaint, tmp_path):
    for folders, message in (([], "folders is empty"), ([str(tmp_path)], "holds no finished training")):
        (tmp_path / "recipe.json").write_text("[]")
        (tmp_path / "figures.json").write_text("{}")
        out = tmp_path / "out.json"
        said = complaint(
            train_suggester,
            "--folders",
            *folders,
            "--out",
            str(out),
            main=lambda chosen: chosen.run(),
            options=train_suggester.Summary,
        )
        assert message in said
        assert not out.exists()


def test_divergence_is_steered_to_more_than_nothing(complaint):
    kinds = train_suggester.Sft | train_suggester.Ppo
    words = ("ppo", "--logs", "x", "--reward-model", "y", "--out", "z", "--target-kl", "0")
    said = complaint(train_suggester, *words, main=lambda chosen: chosen.run(), options=kinds)
    assert "target-kl is 0.0; it must be above 0" in said


def test_another_models_figures_are_not_the_bundled_ones(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundled, "BundledModel", lambda folder: SimpleNamespace(load=lambda: None))
    monkeypatch.setattr(measure, "measure", lambda *_, **__: {"good": 0.5})
    train_suggester.Measure(model=tmp_path, threads=1).run()
    assert [*tmp_path.iterdir()] == []
    train_suggester.Measure(threads=1).run()
    assert json.loads((tmp_path / "results" / "bundled_model.json").read_text()) == {"good": 0.5}


def test_what_cannot_be_measured_is_null():
    row = Quality(*[0.5] * 9, seconds=float("nan"))
    assert json.loads(json.dumps(suggestion_quality.figures(row), allow_nan=False))["seconds"] is None


def test_subcommands_know_their_options(complaint):
    kinds = llm_cache.Stats | llm_cache.Export | llm_cache.Import | llm_cache.Verify
    run = {"main": lambda chosen: chosen.run(), "options": kinds}
    assert "did you mean --cache?" in complaint(llm_cache, "stats", "--cahce", "x", **run)
    assert "stats" in complaint(llm_cache, **run)
    assert "there is no answer cache" in complaint(llm_cache, "verify", "--cache", "/nowhere", **run)


def test_goals_of_a_log_have_a_threshold(complaint):
    kinds = dataset.Make | dataset.Unpack | dataset.Show | dataset.Relabel
    words = ["relabel", "/nowhere", "--goals", "sleep", "--threshold"]
    run = {"main": lambda chosen: chosen.run(), "options": kinds}
    assert complaint(dataset, *words, "2", **run).startswith("threshold is 2")
    assert complaint(dataset, *words, "nan", **run).startswith("threshold is nan")
