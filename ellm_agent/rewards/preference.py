"""A reward learned from preferences between two clips (Christiano et al. 2017): what it reads, and how it learns.

Knows nothing of who prefers, of which clips are asked about, and of worlds: it reads phrase ids. Equations and networks are in
``preference_model``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ellm_agent.records import Transitions
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.preference_model import (
    RewardEnsemble,
    adapted_penalty,
    ensemble_deviation,
    normalised,
    preference_loss,
    preference_probability,
    softened,
)
from ellm_agent.text.embedding_bag import PADDING, sum_of_rows
from ellm_agent.text.sentence_bert import DIMENSIONS
from ellm_agent.text.whitening import PhraseFeatures

FIRST_PENALTY = 1e-3
# Weights of a transition's parts. Events explain more than states do, by fewer phrases: with a weight of 1, which leaves
# them vectors of length .4, an event that is in few comparisons was worth a third of the others (docs/log.md).
EVENT_WEIGHT = 4.0
CHANGE_WEIGHT = 0.3  # of new phrases that name no event: in Crafter most say where things are seen now
STATE_WEIGHT = 0.1


def new_phrases(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The phrases that a transition brought: those of the state after it that were not there before, 0 elsewhere.

    Args:
        before: phrase ids, ``(n, slots)``.
        after: likewise.
    """
    return np.where((after[:, :, None] == before[:, None, :]).any(-1), PADDING, after)


@dataclass
class Comparison:
    """Two clips that were compared.

    Attributes:
        observations: phrase ids of the states of the left and of the right clip, ``(2, frames + 1, slots)``.
        vectors: of their transitions, ``(2, frames, inputs)`` float16.
        preferred: mu.
        counts: how often each member sees it: drawn from Poisson(1), which is a bootstrap resample of n among n while n
            grows (Oza and Russell 2001). Where it is 0, for 1/e of all, the comparison is held out.
    """

    observations: np.ndarray
    vectors: torch.Tensor
    preferred: float
    counts: torch.Tensor


class PreferenceReward(TransitionReward):
    """The mean of an ensemble's normalised rewards, and what is added for exploration; 0 until it has been fitted.

    Added are the members' deviation, times ``optimism``, and for each event that happens ``event_bonus`` / sqrt(1 + n), where
    the compared clips hold it n times: what few comparisons are about is tried, before its worth is known.

    A transition's vector is 0.1 times the sum of the vectors of the phrases of the state that it leads to, and, behind it,
    the sum of those of the phrases that are new there: 4 times of those about events, and 0.3 times of the others. Goals
    are not among them: a reward is for what happens.

    Args:
        features: vectors of the phrases.
        slots: the first phrases of an observation, which are read.
        members: networks of the ensemble.
        hidden: units of their hidden layer.
        learning_rate: Adam step size.
        batch_size: comparisons in a gradient step.
        steps: gradient steps in each ``fit``, at least; passes over the comparisons are whole.
        seed: of first weights, resamples and batches.
        events: of these phrases, those that name events.
        optimism: weight of the members' deviation in the reward. What the comparisons do not decide is worth more for it.
        event_bonus: of an event that no compared clip holds, in deviations of the reward.
    """

    def __init__(
        self,
        features: PhraseFeatures,
        slots: int,
        members: int = 3,
        hidden: int = 64,
        learning_rate: float = 1e-3,
        batch_size: int = 32,
        steps: int = 40,
        seed: int = 0,
        events: slice = slice(None),
        optimism: float = 0.0,
        event_bonus: float = 0.0,
    ):
        self._features, self.slots, self._events = features, slots, events
        self._members, self._batch_size, self._steps = members, batch_size, steps
        self._optimism, self._event_bonus = optimism, event_bonus
        self._event_counts = np.zeros(
            0, int
        )  # by phrase: happened so often in the compared clips, at the last fit
        self._generator = torch.Generator().manual_seed(seed)
        self._ensemble = RewardEnsemble(members, 2 * DIMENSIONS, hidden, self._generator)
        self._optimizer = torch.optim.Adam(self._ensemble.parameters(), lr=learning_rate)
        self._comparisons: dict[str, Comparison] = {}  # by name
        self._penalty = torch.full((members,), FIRST_PENALTY)
        self._zeros, self._deviations = torch.zeros(members), torch.ones(members)
        self._fitted = False
        self._log: dict[str, float] = {}

    # --- scores -------------------------------------------------------------------------------------------------------

    def reward(self, transitions: Transitions) -> np.ndarray:
        return self.score(transitions.observations, transitions.next_observations)

    def score(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Rewards of transitions, ``(n,)`` float32, from observations ``(n, slots or more)``."""
        own = self._normalised(self.vectors(before, after))
        return (own.mean(0) + self._optimism * ensemble_deviation(own)).numpy() + self._bonus(before, after)

    def _bonus(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Of the events of transitions, ``(n,)`` float32; 0 until the first fit."""
        if not self._fitted or not self._event_bonus:
            return np.zeros(len(after), np.float32)
        events = self._new_events(before, after)
        counts = np.zeros(max(int(events.max(initial=0)) + 1, len(self._event_counts)))
        counts[: len(self._event_counts)] = self._event_counts
        return np.where(events == PADDING, 0, self._event_bonus / np.sqrt(1 + counts[events])).sum(
            1, dtype=np.float32
        )

    def _new_events(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Phrase ids of the events that happened between states, ``(n, events)``, 0 elsewhere."""
        return new_phrases(before[:, : self.slots], after[:, : self.slots][:, self._events])

    def returns(self, clips: np.ndarray) -> torch.Tensor:
        """Sums of each member's own rewards over clips: ``(n, frames + 1, slots) -> (members, n)``."""
        with torch.no_grad():
            frames = clips.shape[1] - 1
            return self._ensemble(self._clip_vectors(clips)).unflatten(1, (len(clips), frames)).sum(2)

    def predicted_returns(self, clips: np.ndarray) -> np.ndarray:
        """Sums of the mean rewards, without what is added for exploration, over clips: ``(n, frames + 1, slots) -> (n,)``."""
        own = self._normalised(self._clip_vectors(clips))
        return own.mean(0).reshape(len(clips), -1).sum(1).numpy()

    def _normalised(self, vectors: torch.Tensor) -> torch.Tensor:
        """Each member's rewards of transitions, ``(members, n)``; 0 until it has been fitted."""
        if not self._fitted:
            return torch.zeros(self._members, len(vectors))
        with torch.no_grad():
            return normalised(self._ensemble(vectors), self._zeros, self._deviations)

    # --- learning -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Comparisons that it has learned from, or will."""
        return len(self._comparisons)

    @property
    def names(self) -> tuple[str, ...]:
        """Of these comparisons."""
        return tuple(self._comparisons)

    def put(self, name: str, left: np.ndarray, right: np.ndarray, preferred: float) -> None:
        """Adds a comparison, or changes what was preferred in the one of that name.

        Args:
            name: of the comparison.
            left: observations of the left clip, ``(frames + 1, slots)``.
            right: of the right one.
            preferred: 1: left; 0: right; 0.5: a tie.
        """
        if name in self._comparisons:
            self._comparisons[name].preferred = preferred
            return
        pair = np.stack([left, right])
        counts = torch.poisson(torch.ones(self._members), generator=self._generator)
        self._comparisons[name] = Comparison(pair, self._pair_vectors(pair), preferred, counts)

    def drop(self, name: str) -> None:
        """Takes a comparison back, if it is there."""
        self._comparisons.pop(name, None)

    def fit(self, clips: np.ndarray) -> None:
        """Learns from the comparisons, going on from the present weights.

        Args:
            clips: recent ones, ``(n, frames + 1, slots)``: over their transitions each member's rewards have median 0
                and deviation 1 afterwards. The paper has mean 0, which preferences between clips of one length do not
                decide. Most transitions bring nothing: with a mean of 0 each of them would be worth something, and
                an agent lives longer or shorter for it.
        """
        if not self._comparisons:
            return
        batches = math.ceil(len(self._comparisons) / self._batch_size)
        for _ in range(math.ceil(self._steps / batches)):
            self._pass()
        with torch.no_grad():
            rewards = self._ensemble(self._clip_vectors(clips))  # (members, n * frames)
        self._zeros = rewards.median(1).values
        self._deviations = rewards.std(1, unbiased=False).clamp(min=1e-6)
        compared = np.concatenate([comparison.observations for comparison in self._comparisons.values()])
        events = self._new_events(
            *(part.reshape(-1, self.slots) for part in (compared[:, :-1], compared[:, 1:]))
        )
        self._event_counts = np.bincount(events[events != PADDING])
        self._fitted = True

    def _pass(self) -> None:
        """One pass over the comparisons, and the penalties' adaption to its losses."""
        compared = list(self._comparisons.values())
        seen = torch.stack([comparison.counts for comparison in compared], 1)  # (members, n)
        preferred = torch.tensor([comparison.preferred for comparison in compared])
        losses = torch.zeros_like(seen)  # (members, n), each before the step that used it
        hits = torch.zeros_like(seen)
        for batch in torch.randperm(len(preferred), generator=self._generator).split(self._batch_size):
            pairs = torch.stack([compared[i].vectors for i in batch.tolist()])  # (b, 2, frames, inputs)
            rewards = self._ensemble(pairs.flatten(0, 2).float()).unflatten(1, pairs.shape[:3])
            probability = preference_probability(rewards[:, :, 0], rewards[:, :, 1])  # (members, b)
            loss = preference_loss(softened(probability), preferred[batch])
            total = (seen[:, batch] * loss).mean(1) + self._penalty * self._ensemble.norms()
            self._optimizer.zero_grad()
            total.sum().backward()
            self._optimizer.step()
            losses[:, batch] = loss.detach()
            hits[:, batch] = ((probability > 0.5) == (preferred[batch] > 0.5)).float()
        held_out, decided = (seen == 0).float(), (preferred != 0.5).float()
        training = (seen * losses).sum(1) / seen.sum(1)
        validation = (held_out * losses).sum(1) / held_out.sum(1)
        self._penalty = adapted_penalty(self._penalty, training, validation)
        right = (held_out * decided * hits).sum() / (held_out * decided).sum()
        parts = {"loss": training.mean(), "held_out_loss": validation.mean(), "held_out_accuracy": right}
        # Without comparisons of a kind there is no mean of them, and no figure.
        self._log = {name: value.item() for name, value in parts.items() if not value.isnan()}
        self._log["penalty"] = self._penalty.mean().item()

    def metrics(self) -> dict[str, float]:
        """Losses on the comparisons that members learn from and on those that they do not, the share of these that they
        get right (ties apart), and the l2 penalty: means over the members, in the last pass."""
        figures = {f"preference/{name}": value for name, value in self._log.items()}
        return {"preference/comparisons": float(len(self._comparisons)), **figures}

    # --- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "ensemble": self._ensemble.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "comparisons": {
                name: [torch.from_numpy(comparison.observations), comparison.preferred, comparison.counts]
                for name, comparison in self._comparisons.items()
            },
            "penalty": self._penalty,
            "zeros": self._zeros,
            "deviations": self._deviations,
            "fitted": self._fitted,
            "event_counts": self._event_counts.tolist(),
            "generator": self._generator.get_state(),
            "log": dict(self._log),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._ensemble.load_state_dict(state["ensemble"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._comparisons = {
            name: Comparison(pair.numpy(), self._pair_vectors(pair.numpy()), preferred, counts)
            for name, (pair, preferred, counts) in state["comparisons"].items()
        }
        self._penalty, self._zeros = state["penalty"], state["zeros"]
        self._deviations, self._fitted = state["deviations"], state["fitted"]
        self._event_counts = np.array(state.get("event_counts", []), int)
        if "event_counts" not in state:  # up to 0.12.0 there was no bonus
            self._event_bonus = 0.0
        self._generator.set_state(state["generator"])
        self._log = dict(state["log"])

    # --- vectors ------------------------------------------------------------------------------------------------------

    def vectors(self, before: np.ndarray, after: np.ndarray) -> torch.Tensor:
        """Of transitions, ``(n, 768)``: the state that each leads to, and the event."""
        before, after = before[:, : self.slots], after[:, : self.slots]
        changes, events = new_phrases(before, after), np.zeros_like(after)
        events[:, self._events] = changes[:, self._events]
        changes[:, self._events] = PADDING
        table = self._features.tensor
        state, change, event = (
            sum_of_rows(table, torch.from_numpy(part.astype(np.int32))) for part in (after, changes, events)
        )
        return torch.cat([STATE_WEIGHT * state, EVENT_WEIGHT * event + CHANGE_WEIGHT * change], 1)

    def _clip_vectors(self, clips: np.ndarray) -> torch.Tensor:
        """Of all transitions of clips, ``(n * frames, 768)``."""
        width = clips.shape[2]
        return self.vectors(clips[:, :-1].reshape(-1, width), clips[:, 1:].reshape(-1, width))

    def _pair_vectors(self, pair: np.ndarray) -> torch.Tensor:
        return self._clip_vectors(pair).half().unflatten(0, (2, pair.shape[1] - 1))  # (2, frames, 768)
