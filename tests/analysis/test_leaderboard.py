"""The leaderboard's document: its rows are those of the results."""

import importlib.util

from tests.helpers.processes import ROOT


def test_a_row_of_the_document_is_that_of_the_results(monkeypatch):
    spec = importlib.util.spec_from_file_location("leaderboard", ROOT / "experiments" / "leaderboard.py")
    leaderboard = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "leaderboard", leaderboard)
    spec.loader.exec_module(leaderboard)
    monkeypatch.setitem(leaderboard.ROWS, "crafter", [("prior-5m", "oracle")])
    (row,) = leaderboard.rows("crafter")
    text = (ROOT / "docs" / "leaderboard.md").read_text()
    assert f"| {' | '.join(row[:-1])} | `prior-5m`" in text  # but for the commit
    assert row[:3] == ("oracle", "ppo", "5M")
    assert "| ELLM | none; language model | 5M | not reported | 6.0 ± 0.4 (400-step episodes) |" in text
