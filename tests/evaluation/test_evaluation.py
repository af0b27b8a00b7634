"""Scores by hand, evaluation apart from training, and the page."""

import json
from pathlib import Path

import pytest
import torch

from ellm_agent.agents.dqn import TextDQN, TextDQNPolicy
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import record_episodes
from ellm_agent.evaluation.scores import SuccessRates
from ellm_agent.runs.folder import Run
from envs import registry
from envs.crafter.world import crafter_score
from tests.helpers.counting import policy_options

ROOT = Path(__file__).resolve().parents[2]


def test_crafter_score_by_hand():
    """exp((ln 1 + ln 101) / 2) - 1 = sqrt(101) - 1; all at 7 % give 7; the geometric mean favours rare ones."""
    assert crafter_score([0.0, 1.0]) == pytest.approx(101**0.5 - 1)
    assert crafter_score([0.07] * 22) == pytest.approx(7.0)
    assert crafter_score([0.0] * 22) == 0.0
    assert crafter_score([1.0] * 22) == pytest.approx(100.0)


def test_success_rates_count_episodes():
    rates = SuccessRates(registry.get("crafter"), ["a", "b"])
    assert rates.headline() == 0.0
    for unlocked in (["a"], ["a", "b"], [], ["a"]):
        rates.add(unlocked)
    assert rates.rates() == {"a": 0.75, "b": 0.25}
    assert rates.headline() == pytest.approx((76 * 26) ** 0.5 - 1)
    assert rates.scores() == {"crafter_score": rates.headline()}


def _trained(worlds, held_out=None):
    agent = TextDQN(
        TextDQNPolicy, worlds, buffer_size=600, learning_starts=10, batch_size=8, train_freq=1,
        policy_kwargs=policy_options(worlds), seed=0,
    )  # fmt: skip
    for _ in range(3):
        agent.learn(40, reset_num_timesteps=False)
        if held_out is not None:
            record_episodes(agent, held_out, "counting", {})
    return agent


@pytest.mark.parametrize("target", ["munchausen", "double"])
def test_evaluation_changes_nothing_in_training(explore, target):
    plain = _trained(explore(n_envs=2))
    evaluated = _trained(explore(n_envs=2), explore(n_envs=2, one_episode=True))
    for name, value in plain.policy.state_dict().items():
        assert torch.equal(value, evaluated.policy.state_dict()[name]), name


def test_evaluation_is_the_same_each_time(explore):
    agent = _trained(explore(n_envs=2))
    held_out = explore(n_envs=3, one_episode=True)
    first, second = (record_episodes(agent, held_out, "counting", {}) for _ in range(2))
    assert [r.actions for r in first] == [r.actions for r in second]
    assert [len(r.actions) for r in first] == [7, 7, 7]
    assert first[0].unlocked == ("water", "wood")
    assert first[0].total == pytest.approx(2.0)


def test_nobody_is_asked_about_worlds_that_have_finished(explore):
    from ellm_agent.goals.base import OracleSuggester

    asked = []

    class Counted(OracleSuggester):
        def suggest(self, situations):
            asked.append(len(situations))
            return super().suggest(situations)

    worlds = explore(Counted(), n_envs=2, one_episode=True)
    worlds.reset()
    for _ in range(9):
        worlds.step([0, 0])
    assert asked == [2] * 7 + [0] * 3


def test_default_threshold_is_the_measured_one():
    measured = json.loads((ROOT / "results" / "threshold.json").read_text())
    assert Config().reward.threshold == measured["chosen"]


@pytest.mark.parametrize("name", ["suggestions.jsonl", "transitions/0000000000.npz"])
def test_a_run_replaces_no_logs(tmp_path, name):
    """Such as those that ``dataset.py unpack`` writes: training would begin by emptying them."""
    log = tmp_path / "log" / name
    log.parent.mkdir(parents=True)
    log.write_text("row\n")
    with pytest.raises(UserError, match=f"holds {log.name}, which a run there would replace"):
        Run.create(Config().changed(**{"run.out": tmp_path / "log"}))
    assert log.read_text() == "row\n"
    assert not (tmp_path / "log" / "config.yaml").exists()
