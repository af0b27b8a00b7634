"""Agreement of rewards with ratings, by hand, and the script end to end."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from ellm_agent.analysis.agreement import auc, cohens_kappa, grouped_auc
from ellm_agent.analysis.validity import reliability, validity
from tests.helpers.processes import script


def test_kappa_and_auc_by_hand():
    assert cohens_kappa([1, 1, 0, 0], [1, 1, 1, 0]) == pytest.approx(0.5)
    assert cohens_kappa([1, 0], [1, 0]) == 1.0
    assert auc(np.array([3.0, 2.0, 1.0, 2.0]), np.array([True, True, False, False])) == pytest.approx(3.5 / 4)
    assert np.isnan(auc(np.array([1.0, 2.0]), np.array([True, True])))


def test_auc_within_groups_by_hand():
    scores, positive = np.array([5.0, 4, 1, 2]), np.array([True, False, True, False])
    assert auc(scores, positive) == pytest.approx(0.5)
    # Group 0: 1 of 1 pair in order; group 1: 0 of 1.
    assert grouped_auc(scores, positive, np.array([0, 0, 1, 1]), np.ones(4, bool)) == pytest.approx(0.5)


def test_validity_by_hand():
    found = validity(np.array([0.0, 0, 1, 1]), np.array([1.0, 2, 3, 4]), least=3)
    assert found.pairs == 4
    assert found.rank == pytest.approx(2 / np.sqrt(5))  # ranks 1.5, 1.5, 3.5, 3.5 against 1, 2, 3, 4
    assert (found.auc, found.rewarded_high, found.rewarded_low) == (1.0, 1.0, 0.0)
    assert np.isnan(found.within)
    constant = validity(np.ones(4), np.array([1.0, 2, 3, 4]), least=3)
    assert (constant.rank, constant.auc) == (0.0, 0.5)


def test_reliability_by_hand():
    rows = reliability(np.array([0.0] * 10 + [1.0] * 10), np.array([2.0] * 10 + [4.0] * 10))
    assert rows == [(0.0, 2.0, 2.0, 2.0, 10), (1.0, 4.0, 4.0, 4.0, 10)]


def test_any_table_of_texts_and_ratings(tmp_path):
    table = tmp_path / "products.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rationale", "product", "stars"])
        for goal, seen, stars in (
            ("a warm winter coat", "a warm coat for the winter", 5),
            ("a warm winter coat", "a garden hose", 1),
            ("a garden hose", "a hose for the garden", 4),
            ("a garden hose", "a warm coat for the winter", 2),
        ):
            writer.writerow([goal, seen, stars])
    columns = ("--goal", "rationale", "--seen", "product", "--rating", "stars")
    out = tmp_path / "out"
    done = script("reward_validity.py", "--csv", table, *columns, "--threshold", "0.8", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "| cosine | 4 |" in done.stdout
    assert "| 1.00 |" in done.stdout  # ROC AUC
    assert sorted(p.name for p in out.iterdir()) == ["reliability.png", "rewards.csv.gz", "validity.md"]
    wrong = script("reward_validity.py", "--csv", table)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")
    assert "has no column 'goal'; it has rationale, product, stars" in wrong.stderr
