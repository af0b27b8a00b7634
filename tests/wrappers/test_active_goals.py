"""Active goals: sampled, kept, restored and observed."""

import json

import numpy as np

from ellm_agent.goals.base import AllGoals, FixedGoals
from tests.helpers.counting import LANGUAGE, play


def test_one_active_goal_is_sampled_kept_and_sampled_again(explore):
    worlds = explore(
        AllGoals(LANGUAGE.goals), goal_conditioned=True, max_active_goals=1, active_goal_frames=3
    )
    worlds.seed(0)
    worlds.reset()
    drawn = []
    for _ in range(6):
        drawn.append(worlds.goals[0])
        assert len(worlds.goals[0]) == 1
        _, rewards, _, infos = worlds.step([0])
        log = worlds.log(0)
        assert log.goals == drawn[-1]
        assert (rewards[0] > 0) == bool(set(infos[0]["events"]) & set(log.goals) - set(log.achieved))
    assert drawn[0] == drawn[1]  # what is not achieved is kept for three frames
    assert worlds.counts.suggested.total() == 2 * 7  # suggested goals are counted, not sampled ones


def test_sampled_goals_are_restored(explore):
    options = {"goal_conditioned": True, "max_active_goals": 1, "active_goal_frames": 3, "n_envs": 3}
    worlds, other = (explore(AllGoals(LANGUAGE.goals), **options) for _ in range(2))
    for seed, one in enumerate((worlds, other)):
        one.seed(seed)
        one.reset()
        play(one, 4)
    state = worlds.state_dict()
    kept = json.dumps(state)
    assert (
        worlds.load_state_dict(state).tolist() == other.load_state_dict(json.loads(kept)).tolist()
    )  # also into itself
    assert json.dumps(worlds.state_dict()) == kept
    for _ in range(20):
        one, two = (w.step(np.zeros(3, int)) for w in (worlds, other))
        assert worlds.goals == other.goals
        assert [part.tolist() for part in one[:3]] == [part.tolist() for part in two[:3]]
    worlds.reset()
    assert all(len(goals) == 1 for goals in worlds.goals)


def test_the_last_observation_of_an_episode_shows_the_sampled_goal(explore):
    """The goal that never happens stays open; the first observation of the next episode is another one."""
    suggester = FixedGoals(["drink tree"])
    worlds = explore(suggester, goal_conditioned=True, max_active_goals=1, truncates=True)
    worlds.reset()
    for _ in range(7):
        observation, _, dones, infos = worlds.step([0])
    assert dones[0]
    goals = worlds.fields["goals"]
    for row in (infos[0]["terminal_observation"], observation[0]):
        (shown,) = filter(None, row[goals].tolist())
        assert worlds.phrases.text(shown) == "goal: drink tree"
    assert infos[0]["terminal_observation"].tolist() != observation[0].tolist()


def test_goals_without_intrinsic_reward_are_neither_sampled_nor_filtered(explore):
    class Shown(AllGoals):
        rewards_goals = False

    worlds = explore(Shown(LANGUAGE.goals), goal_conditioned=True, max_active_goals=1)
    worlds.reset()
    assert worlds.goals == [LANGUAGE.goals]
