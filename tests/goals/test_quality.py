"""Quality bins, by hand."""

import json

from ellm_agent.goals.quality import GoalCounts, shares
from envs.interface import Language, Privileged

LANGUAGE = Language(
    vocabulary=(),
    to_sentence=" ".join,
    goals=("eat cow", "chop tree"),
    canonical=lambda goal: goal.removesuffix("!"),
    verbs=("eat", "chop"),
    nouns=("cow", "tree"),
)


def test_bins():
    goals = ("eat cow!", "chop tree", "eat tree", "go fishing")
    assert GoalCounts(LANGUAGE).bins(goals, ("eat cow",)) == ["good", "poorly_timed", "bad", "nonsensical"]
    assert GoalCounts(LANGUAGE).bins(goals, ("chop tree",))[:2] == ["poorly_timed", "good"]


def test_counts_of_steps():
    counts = GoalCounts(LANGUAGE)
    counts.note_suggested([("eat cow", "eat tree"), ()], [Privileged(("eat cow",)), Privileged(())])
    counts.note_suggested([("eat cow",), ("eat cow!",)], [Privileged(()), Privileged(("eat cow",))])
    counts.note_rewarded(["eat cow!"], ("eat cow",))
    assert counts.suggested == {"good": 2, "bad": 1, "poorly_timed": 1}
    assert counts.rewarded == {"good": 1}
    assert counts.wordings == {"eat cow": 2, "eat tree": 1, "eat cow!": 1}
    assert shares(counts.suggested) == {"good": 0.5, "poorly_timed": 0.25, "bad": 0.25, "nonsensical": 0.0}


def test_metrics_are_shares_since_the_last_call_also_in_a_resumed_run():
    counts = GoalCounts(LANGUAGE)
    counts.note_suggested([("eat cow",)], [Privileged(())])
    assert counts.metrics()["goals/suggested_poorly_timed"] == 1
    assert counts.metrics() == {}
    resumed = GoalCounts(LANGUAGE)
    resumed.load_state_dict(json.loads(json.dumps(counts.state_dict())))
    for one in (counts, resumed):
        one.note_suggested([("eat cow",)], [Privileged(("eat cow",))])
        assert one.metrics()["goals/suggested_good"] == 1
        assert one.suggested == {"poorly_timed": 1, "good": 1}
