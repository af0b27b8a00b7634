"""A goal reward and a reward for transitions together: one episode worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ellm_agent.rewards.base import TransitionReward
from ellm_agent.wrappers.added_reward import AddedReward


class Reached(TransitionReward):
    """A tenth of the number in the caption that a transition led to ("count 3": 0.3)."""

    def __init__(self, worlds):
        self._worlds = worlds

    def reward(self, transitions):
        captions = transitions.next_observations[:, self._worlds.fields["caption"]][:, 0]
        numbers = [int(self._worlds.phrases.text(int(i)).split()[1]) for i in captions]
        return np.array(numbers, np.float32) / 10


def test_an_episode_by_hand(explore):
    """Seven frames. Goals are rewarded with 1 at frames 2 and 5; the environment gives 0.5 in each frame, weight 0.1.

    Frame n leads to "count n", the last one, too: 2 * n / 10 is added, 0.2 * 28 = 5.6 in an episode.
    """
    worlds = explore(n_envs=2, extrinsic_weight=0.1)
    both = AddedReward(worlds, Reached(worlds), weight=2.0)
    both.reset()
    for _ in range(2):  # the second episode starts from nothing
        rewards, infos = [], []
        for _ in range(7):
            _, reward, done, info = both.step(np.zeros(2, int))
            rewards.append(reward)
            infos.append(info)
        for i in range(2):
            assert [float(r[i]) for r in rewards] == pytest.approx([0.25, 1.45, 0.65, 0.85, 2.05, 1.25, 1.45])
            finished, episode = infos[-1][i]["finished"], infos[-1][i]["episode"]
            assert finished.intrinsic_return == pytest.approx(2 + 5.6)
            assert finished.extrinsic_return == pytest.approx(3.5)
            assert (episode["r"], episode["l"]) == (pytest.approx(0.35 + 2 + 5.6), 7)
        assert done.all()
        assert not any("finished" in info for step in infos[:-1] for info in step)
