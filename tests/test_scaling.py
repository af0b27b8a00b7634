"""The simulated cluster: makespans worked out by hand, and what losses cost."""

import json

import numpy as np
import pytest

from benchmarks.scaling import (
    BILLION,
    MEASURED,
    Cluster,
    Inputs,
    demand,
    predicted,
    replayed,
    simulate,
)


@pytest.mark.parametrize(
    ("cells", "cluster", "makespan"),
    [
        ([10] * 4, Cluster(1), 40),
        ([10] * 4, Cluster(2), 20),
        ([10] * 5, Cluster(2), 30),
        ([10] * 4, Cluster(8), 10),
        ([10] * 4, Cluster(2, startup=3, overhead=1), 24),  # each worker starts once
        ([10] * 4, Cluster(2, cores=1), 40),  # two at half the speed
        ([10, 20], Cluster(2, cores=1), 30),  # the second alone from frame 20 on
        ([30, 10, 10], Cluster(2), 30),
    ],
)
def test_makespans_by_hand(cells, cluster, makespan):
    assert simulate(cells, cluster).makespan == pytest.approx(makespan)


def test_a_loss_costs_the_work_since_the_last_checkpoint():
    """With one worker: work, the work that was done twice, and recovery and start after each loss."""
    cluster = Cluster(1, startup=2, between_failures=50, recovery=5, checkpoint=10)
    found = simulate([100.0] * 3, cluster, seed=1)
    assert found.failures > 0
    assert 0 < found.lost <= 10 * found.failures
    least = 300 + 2 + found.lost + 5 * found.failures
    assert least <= found.makespan <= least + 2 * found.failures + 1e-9  # a start may be lost, too
    assert simulate([100.0] * 3, cluster, seed=1) == found


def test_more_losses_take_longer():
    def mean(hours):
        cluster = Cluster(4, between_failures=hours * 3600, recovery=30, checkpoint=60)
        return np.mean([simulate([600.0] * 20, cluster, seed).makespan for seed in range(10)])

    assert mean(np.inf) < mean(1) < mean(0.1)


def test_demand_by_hand():
    inputs = Inputs(
        frames_per_second=1000, log_bytes_per_frame=2, checkpoint_bytes=1e6, frames_per_checkpoint=1e5,
        questions_per_frame=0.01, tokens_read=90, tokens_written=10, gpu_tokens_per_second=1e4, price_core_hour=0.1,
    )  # fmt: skip
    found = demand(inputs, BILLION)
    assert found["core hours"] == pytest.approx(1e6 / 3600)
    assert found["questions"] == 1e7
    assert found["tokens"] == 1e9
    assert found["GPU hours of an 8B model"] == pytest.approx(1e5 / 3600)
    assert found["GB of logs"] == 2
    assert found["GB written as checkpoints"] == pytest.approx(10)
    assert found["$ for cores"] == pytest.approx(1e5 / 3600)


def test_one_worker_predicts_two_by_hand():
    """Three cells of 10 s, the first with 4 s of start; two workers on a core of their own each, and on one core."""
    alone = {"workers": 1, "makespan": 37, "began": [1, 15, 25], "ended": [15, 25, 35]}
    two = {"workers": 2, "makespan": 30, "began": [3, 3, 17], "ended": [17, 17, 27]}
    assert replayed(alone) == pytest.approx(1 + 34 + 2)
    assert replayed(two) == pytest.approx(3 + 24 + 3)
    assert predicted(two, alone, cores=2) == pytest.approx(3 + 24 + 3)
    assert predicted(two, alone, cores=1) == pytest.approx(3 + 28 + 10 + 3)


def test_measured_sweeps_are_as_simulated():
    found = json.loads(MEASURED.read_text())
    alone, *_ = found["sweeps"]
    assert [sweep["workers"] for sweep in found["sweeps"]] == [1, 2, 4]
    for sweep in found["sweeps"]:
        assert predicted(sweep, alone, found["cores"]) == pytest.approx(sweep["makespan"], rel=0.2)
        assert replayed(sweep) == pytest.approx(sweep["makespan"], rel=0.05)
