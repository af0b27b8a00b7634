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
