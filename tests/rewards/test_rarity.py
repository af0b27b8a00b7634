"""Weights of rare events, by hand."""

from __future__ import annotations

import pytest

from ellm_agent.rewards.rarity import InverseRate, LearningProgress


def test_inverse_rate_by_hand():
    """Means over two episodes at .005: tree .005 -> .009975, cow 0 -> .005; the share is .501, its root's inverse 1.412."""
    rarity = InverseRate(0.5)
    assert rarity.weight("tree") == 1  # nothing is known yet
    rarity.note_episode({"tree"})
    assert rarity.weight("tree") == 1
    assert rarity.weight("cow") == 10  # never yet: the bound
    rarity.note_episode({"tree", "cow"})
    assert rarity.weight("tree") == 1
    assert rarity.weight("cow") == pytest.approx((0.009975 / 0.005) ** 0.5)


def test_weights_are_bounded():
    rarity = InverseRate(0.5)
    rarity.note_episode({"cow"})
    for _ in range(2000):
        rarity.note_episode({"tree"})
    assert rarity.weight("cow") == 10


def test_power_zero_weighs_nothing():
    rarity = InverseRate(0.0)
    rarity.note_episode({"tree"})
    assert rarity.weight("tree") == rarity.weight("cow") == 1


def test_learning_progress_by_hand():
    """After one episode: tree's means .005 and .02, so it has all progress there is; cow has none."""
    rarity = LearningProgress()
    assert rarity.weight("tree") == 1
    rarity.note_episode({"tree"})
    assert rarity.weight("tree") == pytest.approx(10)
    assert rarity.weight("cow") == 1
    rarity.note_episode({"tree", "cow"})
    # tree: slow .009975, fast .0396, progress .029625; cow: .005, .02, progress .015
    assert rarity.weight("cow") == pytest.approx(1 + 9 * 0.015 / 0.029625)


@pytest.mark.parametrize("kind", [InverseRate, LearningProgress])
def test_state_survives(kind):
    rarity, restored = kind(), kind()
    for events in ({"tree"}, {"tree", "cow"}, set()):
        rarity.note_episode(events)
    restored.load_state_dict(rarity.state_dict())
    for later in (rarity, restored):
        later.note_episode({"cow"})
    assert restored.weight("cow") == rarity.weight("cow")
