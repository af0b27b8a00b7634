"""A run with the bundled model is the same in the process and over HTTP."""

import json

import pytest

from ellm_agent.config import PRESETS
from ellm_agent.experiment import run_experiment
from ellm_agent.llm.bundled import BundledModel
from tests.helpers.llm_server import answers_of, serve


def run_rows(folder, frames, **options):
    config = PRESETS["debug"].changed(
        **{
            "run.frames": frames,
            "run.log_every": 100,
            "run.out": folder,
            "run.report": False,
            "run.tensorboard": False,
            "run.replays": 0,
            "suggester.llm.wait": True,
            "suggester.llm.temperature": 0.0,
            "suggester.llm.cache": "off",
            **{f"suggester.{name}": value for name, value in options.items()},
        }
    )
    run = run_experiment(config)
    apart = ("seconds", "frames_per_second", "memory_mb")
    metrics = [
        {k: v for k, v in row.items() if k not in apart and not k.startswith("llm/")}
        for row in run.read("metrics")
    ]
    return run.read("episodes"), metrics, json.loads((folder / "summary.json").read_text())["suggestions"]


@pytest.mark.parametrize(("form", "frames"), [("open", 400), ("closed", 100)])
def test_a_run_is_the_same_in_process_and_over_http(tmp_path, form, frames):
    here = run_rows(tmp_path / "here", frames, kind=form, **{"llm.kind": "bundled"})
    with serve(answers_of(BundledModel())) as server:
        remote = {"llm.base_url": server.url, "llm.model": "bundled"}
        there = run_rows(tmp_path / "there", frames, kind=form, **remote)
    assert here == there
    assert here[2]  # goals were suggested
