"""A prior over actions from language: which actions do what the open goals say.

A world says in words what each action means where its caption holds a clause (``Language.action_meanings``). Where such a
meaning matches an open goal, the policy starts with a preference for the action, which it can unlearn. Not part of ELLM
as published.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numba import njit
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import nn

from ellm_agent.text.phrases import PhraseTable
from envs.interface import Language

SUPPORTING = 1 / 2  # feature of an action that only brings a goal closer; that of one that is the goal is 1


class ActionPrior:
    """Features of observations, one for each action: how well its meaning there matches the open goals.

    A feature is 1 where an open goal and a meaning of the action are similar (as an event and a goal are for the reward),
    ``SUPPORTING`` where the meaning only brings an open goal closer (``Language.supporting``), else 0. An action that leads
    nowhere has only the meaning that ``Language.blocked`` leaves to it, or none. Features are computed from observed
    phrases alone, so they hold nothing that the agent does not observe.

    Args:
        phrases: the table of observed phrases.
        language: of the worlds.
        prefix: of a goal among observed phrases.
        similar: (meaning, goal) -> whether they are the same for the reward; None: if they have one spelling. In worlds with
            tens of thousands of goals it would take long to compare each with all meanings.
        actions: number of actions.
    """

    def __init__(
        self,
        phrases: PhraseTable,
        language: Language,
        prefix: str,
        similar: Callable[[str, str], bool] | None,
        actions: int,
    ):
        self.actions = actions
        self._phrases, self._language, self._prefix, self._similar = phrases, language, prefix, similar
        meanings = {meaning: None for pairs in language.action_meanings.values() for _, meaning in pairs}
        self._meanings = {meaning: i for i, meaning in enumerate(meanings)}
        always = np.array(self._pairs(""), np.int64).reshape(-1, 2)
        self._always = (
            always[:, 0].copy(),
            always[:, 1].copy(),
        )  # meanings and actions that hold in every state
        # What a phrase wants (if it is a goal) and what it says about actions (if it is a clause): rows of a
        # meaning and a feature, and of a meaning and an action, for each phrase.
        self._wants = _Rows(np.float32)
        self._says = _Rows(np.int64)
        self._blocks = _Rows(np.int64)  # rows of a phrase, a meaning or -1, and an action

    def features(self, observations: torch.Tensor) -> torch.Tensor:
        """Phrase ids ``(batch, slots)`` -> features ``(batch, actions)`` in [0, 1]."""
        for phrase in range(len(self._wants), len(self._phrases)):
            text = self._phrases.text(phrase)
            self._wants.append(
                self._wanted(text.removeprefix(self._prefix)) if text.startswith(self._prefix) else ()
            )
            self._says.append(self._pairs(text) if text else ())
            self._blocks.append(self._blocked(text))
        out = np.zeros((len(observations), self.actions), np.float32)
        ids = observations.detach().cpu().numpy()
        tables = (rows.arrays() for rows in (self._wants, self._says, self._blocks))
        _match(ids, *itertools.chain(*tables), *self._always, len(self._meanings), out)
        return torch.from_numpy(out).to(observations.device)

    def _pairs(self, clause: str) -> list[tuple[int, int]]:
        """Meanings and actions of a clause."""
        pairs = self._language.action_meanings.get(clause, ())
        return [(self._meanings[meaning], action) for action, meaning in pairs]

    def _blocked(self, clause: str) -> list[tuple[int, int]]:
        """The meaning that is left (-1: none) and the action that a clause says leads nowhere."""
        if clause not in self._language.blocked:
            return []
        action, meaning = self._language.blocked[clause]
        return [(self._meanings.get(meaning, -1), action)]

    def _wanted(self, goal: str) -> list[tuple[int, float]]:
        """Meanings that match a goal, each with its feature."""
        found: dict[int, float] = {}
        if self._similar is None:
            spelling = self._language.canonical(goal)
            helpful = self._language.supporting.get(spelling, ())
            found = {self._meanings[m]: SUPPORTING for m in helpful if m in self._meanings}
            return list(
                (found | {self._meanings[m]: 1.0 for m in (spelling,) if m in self._meanings}).items()
            )
        for known, supporting in self._language.supporting.items():
            if self._similar(known, goal):
                found |= {self._meanings[m]: SUPPORTING for m in supporting if m in self._meanings}
        for meaning, number in self._meanings.items():
            if self._similar(meaning, goal):
                found[number] = 1.0
        return list(found.items())


class _Rows:
    """Lists of pairs, one for each phrase, as arrays that compiled code reads. They grow without a copy each time."""

    def __init__(self, dtype: type):
        self._starts, self._first, self._second = (
            np.zeros(1, np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, dtype),
        )
        self._phrases = 0

    def __len__(self) -> int:
        return self._phrases

    def append(self, pairs: Sequence[tuple[int, float]]) -> None:
        start = self._starts[self._phrases]
        end = start + len(pairs)
        self._phrases += 1
        self._starts = _with_room(self._starts, self._phrases + 1)
        self._starts[self._phrases] = end
        if pairs:
            self._first, self._second = _with_room(self._first, end), _with_room(self._second, end)
            self._first[start:end], self._second[start:end] = zip(*pairs, strict=True)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(phrases + 1,)`` starts, and the two columns of all pairs; behind them is unused room."""
        return self._starts, self._first, self._second


def _with_room(array: np.ndarray, count: int) -> np.ndarray:
    """The array, twice as long if it has no room for so many."""
    return array if count <= len(array) else np.concatenate([array, np.zeros(max(count, 64), array.dtype)])


@njit(cache=True, nogil=True)
def _match(
    ids,
    goals,
    wanted,
    features,
    clauses,
    said,
    actions,
    blocks,
    left,
    blocked,
    always,
    always_actions,
    meanings,
    out,
):
    """``out[r, a]`` = the largest feature of an open goal's meaning that action ``a`` has in row ``r``."""
    wants = np.zeros(meanings, np.float32)
    for r in range(ids.shape[0]):
        any_goal = False
        for s in range(ids.shape[1]):
            phrase = ids[r, s]
            for k in range(goals[phrase], goals[phrase + 1]):
                wants[wanted[k]] = max(wants[wanted[k]], features[k])
                any_goal = True
        if not any_goal:
            continue
        for k in range(len(always)):
            out[r, always_actions[k]] = max(out[r, always_actions[k]], wants[always[k]])
        for s in range(ids.shape[1]):
            phrase = ids[r, s]
            for k in range(clauses[phrase], clauses[phrase + 1]):
                out[r, actions[k]] = max(out[r, actions[k]], wants[said[k]])
        for s in range(ids.shape[1]):
            phrase = ids[r, s]
            for k in range(blocks[phrase], blocks[phrase + 1]):
                out[r, blocked[k]] = wants[left[k]] if left[k] >= 0 else 0
        for s in range(ids.shape[1]):
            phrase = ids[r, s]
            for k in range(goals[phrase], goals[phrase + 1]):
                wants[wanted[k]] = 0


@torch.no_grad()
def start_from_prior(policy: BasePolicy, strength: float) -> None:
    """Lets a policy, or a Q function, start with a preference for the actions that the features name.

    Args:
        policy: whose text encoder has an :class:`ActionPrior`: the last features are its.
        strength: weight of an action's own feature at the start, in logits, or in units of Q.
    """
    actor_critic = isinstance(policy, ActorCriticPolicy)
    heads: Sequence[nn.Linear] = [policy.action_net] if actor_critic else policy.advantage_heads
    for head in heads:
        actions = head.out_features
        if not actor_critic:  # its random advantages would be many times the prior
            head.weight.zero_()
            head.bias.zero_()
        head.weight[:, -actions:] = strength * torch.eye(actions, device=head.weight.device)
