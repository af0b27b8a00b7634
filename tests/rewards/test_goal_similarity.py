"""The reward, worked out by hand on vectors chosen by hand."""

import numpy as np
import pytest

from ellm_agent.goals.quality import QualityBins
from ellm_agent.records import NO_PAYMENT
from ellm_agent.rewards import GoalSimilarity
from ellm_agent.rewards import goal_similarity as similarity
from ellm_agent.text import sentence_bert as phrases
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import whitening
from envs.crafter.knowledge import canonical, knowledge

# Unit vectors in the plane: cosines are 0.8, 0.6 and 0.96 by hand.
VECTORS = {
    "chop tree": [1.0, 0.0],
    "cut tree": [0.8, 0.6],
    "fell tree": [0.96, 0.28],
    "drink water": [0.0, 1.0],
}


@pytest.fixture
def reward(table):
    table.known.update(VECTORS)
    return GoalSimilarity(table, 0.7)


def test_pays_the_largest_cosine_above_the_threshold(reward):
    paid = reward.pay(["chop tree"], ["cut tree", "fell tree", "drink water"])
    assert paid.reward == pytest.approx(0.96)
    assert paid.goals == ("cut tree", "fell tree")
    assert paid.events == ("chop tree",)
    assert reward.pay(["chop tree"], ["cut tree"]).reward == pytest.approx(0.8)


def test_pays_nothing_at_or_below_the_threshold(table):
    table.known.update(VECTORS)
    assert GoalSimilarity(table, 1.0).pay(["chop tree"], ["chop tree"]) == NO_PAYMENT
    assert GoalSimilarity(table, 0.9).pay(["chop tree"], ["cut tree"]) == NO_PAYMENT
    assert GoalSimilarity(table, 0.7).pay(["chop tree"], []) == NO_PAYMENT
    assert GoalSimilarity(table, 0.7).pay([], ["chop tree"]) == NO_PAYMENT


def test_several_events_pay_once_and_are_all_achieved(reward):
    paid = reward.pay(["chop tree", "drink water"], ["cut tree", "drink water"])
    assert paid.reward == pytest.approx(1.0)
    assert set(paid.events) == {"chop tree", "drink water"}
    assert set(paid.goals) == {"cut tree", "drink water"}


def test_achieved_goals_and_their_other_wordings_are_filtered(reward):
    goals = ["chop tree", "cut tree", "drink water"]
    assert reward.open_goals(goals, ()) == tuple(goals)
    assert reward.open_goals(goals, ["chop tree"]) == ("drink water",)
    assert reward.open_goals(goals, ["drink water"]) == ("chop tree", "cut tree")
    assert reward.open_goals(goals, ["chop tree", "drink water"]) == ()


def test_what_is_achieved_closes_goals_in_all_their_wordings(reward):
    goals = ("chop tree", "cut tree", "drink water")
    assert reward.pay(["fell tree"], goals).goals == ("chop tree", "cut tree")
    assert reward.pay(["fell tree"], goals, ["chop tree"]) == NO_PAYMENT
    assert reward.pay(["fell tree", "drink water"], goals, ["chop tree"]).goals == ("drink water",)
    assert reward.pay(["fell tree"], goals, ["drink water"]).events == ("fell tree",)


def test_what_is_judged_does_not_depend_on_what_was_judged_before(reward, table):
    """A process that goes on with a run has not seen what came before; ids must come out the same."""
    goals = ("chop tree", "cut tree")
    reward.learn([goals])
    assert reward.open_goals(goals, ["chop tree"]) == ()
    known = len(table)
    assert reward.pay(["drink tree"], ()) == NO_PAYMENT
    assert reward.pay(["drink tree"], goals, ["chop tree"]) == NO_PAYMENT  # both are closed
    assert len(table) == known
    reward.pay(["drink tree"], goals)
    assert len(table) == known + 1


def test_a_new_event_can_satisfy_goals_looked_up_before(reward):
    assert reward.open_goals(["fell tree"], ["drink water"]) == ("fell tree",)
    assert reward.open_goals(["fell tree"], ["drink water", "chop tree"]) == ()


def test_new_goals_are_encoded_in_one_batch_and_what_is_remembered_is_bounded(table, monkeypatch):
    monkeypatch.setattr(similarity, "REMEMBERED", 3)
    table.known.update(VECTORS)
    reward, batches = GoalSimilarity(table, 0.7), []
    monkeypatch.setattr(table, "vectors_of", lambda ids: batches.append([table.text(i) for i in ids]))
    both = ("chop tree", "drink water")
    reward.learn([both, ("drink water", "cut tree")])
    reward.learn([both, ("cut tree", "chop tree"), ()])
    assert batches == [["chop tree", "drink water", "cut tree"]]
    for i in range(20):  # tuples come and go: no id may be taken for another's
        reward.learn([(f"goal {i}", "chop tree"), both])
    assert batches[1:] == [[f"goal {i}"] for i in range(20)]
    assert len(reward._known) <= 5


@pytest.mark.parametrize("threshold", [-1.01, 1.5, float("nan")])
def test_threshold_is_a_cosine(table, threshold):
    with pytest.raises(ValueError, match="cosine"):
        GoalSimilarity(table, threshold)


def test_real_sentence_bert_tells_paraphrases_from_near_misses():
    reward = GoalSimilarity(PhraseTable(), 0.78, canonical)
    assert reward.cosine("chop tree", "chop tree") == pytest.approx(1.0, abs=1e-5)
    assert reward.satisfies("chop tree", "Chop down a tree!")
    assert reward.satisfies("eat cow", "attack the cow")  # a synonym, told as one goal
    assert reward.pay(["eat cow"], ["attack cow", "eat cow"]).reward == pytest.approx(1.0, abs=1e-5)
    assert reward.open_goals(["attack cow"], ["eat cow"]) == ()
    assert not reward.satisfies("make wood pickaxe", "make stone pickaxe")
    for event in knowledge().goals:
        assert [goal for goal in knowledge().goals if reward.satisfies(event, goal)] == [event]


def test_phrases_are_interned_encoded_once_and_saved(tmp_path):
    calls = []

    def encode(texts):
        calls.append(list(texts))
        return [[1.0] * 384 for _ in texts]

    table = PhraseTable(encode)
    assert table.ids(["a", "b", "a", ""]) == [1, 2, 1, 0]
    assert table.vectors.shape == (3, 384)
    assert not table.vectors[0].any()
    table.id("c")
    assert table.vectors.shape == (4, 384)
    assert calls == [["a", "b"], ["c"]]
    table.save(tmp_path)
    loaded = PhraseTable.load(tmp_path, encode)
    assert loaded.ids(["c", "a"]) == [3, 1]
    assert (loaded.vectors == table.vectors).all()
    assert len(calls) == 2
    (tmp_path / "phrases.json").write_text('["", "a"]')
    with pytest.raises(ValueError, match="2 phrases do not go with vectors"):
        PhraseTable.load(tmp_path)


def test_whitening_gives_unit_covariance():
    import numpy as np

    vectors = np.random.default_rng(0).normal(size=(500, 6)) @ np.diag([5, 3, 1, 1, 0.5, 0.2]) + 7
    mean, matrix = whitening(vectors, strength=0.0)
    white = (vectors - mean) @ matrix
    assert np.allclose(white.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(np.cov(white, rowvar=False) * 6, np.eye(6), atol=1e-4)


def test_phrases_from_outside_the_vocabulary_are_not_blown_up():
    """What the agent may read beside the closed vocabulary has vectors of about the same length."""
    from ellm_agent.text.whitening import PhraseFeatures
    from ellm_agent.wrappers.goal_exploration import closed_vocabulary
    from envs.crafter.env import CrafterTextEnv

    for caption in ("spatial", "paper"):
        table = PhraseTable()
        closed = table.ids(closed_vocabulary(CrafterTextEnv(caption=caption).language))
        features = PhraseFeatures(table, closed, whiten=True)
        longest = features.tensor[closed].norm(dim=1).max()
        table.ids(
            ["goal: build a house", "achieved: drink tree", "goal: chop down a tree", "goal: go fishing"]
        )
        assert features.tensor[max(closed) + 1 :].norm(dim=1).max() <= longest + 1e-5


def test_quality_bins():
    k = knowledge()
    bins = QualityBins(canonical, k.goals, k.verbs, k.nouns)
    assert bins.sort(["Chop the tree"], ("chop tree",)) == ["good"]
    goals = ["attack cow", "chop tree", "drink tree", "build a house", "attack cow"]
    assert bins.sort(goals, ("eat cow",)) == ["good", "poorly_timed", "bad", "nonsensical", "good"]
    assert bins.sort(goals[:2], ()) == ["poorly_timed"] * 2


def test_large_batches_are_encoded_once(tmp_path, monkeypatch):
    """The vectors of a vocabulary are kept on disk, bit for bit; what is damaged there is made anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def encode(texts):
        calls.append(len(texts))
        return np.random.default_rng(len(calls)).normal(size=(len(texts), 384)).astype(np.float32)

    monkeypatch.setattr(phrases, "_encode", encode)
    texts = [f"phrase {i}" for i in range(300)]
    first = phrases.sentence_bert(texts)
    assert (phrases.sentence_bert(texts) == first).all()
    assert calls == [300]
    phrases.sentence_bert(texts[::-1])  # another batch
    phrases.sentence_bert(texts[:9])  # too few to keep
    phrases.sentence_bert(texts[:9])
    assert calls == [300, 300, 9, 9]
    for file in (tmp_path / "ellm_agent").iterdir():
        file.write_bytes(b"cut off")
    phrases.sentence_bert(texts)
    assert calls == [300, 300, 9, 9, 300]
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")  # nothing can be kept there
    assert phrases.sentence_bert(texts).shape == (300, 384)
