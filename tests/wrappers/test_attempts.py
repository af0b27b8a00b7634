"""Attempts: found in the meanings of actions, and told to suggesters that learn from them."""

import dataclasses

import numpy as np

from ellm_agent.goals.base import AllGoals
from ellm_agent.wrappers.attempts import Attempts
from tests.helpers.counting import LANGUAGE, Counting


def test_attempts_are_found_in_the_meanings_of_actions():
    language = dataclasses.replace(
        LANGUAGE,
        action_meanings={
            "": ((3, "drink water"),),
            "count 1": ((1, "chop tree"), (2, "go to tree")),
            "count 2": ((1, "drink water"),),
        },
    )
    attempts = Attempts(language)
    ids = np.array([[2, 0], [3, 0], [2, 0], [1, 0], [2, 0], [2, 0]])  # "count 1" has id 2
    actions = np.array([1, 1, 2, 3, 0, 4])
    expected = ["chop tree", "drink water", None, "drink water", None, None]
    assert attempts.goals(ids, actions) == expected


def test_suggesters_that_learn_from_attempts_are_told_of_them(explore, monkeypatch):
    told = dataclasses.replace(LANGUAGE, action_meanings={"": ((1, "chop tree"),)})
    monkeypatch.setattr(Counting, "language", told)

    class Learner(AllGoals):
        learns_from_attempts = True

        def __init__(self, goals):
            super().__init__(goals)
            self.noted = []

        def note_attempt(self, goal, situation, succeeded):
            self.noted.append((goal, situation.caption, succeeded))

    learner = Learner(LANGUAGE.goals)
    worlds = explore(learner)
    worlds.reset()
    for action in (1, 1, 0):
        worlds.step(np.array([action]))
    assert learner.noted == [("chop tree", "Frame 0.", False), ("chop tree", "Frame 1.", True)]
