"""Phrases, their vectors, whitening, and the cache of SentenceBERT vectors."""

import numpy as np
import pytest

from ellm_agent.text import sentence_bert as phrases
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures, whitening


def test_phrases_are_interned_encoded_once_and_restored():
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
    loaded = PhraseTable(encode)
    loaded.load_state_dict(table.state_dict())
    assert loaded.ids(["c", "a"]) == [3, 1]
    assert (loaded.vectors == table.vectors).all()
    assert len(calls) == 2
    with pytest.raises(ValueError, match="2 phrases do not go with vectors"):
        loaded.load_state_dict({**table.state_dict(), "texts": ["", "a"]})


def test_whitening_gives_unit_covariance():
    vectors = np.random.default_rng(0).normal(size=(500, 6)) @ np.diag([5, 3, 1, 1, 0.5, 0.2]) + 7
    mean, matrix = whitening(vectors, strength=0.0)
    white = (vectors - mean) @ matrix
    assert np.allclose(white.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(np.cov(white, rowvar=False) * 6, np.eye(6), atol=1e-4)


def test_whitening_leaves_directions_without_variance_small():
    """Variances 4 and 1, and a quarter of the larger one added: 4 / 5 and 1 / 2 of a unit each, in two dimensions."""
    vectors = np.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]]) * np.sqrt(3 / 4)
    mean, matrix = whitening(vectors, strength=0.25)
    white = np.cov((vectors - mean) @ matrix, rowvar=False) * 2
    assert sorted(np.linalg.eigvalsh(white)) == pytest.approx([1 / 2, 4 / 5])


def test_phrases_from_outside_the_vocabulary_are_not_blown_up():
    """What the agent may read beside the closed vocabulary has vectors of about the same length."""
    from ellm_agent.wrappers.observation import closed_vocabulary
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


def test_a_large_vocabulary_is_encoded_in_blocks_when_it_is_met():
    calls = []

    def encode(texts):
        calls.append(list(texts))
        rows = np.zeros((len(texts), 384), np.float32)
        rows[:, 0] = [float(text.split()[-1]) for text in texts]
        rows[:, 1] = len(texts)  # what a batch does to the last bits
        return rows

    vocabulary = [f"phrase {i}" for i in range(300)]

    def vectors(order):
        phrases = PhraseTable(encode)
        blocks = phrases.blocks(vocabulary)
        ids = phrases.meet(order, blocks)
        return dict(zip(order, phrases.vectors_of(ids)[:, :2].tolist(), strict=True))

    found = vectors(["phrase 5", "phrase 290", "other 7", "phrase 127", "phrase 128", "phrase 5"])
    assert calls == [vocabulary[:128], vocabulary[256:], ["other 7"], vocabulary[128:256]]
    assert found["phrase 290"] == [290, 44]
    assert found["other 7"] == [7, 1]
    # A vector does not depend on what was met before.
    again = vectors(["phrase 128", "other 7", "phrase 290"])
    assert again == {text: found[text] for text in again}
