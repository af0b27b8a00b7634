"""The measurement of the threshold, on pairs labelled by hand."""

import json

import numpy as np
import pytest

from ellm_agent.analysis import threshold
from tests.helpers.processes import ROOT

WORDS = {
    "chop tree": {"same": ["fell a tree"], "near": ["climb tree", "eat cow"]},
    "eat cow": {"same": [], "near": []},
}


def test_pairs_by_hand():
    pairs = threshold.labelled_pairs(WORDS, str)
    assert [(p.event, p.goal, p.satisfied) for p in pairs["free"]] == [
        ("chop tree", "fell a tree", True),
        ("eat cow", "fell a tree", False),
        ("chop tree", "climb tree", False),  # "eat cow" is among the exact pairs
    ]
    assert [p.satisfied for p in pairs["exact"]] == [True, False, False, True]


def test_precision_and_recall_by_hand():
    cosines, satisfied = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, True])
    assert threshold.precision_and_recall(cosines, satisfied, 0.65) == {"precision": 2 / 3, "recall": 2 / 3}
    assert threshold.precision_and_recall(cosines, satisfied, 0.95) == {"precision": 1.0, "recall": 0.0}
    # (1 + 1/4) P R / (P / 4 + R), which precision counts in more than recall
    assert threshold.f_score({"precision": 1.0, "recall": 0.5}) == pytest.approx(0.625 / 0.75)
    assert threshold.f_score({"precision": 0.5, "recall": 1.0}) == pytest.approx(0.625 / 1.125)


def test_the_measurement_gives_the_committed_figures(tmp_path):
    pairs, out = ROOT / "experiments" / "threshold_pairs.yaml", tmp_path / "threshold.json"
    threshold.measure("crafter", pairs, out, tmp_path / "threshold.png")
    assert json.loads(out.read_text()) == json.loads((ROOT / "results" / "threshold.json").read_text())
