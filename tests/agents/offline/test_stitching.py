"""A log in which the best path is in no single episode: who finds it?  (``tests.helpers.stitching`` works out the numbers.)"""

from __future__ import annotations

import numpy as np
import pytest

from ellm_agent.build import build, make_suggester
from ellm_agent.config import PRESETS
from ellm_agent.config.offline import offline_config
from ellm_agent.datasets.shards import write_dataset
from ellm_agent.runs.folder import Run
from ellm_agent.training import train
from envs import registry
from tests.helpers import stitching


@pytest.fixture
def solved(tmp_path, monkeypatch):
    """Trains an agent on the log; the share of 100 episodes from S that reach the goal."""
    monkeypatch.setattr(registry, "WORLDS", dict(registry.WORLDS))
    registry.register("grid", "tests.helpers.stitching:GRID")
    write_dataset(stitching.log(), tmp_path / "log")

    def measure(algo, **options):
        config = offline_config(PRESETS["debug"], stitching.INTERFACE, (tmp_path / "log",)).changed(
            **{
                "run.frames": 40_000,
                "run.eval_every": 10**6,
                "run.eval_episodes": 100,
                "run.log_every": 10**5,
                "run.checkpoint_every": 10**6,
                "run.out": tmp_path / f"{algo}-{len(list(tmp_path.iterdir()))}",
                "run.tensorboard": False,
                "agent.algo": algo,
                "agent.offline.reward": "logged",
                "agent.offline.gamma": 0.9,
                "agent.offline.learning_rate": 3e-3,
                "agent.offline.polyak": 0.05,
                "agent.offline.temperature": 0.01,
                "agent.offline.q_temperature": 0.01,
                **{f"agent.offline.{name}": value for name, value in options.items()},
            }
        )
        run = Run.create(config)
        trained = train(build(run, make_suggester(config, stitching.LANGUAGE)), run)
        return float(
            np.mean(["reach_goal" in r.unlocked or "reach goal" in r.unlocked for r in trained.recordings])
        )

    yield measure
    registry.get.cache_clear()


@pytest.mark.parametrize(
    ("algo", "options", "solves"),
    [
        pytest.param("iql", {"expectile": 0.9}, True, id="IQL, tau .9"),
        pytest.param("iql", {"expectile": 0.7}, True, id="IQL, tau .7"),
        pytest.param("iql", {"expectile": 0.5}, False, id="IQL, tau .5 (SARSA)"),
        pytest.param("cql", {"alpha": 0.02}, True, id="CQL"),
        pytest.param("awr", {}, False, id="AWR"),
        pytest.param("bc", {}, False, id="BC"),
        pytest.param("filtered-bc", {"top_share": 0.4}, False, id="filtered BC"),
    ],
)
def test_stitching(solved, algo, options, solves):
    share = solved(algo, **options)
    print(f"{algo} {options}: {share:.2f}")
    assert share >= 0.9 if solves else share <= 0.35
