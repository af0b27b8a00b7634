"""Instructions: the next step of a task, which the environment rewards, and fixed goals, which the wrapper rewards."""

from __future__ import annotations

import numpy as np
import pytest
from crafter import constants

from ellm_agent.build import make_worlds
from ellm_agent.config.agent import AgentConfig
from ellm_agent.config.env import EnvConfig
from ellm_agent.config.reward import RewardConfig
from ellm_agent.config.schema import Config
from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.goals.base import FixedGoals, TaskGoals
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.wrappers.goal_exploration import GoalExploration


@pytest.fixture(scope="module")
def phrases():
    """Real SentenceBERT vectors."""
    return PhraseTable()


def one_world(suggester, phrases, task=None, task_reward="last", weight=1.0, mode="task") -> GoalExploration:
    """One real world of the package; the agent reads its goals."""
    config = Config(
        env=EnvConfig(backend="package", n_envs=1, task=task, task_reward=task_reward),
        suggester=SuggesterConfig(kind=mode),
        reward=RewardConfig(extrinsic_weight=weight, reopen="never"),
        agent=AgentConfig(goal_conditioned=True),
    )
    worlds = make_worlds(config, suggester, phrases, 1)
    worlds.seed(4)
    worlds.reset()
    return worlds


def reads(worlds, row, field):
    return [worlds.phrases.text(i) for i in row[worlds.fields[field]] if i]


def chop(worlds):
    """Chops a tree that has come up in front of the player: the agent's next observation, its reward, done, info."""
    env = worlds.venv.envs[0]
    player = env.game._player
    env.game._world[player.pos[0] + player.facing[0], player.pos[1] + player.facing[1]] = "tree"
    env.describe()
    observations, rewards, dones, infos = worlds.step(np.array([constants.actions.index("do")]))
    return observations[0], float(rewards[0]), bool(dones[0]), infos[0]


@pytest.mark.parametrize(("task_reward", "steps"), [("each", [1.0] * 5), ("last", [0.0] * 4 + [1.0])])
def test_the_environment_rewards_the_steps_of_its_task(phrases, task_reward, steps):
    worlds = one_world(TaskGoals(), phrases, task="deforestation", task_reward=task_reward)
    rewards, instructions = [], []
    for _ in range(5):
        observation, reward, done, info = chop(worlds)
        rewards.append(reward)
        read = info["terminal_observation"] if done else observation
        instructions += reads(worlds, read, "goals")
        assert reads(worlds, read, "achieved") == ["achieved: chop tree"]  # observed, though not rewarded
        assert worlds.log(0).reward.value == 0
        assert worlds.log(0).reward.goals == ()
        # The instruction stays open: the event does not close it.
        assert worlds.open_before(worlds.log(0)) == worlds.log(0).goals
    assert rewards == steps
    assert instructions == ["goal: chop tree"] * 3 + ["goal: deforestation"] * 2
    assert done
    finished = info["finished"]
    assert (finished.intrinsic_return, finished.extrinsic_return) == (0, sum(steps))
    assert finished.success is True
    assert finished.row()["success"] is True
    assert info["episode"] == {"r": sum(steps), "l": 5}
    assert reads(worlds, observation, "goals") == ["goal: chop tree"]  # the next episode
    assert reads(worlds, observation, "achieved") == []
    assert dict(worlds.counts.rewarded) == {}


def test_a_fixed_goal_is_rewarded_once_and_closed(phrases):
    worlds = one_world(FixedGoals(("chop tree",)), phrases, weight=0.0, mode="oracle")
    observation, reward, _, info = chop(worlds)
    assert reward == pytest.approx(1.0, abs=1e-3)
    assert worlds.log(0).reward.goals == ("chop tree",)
    assert reads(worlds, observation, "goals") == []
    observation, reward, _, info = chop(worlds)
    assert info["events"] == ("chop tree",)
    assert reward == 0
    assert worlds.goals == [("chop tree",)]  # suggested in every state, but closed
    assert worlds.open == [()]


def test_without_a_task_there_is_no_instruction(phrases):
    worlds = one_world(TaskGoals(), phrases, mode="none")
    observation, reward, _, info = chop(worlds)
    assert worlds.goals == [()]
    assert reads(worlds, observation, "goals") == []
    assert reward == 1.0  # the game's own
    assert "success" not in info
