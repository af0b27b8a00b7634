"""The leaderboard's document: its rows are those of the results."""

from experiments import leaderboard
from tests.helpers.processes import ROOT


def test_a_row_of_the_document_is_that_of_the_results(monkeypatch):
    monkeypatch.setitem(leaderboard.ROWS, "crafter", [("dqn-1m", "oracle")])
    (row,) = leaderboard.rows("crafter")
    text = (ROOT / "docs" / "leaderboard.md").read_text()
    assert f"| {' | '.join(row[:-1])} | `dqn-1m`" in text  # but for the commit
    assert row[:4] == ("oracle", "dqn", "1M", "37.62 [34.94, 39.18]")
    assert "| ELLM | none; language model | 5M | not reported | 6.0 ± 0.4 (400-step episodes) |" in text


def test_a_row_says_whose_recorded_answers_suggest(monkeypatch):
    sweeps = [
        ("housekeep-homes-trained", "closed"),
        ("housekeep-homes", "closed"),
        ("housekeep-homes", "oracle"),
    ]
    monkeypatch.setitem(leaderboard.ROWS, "housekeep", sweeps)
    assert [row[0] for row in leaderboard.rows("housekeep")] == [
        "closed (trained)",
        "closed (smollm2)",
        "oracle",
    ]
