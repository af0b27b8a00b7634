"""The measurement of the threshold, on pairs labelled by hand."""

import json

import numpy as np
import pytest

from ellm_agent.errors import UserError
from experiments import threshold
from tests.helpers.processes import ROOT

WORDS = {
    "chop tree": {"same": ["fell a tree"], "near": ["climb tree", "eat cow"]},
    "eat cow": {"same": [], "near": []},
}


def test_pairs_by_hand():
    pairs = threshold.labelled_pairs(WORDS, str)
    assert list(pairs["free"].itertuples(index=False, name=None)) == [
        ("chop tree", "fell a tree", True),
        ("eat cow", "fell a tree", False),
        ("chop tree", "climb tree", False),  # "eat cow" is among the exact pairs
    ]
    assert pairs["exact"]["satisfied"].tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "not a readable YAML file"),
        (b"\xff", "not a readable YAML file"),
        (b"", "must map each event"),
        (b"- a", "must map each event"),
        (b"chop tree: {same: 5, near: []}", "must map each event"),
        (b"chop tree: {same: [a]}", "must map each event"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "pairs.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        threshold.main(threshold.Options(pairs=path, out=tmp_path / "out", figure=tmp_path / "figure"))
    assert list(tmp_path.iterdir()) == [path]


def test_precision_and_recall_by_hand():
    cosines, satisfied = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, True])
    assert threshold.precision_and_recall(cosines, satisfied, 0.65) == {"precision": 2 / 3, "recall": 2 / 3}
    assert threshold.precision_and_recall(cosines, satisfied, 0.95) == {"precision": 1.0, "recall": 0.0}
    # (1 + 1/4) P R / (P / 4 + R), which precision counts in more than recall
    assert threshold.f_score({"precision": 1.0, "recall": 0.5}) == pytest.approx(0.625 / 0.75)
    assert threshold.f_score({"precision": 0.5, "recall": 1.0}) == pytest.approx(0.625 / 1.125)


def test_the_measurement_gives_the_committed_figures(tmp_path):
    """Within one pair: SentenceBERT's last digits differ between machines, and some cosines lie at a threshold."""
    pairs, out = ROOT / "experiments" / "threshold_pairs.yaml", tmp_path / "threshold.json"
    threshold.main(threshold.Options("crafter", pairs, out, tmp_path / "threshold.png"))
    measured, committed = (json.loads(p.read_text()) for p in (out, ROOT / "results" / "threshold.json"))
    assert (measured["chosen"], measured["rule"]) == (committed["chosen"], committed["rule"])
    for kind in ("exact", "free"):
        for row, expected in zip(measured[kind], committed[kind], strict=True):
            assert row == pytest.approx(expected, abs=1 / 124 + 1e-9)  # 124 pairs are satisfied
