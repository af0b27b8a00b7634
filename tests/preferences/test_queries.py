"""Which clips are compared, and when."""

import math
from types import SimpleNamespace

import numpy as np
import torch

from ellm_agent.preferences.queries import DRAWN, choose_queries, labels_due


def test_the_schedule_by_hand():
    """700 labels in 100,000 frames: 175 at 2,000 frames; h is 20,000; the last at 90,000, when log(1 + 88 / 20) is reached."""
    assert labels_due(1_999, 100_000, 700) == 0
    assert labels_due(2_000, 100_000, 700) == 175
    half = 175 + int(525 * math.log(2) / math.log(1 + 88 / 20))  # where the rate has halved
    assert labels_due(22_000, 100_000, 700) == half
    assert labels_due(90_000, 100_000, 700) == labels_due(100_000, 100_000, 700) == 700


def test_the_rate_falls():
    counts = [labels_due(frames, 100_000, 7_000) for frames in range(2_000, 90_001, 11_000)]
    rates = np.diff(counts)
    assert (rates[1:] < rates[:-1]).all()
    assert rates[0] / rates[-1] > 3


def test_short_runs_have_a_schedule():
    assert labels_due(1, 1, 3) == 3


def members(*totals):
    """An ensemble with these returns of each clip, for each member."""
    return SimpleNamespace(returns=lambda clips: torch.tensor(totals))


def choose(clips, count, how, reward, seed=0, **options):
    return choose_queries(clips, count, how, reward, np.random.default_rng(seed), **options)


def test_pairs_with_the_most_disagreement_are_asked_about(clip):
    """Of five clips, the members differ about the last one alone: is it far better, or far worse than any other?"""
    clips = [clip([i, i + 1]) for i in range(5)]
    reward = members([0.0, 0.0, 0.0, 0.0, 9.0], [0.0, 0.0, 0.0, 0.0, -9.0])
    (query,) = choose(clips, 1, "disagreement", reward)
    assert clips[-1] in (query.left, query.right)


def test_a_person_does_not_see_one_clip_in_all_queries(clip):
    """The members differ about the last of 40 clips alone; each may be in one of eight queries."""
    clips = [clip([i, i + 1]) for i in range(40)]
    reward = members([0.0] * 39 + [9.0], [0.0] * 39 + [-9.0])
    assert (
        sum(clips[-1] in (query.left, query.right) for query in choose(clips, 8, "disagreement", reward)) > 1
    )
    queries = choose(clips, 8, "disagreement", reward, varied=True)
    assert clips[-1] in (queries[0].left, queries[0].right)
    shown = [one for query in queries for one in (query.left, query.right)]
    assert len({one.key for one in shown}) == len(shown) == 16
    # Nor in the next ones.
    (again,) = choose_queries(
        clips, 1, "disagreement", reward, np.random.default_rng(1), known=[queries[0].pair], varied=True
    )
    assert clips[-1] not in (again.left, again.right)
    # Of twelve clips each may be in two of six queries. If one was in two before, others fill up.
    known = [frozenset((clips[0].key, clips[i].key)) for i in range(1, 12)]
    found = choose_queries(
        clips[:12], 5, "disagreement", members([0.0] * 12, [0.0] * 12), np.random.default_rng(0), known, True
    )
    assert len(found) == 5


def test_random_pairs_are_distinct_and_of_both_orders(clip):
    clips = [clip([i, i + 1]) for i in range(30)]
    queries = choose(clips, 40, "random", None)
    assert len(queries) == 40
    assert len({frozenset((query.left.key, query.right.key)) for query in queries}) == 40
    assert all(query.left is not query.right for query in queries)
    older_left = sum(clips.index(query.left) < clips.index(query.right) for query in queries)
    assert 5 < older_left < 35


def test_few_clips_give_few_queries(clip):
    assert choose([], 3, "random", None) == []
    assert choose([clip([0, 1])], 3, "random", None) == []
    assert len(choose([clip([i, i + 1]) for i in range(5)], 3, "random", None)) == 1


def test_a_pair_is_asked_about_once(clip):
    """Neither again, nor with left and right exchanged, nor as another copy of the same clip."""
    clips = [clip([i, i + 1]) for i in range(8)]  # 28 pairs
    copies = clips + [clip([i, i + 1]) for i in range(8)]
    asked, random = [], np.random.default_rng(0)
    while queries := choose_queries(copies, 1, "random", None, random, known=asked):
        asked += [query.pair for query in queries]
    assert len(set(asked)) == len(asked) == 28 - DRAWN + 1
    assert all(len(pair) == 2 for pair in asked)
