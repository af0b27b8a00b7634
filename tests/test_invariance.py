"""Commands that must be equivalent are compared with each other: their episodes, metrics and last states, bit for bit."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from ellm_agent.build import make_worlds
from ellm_agent.config import PRESETS
from ellm_agent.evaluation.recording import record_episodes
from ellm_agent.goals.base import OracleSuggester
from ellm_agent.text.phrases import PhraseTable
from envs.interface import HELD_OUT_SEEDS
from tests.helpers.run_kills import SMALL, differences, finish, kill_after, outcome, start

RUN = [*SMALL, "--goal-mode", "open", "--frames", "1300", "--eval-every", "400"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The run that the others are compared with: DQN, bundled model, compiled worlds, evaluated, one thread, never stopped."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    finish(start(*RUN, "--out", folder))
    return outcome(folder)


@pytest.mark.parametrize(
    ("options", "may_differ"),
    [
        pytest.param(["--threads", "1"], [], id="again"),
        pytest.param(["--backend", "package"], ["/state/counters/config/env.backend"], id="package"),
        pytest.param(
            ["--eval-every", "100000"],
            ["/evaluations", "/state/counters/rows/evaluations", "/state/counters/config/run.eval_every"],
            id="without evaluation",
        ),
        pytest.param(None, [], id="killed and resumed"),
    ],
)
def test_equivalent_commands_give_the_same_run(reference, tmp_path, options, may_differ):
    folder = tmp_path / "run"
    if options is None:
        kill_after(folder, RUN, 700, signal.SIGKILL)
    else:
        finish(start(*RUN, *options, "--out", folder))
    found = outcome(folder)
    wanted = reference
    if "--eval-every" in (options or ()):
        wanted, found = map(without_evaluation, (reference, found))
    wrong = [line for line in differences(wanted, found) if not line.startswith(tuple(may_differ))]
    assert wrong == []
    assert len(found["episodes"]) > 4


def without_evaluation(found):
    """Rows of metrics without those of the last evaluation."""
    rows = [json.loads(row) for row in found["metrics"]]
    return found | {"metrics": [{k: v for k, v in row.items() if "eval/" not in k} for row in rows]}


class Fixed:
    """Its action depends on the observation alone."""

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return (observation.astype(np.int64) * np.arange(1, observation.shape[1] + 1)).sum(axis=1) % 17, None


def test_held_out_worlds_do_not_depend_on_each_other():
    """Four worlds together, the same ones in other places beside others, or each alone: the same recordings."""
    config = PRESETS["debug"].changed(**{"env.episode_length": 60})

    def record(first, count):
        worlds = make_worlds(config, OracleSuggester(), PhraseTable(), count, one_episode=True)
        found = record_episodes(Fixed(), worlds, "crafter", config.env.options, HELD_OUT_SEEDS + first)
        return {recording.world_seed - HELD_OUT_SEEDS: recording for recording in found}

    together = record(0, 4)
    assert sorted(together) == [0, 1, 2, 3]
    assert len({tuple(recording.actions) for recording in together.values()}) == 4
    moved = record(2, 3)
    assert {i: moved[i] for i in (2, 3)} == {i: together[i] for i in (2, 3)}
    assert record(1, 1)[1] == together[1]
