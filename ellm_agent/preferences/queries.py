"""Which pairs of clips to ask about, and when."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ellm_agent.preferences.clips import Clip
from ellm_agent.rewards.preference import PreferenceReward
from ellm_agent.rewards.preference_model import disagreement, preference_probability

RECENT = 12  # queries before, whose clips people are not shown again
DRAWN = 10  # pairs drawn for each one that is asked about (Christiano et al. 2017, appendix A)
FIRST_LABELS = 0.25  # share of the labels that are asked for before the reward has been fitted (appendix A.1)
FIRST_FRAMES = 0.02  # share of all frames played until then
LAST_FRAMES = 0.9  # share of all frames after which all labels have been asked for
HALVED = 0.2  # share of all frames after which half as many labels are asked for in each frame

Pair = frozenset[str]


@dataclass(frozen=True, eq=False)
class Query:
    """Two clips to compare."""

    left: Clip
    right: Clip

    @property
    def key(self) -> str:
        """A name that other queries do not have."""
        return f"{self.left.key}-{self.right.key}"

    @property
    def pair(self) -> Pair:
        """Names of its clips, which the same query with left and right exchanged has, too."""
        return frozenset((self.left.key, self.right.key))


def labels_due(frames: int, total_frames: int, labels: int) -> int:
    """Labels that are to be asked for until a frame.

    None until 2 % of all frames, then a quarter at once; after that their rate falls as h / (t + h), as published
    (2e6 / (t + 2e6) there), h being 20 % of all frames, so that all have been asked for at 90 % of the frames:

        n(t) = n0 + (n - n0) log(1 + t / h) / log(1 + T / h)

    Args:
        frames: played so far.
        total_frames: of the run.
        labels: of the run.
    """
    start, half, end = (round(share * total_frames) for share in (FIRST_FRAMES, HALVED, LAST_FRAMES))
    if frames < start:
        return 0
    first = math.ceil(FIRST_LABELS * labels)
    share = math.log1p((frames - start) / max(half, 1)) / math.log1p(max(end - start, 1) / max(half, 1))
    return min(labels, first + int((labels - first) * share))


def choose_queries(
    clips: Sequence[Clip],
    count: int,
    how: Literal["disagreement", "random"],
    reward: PreferenceReward,
    random: np.random.Generator,
    known: Collection[Pair] = (),
    varied: bool = False,
) -> list[Query]:
    """Pairs of clips: random ones, or of ten times as many those on which the ensemble's members differ most.

    Args:
        clips: to choose from.
        count: of the queries, at most; fewer where there are not enough clips.
        how: "disagreement" or "random".
        reward: with the ensemble.
        random: of all draws.
        known: pairs that are not chosen, since they have been asked about, in that order.
        varied: for people, who wonder when they see one clip again and again: each is in few of the queries and of the
            latest ones before. The learned reward does not gain by it (docs/log.md).
    """
    clips = list({clip.key: clip for clip in clips}.values())
    place, n = {clip.key: i for i, clip in enumerate(clips)}, len(clips)
    new = np.ones((n, n), bool)
    for one, other in known:
        if one in place and other in place:
            new[place[one], place[other]] = new[place[other], place[one]] = False
    candidates = np.argwhere(np.tril(new, -1))  # (pairs, 2), the later one first
    count = min(count, len(candidates) // DRAWN)
    if count < 1:
        return []
    pairs = candidates[random.choice(len(candidates), count * DRAWN, replace=False)]  # (drawn, 2)
    pairs = random.permuted(pairs, axis=1)  # the later one is not always on the same side
    if how == "disagreement":
        totals = reward.returns(np.stack([clip.observations for clip in clips]))  # (members, n)
        probability = preference_probability(totals[:, pairs[:, :1]], totals[:, pairs[:, 1:]])
        order = np.argsort(-disagreement(probability).numpy(), kind="stable")
        recent = Counter(key for pair in list(known)[-RECENT:] for key in pair) if varied else Counter()
        uses = {place[key]: times for key, times in recent.items() if key in place}
        pairs = _varied(pairs[order], count, 1 + 2 * count // n, uses) if varied else pairs[order]
    return [Query(clips[a], clips[b]) for a, b in pairs[:count]]


def _varied(pairs: np.ndarray, count: int, most: int, used: Mapping[int, int]) -> np.ndarray:
    """The first pairs in which no clip is more than so many times, its uses before counted, too; after them the others, in
    their order.
    """
    uses, taken, others = Counter(used), [], []
    for a, b in pairs.tolist():
        fits = len(taken) < count and max(uses[a], uses[b]) < most
        (taken if fits else others).append((a, b))
        uses.update((a, b) if fits else ())
    return np.array(taken + others)
