"""docs/metrics.md documents every metric, column and key that a run writes, by its own name."""

from __future__ import annotations

import json
import re

import pytest

from ellm_agent.config import PRESETS
from ellm_agent.experiment import run_experiment
from ellm_agent.llm.base import FAILURES
from tests.experiments.test_run import rows
from tests.helpers.llm_server import by_scene, serve
from tests.helpers.processes import ROOT

SMALL = {
    "run.frames": 400,
    "run.eval_every": 200,
    "run.eval_episodes": 1,
    "run.log_every": 100,
    "run.checkpoint_every": 400,
    "run.replays": 0,
    "run.report": False,
    "run.tensorboard": False,
    "env.episode_length": 40,
    "agent.dqn.learning_starts": 100,
    "agent.hidden": 8,
}
RUNS = [  # together they write every metric
    {"agent.algo": "dqn", "suggester.kind": "open", "suggester.llm.kind": "script"},
    {
        "agent.algo": "ppo",
        "agent.on_policy.rollout": 20,
        "suggester.kind": "novelty",
        "reward.novelty.kind": "apt",
        "reward.extrinsic_weight": 1.0,
        "env.task": "chop grass",
    },
    {"agent.algo": "trpo", "agent.on_policy.rollout": 20, "suggester.kind": "oracle"},
    {"suggester.kind": "novelty", "suggester.learned_filter": True},
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """File -> names in it, over all runs."""
    names = {"metrics": set(), "evaluations": set(), "episodes": set(), "summary": set()}
    folder = tmp_path_factory.mktemp("runs")
    with serve(by_scene) as server:
        asks = {
            "suggester.llm.base_url": server.url,
            "suggester.llm.model": "m",
            "suggester.llm.cache": str(folder / "answers.sqlite"),
            "suggester.llm.price_read": 1.0,
            "suggester.llm.price_written": 1.0,
            "suggester.llm.every": 4,
        }
        played = {"agent.algo": "random", "agent.goal_conditioned": False, "run.record": True, **asks}
        logged = {"agent.offline.data": (folder / str(len(RUNS)),), "agent.goal_conditioned": False}
        learning = [{"agent.algo": algo, "suggester.kind": "none", **logged} for algo in ("iql", "cql")]
        for i, changes in enumerate([*RUNS, played, *learning]):
            config = PRESETS["debug"].changed(**SMALL, **changes, **{"run.out": folder / str(i)})
            run = run_experiment(config)
            plays = "agent.offline.data" not in changes  # others have no training episodes
            for log in ("metrics", "evaluations", "episodes") if plays else ("metrics", "evaluations"):
                names[log].update(*rows(run.folder, log))
            names["summary"].update(json.loads((run.folder / "summary.json").read_text()))
    return names


@pytest.fixture(scope="module")
def documented():
    """Section -> names in backticks."""
    parts = re.split(r"^## `(\w+)\.", (ROOT / "docs" / "metrics.md").read_text(), flags=re.M)[1:]
    return {
        name: set(re.findall(r"`([\w/]+)`", text)) for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("file", ["metrics", "evaluations", "episodes", "summary"])
def test_every_name_is_documented(written, documented, file):
    # What is measured for each goal is documented once.
    names = {re.sub(r"^(goals/\w+)/.*", r"\1", name) for name in written[file]}
    assert names - documented[file] == set()


def test_the_runs_write_what_is_documented(written, documented):
    """No metric is documented that nothing writes, failures of a language model aside."""
    prefixes = ("goals/", "bonus/", "train/", "eval/", "rollout/")
    named = {name for name in documented["metrics"] if name.startswith(prefixes)}
    assert {name for name in named if not any(one.startswith(name) for one in written["metrics"])} == set()


def test_every_kind_of_failure_is_documented(documented):
    assert {f"llm/failed_{kind}" for kind in FAILURES} <= documented["metrics"]
