"""Small formulas in scripts, with numbers by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from envs.interface import Language
from experiments import offline_comparison, placement_agreement, preference_labels, score_placements
from tests.helpers.processes import script


def test_a_discounted_return():
    """Something new in frames 0 and 2, and again in frame 3; in another episode nothing: (1 + .25 + 0) / 2."""
    language = Language(vocabulary=(), to_sentence=" ".join, goals=("eat cow", "chop tree"), canonical=str)
    steps = [{"events": events} for events in (["eat cow"], [], ["chop tree"], ["eat cow"])]
    recordings = [SimpleNamespace(steps=steps), SimpleNamespace(steps=[{"events": []}])]
    assert offline_comparison._discounted_return(recordings, language, 0.5) == pytest.approx(0.625)


def test_what_a_place_says_without_the_object():
    """Votes of two objects in two places: each pair is judged by the other object's vote there."""
    score, group, things = np.array([1.0, 0.0, 0.25, 0.5]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert placement_agreement._without_object(score, group, things).tolist() == [0.0, 1.0, 0.5, 0.25]


def test_a_share_of_the_scores_is_above_one_half():
    p = score_placements.probabilities(np.array([0.0, 1.0, 2.0, 3.0]), 0.5)
    assert (p > 0.5).sum() == 2
    assert p[3] == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_an_interval_of_a_mean():
    """Of 1, 2, 3: t(2) = 4.303, standard error 1 / sqrt(3)."""
    assert preference_labels.interval(np.array([1.0, 2.0, 3.0])) == "2.000 ± 2.484"
    assert preference_labels.interval(np.array([1.0])) == "1.000 ± nan"


def test_a_finished_agent_plays_fresh_episodes(pretrained, tmp_path):
    out = tmp_path / "fresh.json"
    done = script("fresh_episodes.py", pretrained("ppo"), "--episodes", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["frames"] == 640
    assert set(found["success_rates"].values()) <= {0.0, 0.5, 1.0}
    again = script(
        "fresh_episodes.py", pretrained("ppo"), "--episodes", "2", "--out", tmp_path / "again.json"
    )
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again.json").read_text()) == found
    assert f"unlocks_per_episode {found['unlocks_per_episode']:,.1f}" in done.stdout
