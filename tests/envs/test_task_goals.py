"""Goals that are shown: the next step of a task, which the environment pays for, and goals that somebody names."""

from __future__ import annotations

import numpy as np
import pytest
from crafter import constants

from ellm_agent.build import make_exploration
from ellm_agent.config.schema import Config, EnvironmentConfig, GoalConfig
from ellm_agent.goals import FixedGoals, TaskGoals
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.goal_exploration import GoalExploration


@pytest.fixture(scope="module")
def phrases():
    """Real SentenceBERT vectors."""
    return PhraseTable()


def one_world(suggester, phrases, task=None, task_reward="last", weight=1.0, mode="task") -> GoalExploration:
    """One real world of the package; the agent reads its goals."""
    config = Config(
        environment=EnvironmentConfig(backend="package", n_envs=1, task=task, task_reward=pays),
        goals=GoalConfig(goal_mode=mode, extrinsic_weight=weight, goal_conditioned=True),
    )
    worlds = make_exploration(config, suggester, phrases, 1)
    worlds.seed(4)
    worlds.reset()
    return worlds


def reads(worlds, row, field):
    return [worlds.phrases.text(i) for i in row[worlds.fields[field]] if i]


def chop(worlds):
    """Chops a tree that has come up in front of the player: what the agent reads next, its reward, done, info."""
    env = worlds.venv.envs[0]
    player = env.game._player
    env.game._world[player.pos[0] + player.facing[0], player.pos[1] + player.facing[1]] = "tree"
    env.describe()
    observations, rewards, dones, infos = worlds.step(np.array([constants.actions.index("do")]))
    return observations[0], float(rewards[0]), bool(dones[0]), infos[0]


@pytest.mark.parametrize(("task_reward", "steps"), [("each", [1.0] * 5), ("last", [0.0] * 4 + [1.0])])
def test_the_environment_pays_for_what_is_shown(phrases, pays, steps):
    worlds = one_world(TaskGoals(), phrases, task="deforestation", task_reward=pays)
    rewards, shown = [], []
    for _ in range(5):
        observation, reward, done, info = chop(worlds)
        rewards.append(reward)
        read = info["terminal_observation"] if done else observation
        shown += reads(worlds, read, "goals")
        assert reads(worlds, read, "done") == ["achieved: chop tree"]  # seen, though nobody paid for it
        assert worlds.log(0).payment.reward == 0
        assert worlds.log(0).payment.goals == ()
        # What was shown before stays open: the event does not close it.
        assert worlds.open_before(worlds.log(0)) == worlds.log(0).goals
    assert rewards == steps
    assert shown == ["goal: chop tree"] * 3 + ["goal: deforestation"] * 2
    assert done
    finished = info["finished"]
    assert (finished.intrinsic_return, finished.extrinsic_return) == (0, sum(steps))
    assert finished.success is True
    assert finished.row()["success"] is True
    assert info["episode"] == {"r": sum(steps), "l": 5}
    assert reads(worlds, observation, "goals") == ["goal: chop tree"]  # the next episode
    assert reads(worlds, observation, "done") == []
    assert dict(worlds.counts.rewarded) == {}


def test_a_goal_that_somebody_names_is_paid_once_and_closed(phrases):
    worlds = one_world(FixedGoals(("chop tree",)), phrases, weight=0.0, mode="oracle")
    observation, reward, _, info = chop(worlds)
    assert reward == pytest.approx(1.0, abs=1e-3)
    assert worlds.log(0).payment.goals == ("chop tree",)
    assert reads(worlds, observation, "goals") == []
    observation, reward, _, info = chop(worlds)
    assert info["events"] == ("chop tree",)
    assert reward == 0
    assert worlds.goals == [("chop tree",)]  # suggested in every state, but closed
    assert worlds.open == [()]


def test_without_a_task_there_is_nothing_to_show(phrases):
    worlds = one_world(TaskGoals(), phrases)
    observation, reward, _, info = chop(worlds)
    assert worlds.goals == [()]
    assert reads(worlds, observation, "goals") == []
    assert reward == 1.0  # the game's own
    assert "success" not in info
