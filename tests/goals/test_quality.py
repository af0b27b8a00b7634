"""Quality bins, recall and precision, by hand."""

import json

from ellm_agent.goals import quality
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
    assert GoalCounts(LANGUAGE).bins(goals, Privileged(("eat cow",))) == [
        "good",
        "poorly_timed",
        "bad",
        "nonsensical",
    ]
    assert GoalCounts(LANGUAGE).bins(goals, Privileged(("chop tree",)))[:2] == ["poorly_timed", "good"]


def test_goals_that_the_world_calls_bad():
    """Possible, but foolish: such as to put an apple into a sink."""
    facts = Privileged(("eat cow",), needed=("eat cow", "chop tree"), bad=("chop tree",))
    assert GoalCounts(LANGUAGE).bins(("chop tree!", "eat cow"), facts) == ["bad", "good"]
    counts = GoalCounts(LANGUAGE)
    counts.note_suggested([("chop tree", "eat cow")], [facts])
    counts.note_rewarded(["chop tree"], facts)
    assert counts.suggested == {"bad": 1, "good": 1}
    assert counts.rewarded == {"bad": 1}


def test_counts_of_steps():
    counts = GoalCounts(LANGUAGE)
    counts.note_suggested([("eat cow", "eat tree"), ()], [Privileged(("eat cow",)), Privileged(())])
    counts.note_suggested([("eat cow",), ("eat cow!",)], [Privileged(()), Privileged(("eat cow",))])
    counts.note_rewarded(["eat cow!"], Privileged(("eat cow",)))
    assert counts.suggested == {"good": 2, "bad": 1, "poorly_timed": 1}
    assert counts.rewarded == {"good": 1}
    assert counts.wordings == {"eat cow": 2, "eat tree": 1, "eat cow!": 1}
    assert shares(counts.suggested) == {"good": 0.5, "poorly_timed": 0.25, "bad": 0.25, "nonsensical": 0.0}


def test_metrics_are_shares_since_the_last_call_also_in_a_resumed_run():
    counts = GoalCounts(LANGUAGE)
    counts.note_suggested([("eat cow",)], [Privileged(())])
    assert counts.metrics()["goals/suggested_poorly_timed"] == 1
    assert counts.metrics() == {}
    for one in (counts, resumed(counts)):
        one.note_suggested([("eat cow",)], [Privileged(("eat cow",))])
        assert one.metrics()["goals/suggested_good"] == 1
        assert one.suggested == {"poorly_timed": 1, "good": 1}


def test_recall_and_precision_of_each_goal():
    counts = GoalCounts(LANGUAGE)
    cow, tree = Privileged(("eat cow",)), Privileged(("chop tree", "eat cow"))
    counts.note_suggested([("eat cow", "eat cow!"), ("chop tree", "go fishing")], [cow, cow])
    counts.note_suggested([(), ("chop tree",)], [tree, tree])
    # Eating was possible in 4 frames and suggested in 1 of them; chopping possible in 2, suggested in 2, both in 1.
    assert shares_of_goals(counts.metrics()) == {
        "goals/recall/eat_cow": 1 / 4,
        "goals/precision/eat_cow": 1,
        "goals/recall/chop_tree": 1 / 2,
        "goals/precision/chop_tree": 1 / 2,
    }
    assert counts.metrics() == {}
    counts.note_suggested([("eat cow",), ()], [tree, tree])
    counts = resumed(counts)  # with frames that no row has told of yet
    counts.note_suggested([("eat cow",), ()], [Privileged(()), cow])
    assert shares_of_goals(counts.metrics()) == {
        "goals/recall/eat_cow": 1 / 3,
        "goals/precision/eat_cow": 1 / 2,
        "goals/recall/chop_tree": 0,
    }


def test_counts_do_not_depend_on_how_much_is_noted_at_once(monkeypatch):
    steps = [([("eat cow", "chop tree")], [Privileged(("eat cow",))]), ([("chop tree",)], [Privileged(())])]
    at_once, one_by_one = GoalCounts(LANGUAGE), GoalCounts(LANGUAGE)
    for step in steps * 3:
        at_once.note_suggested(*step)
    monkeypatch.setattr(quality, "NOTED", 0)
    for step in steps * 3:
        one_by_one.note_suggested(*step)
    assert at_once.state_dict() == one_by_one.state_dict()


def resumed(counts):
    other = GoalCounts(LANGUAGE)
    other.load_state_dict(json.loads(json.dumps(counts.state_dict())))
    return other


def shares_of_goals(metrics):
    return {name: share for name, share in metrics.items() if name.startswith(("goals/recall", "goals/prec"))}
