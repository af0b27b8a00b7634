"""The loop: collect clips, choose queries, ask the judge, fit the reward, train on.

Everything that a checkpoint must keep is in :class:`TaughtReward`, so that a resumed run asks and learns the same. The
:class:`Teaching` callback gives it a turn between two collections of experience.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from ellm_agent.errors import UserError
from ellm_agent.llm.base import LanguageModelError
from ellm_agent.preferences.clips import Clip, ClipRecorder
from ellm_agent.preferences.judges import Judge, LaterJudge
from ellm_agent.preferences.labels import PREFERRED, Choice, LabelFile
from ellm_agent.preferences.queries import Pair, Query, choose_queries, labels_due
from ellm_agent.records import Transitions
from ellm_agent.rewards.base import TransitionReward
from ellm_agent.rewards.preference import PreferenceReward
from ellm_agent.rewards.preference_model import agreement, preference_probability

TURNS = 50  # fits in a run, about; where judges answer at once
OFFERED = 8  # queries that wait for a judge who answers later
PAUSE = 0.05  # seconds between two looks at the number of answers
SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.16  # shares of all frames without questions, after failures
LAST_TRY = 0.98  # share of all frames after which no pause ends
RELABELLED = 2**13  # transitions at a time


class TaughtReward(TransitionReward):
    """A reward that is learned from a judge's preferences while an agent collects experience with it.

    Args:
        reward: scores transitions, and learns.
        recorder: cuts the experience into clips.
        judge: compares clips.
        labels: what judges have answered; answers that are there already are not asked for again.
        count: labels in the whole run.
        total_frames: of the whole run.
        how: queries are chosen.
        seed: of all draws.
        clips: to begin with, such as those of another run's recordings.
    """

    def __init__(
        self,
        reward: PreferenceReward,
        recorder: ClipRecorder,
        judge: Judge,
        labels: LabelFile,
        count: int,
        total_frames: int,
        how: Literal["disagreement", "random"],
        seed: int,
        clips: Sequence[Clip] = (),
    ):
        self._reward, self._recorder, self.judge, self._labels = reward, recorder, judge, labels
        self.count, self._total_frames, self._how = count, total_frames, how
        self._random = np.random.default_rng(seed)
        self._asked: list[Pair] = []  # of judges who answer at once
        self._pause, self._paused_until = 0, 0  # frames; after failures of theirs
        self._turn_at = -total_frames  # frames at the last fit; of judges who answer later
        self._fitted_changes = 0  # of theirs, at the last fit
        self._log: dict[str, float] = {}
        self._curve: list[list[float]] = []  # pairs of labels, and the share of held-out choices predicted
        for clip in clips:
            recorder.keep(clip)

    # --- as a transition reward ---------------------------------------------------------------------------------------

    def reset(self, observations: np.ndarray) -> None:
        self._recorder.begin()

    def reward(self, transitions: Transitions) -> np.ndarray:
        self._recorder.add(transitions)
        return self._reward.reward(transitions)

    def score(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Rewards of transitions by the present model, ``(n,)`` float32."""
        return self._reward.score(before, after)

    def metrics(self) -> dict[str, float]:
        """The model's figures; labels given; the correlation of predicted and true returns of clips that it had not seen."""
        return {
            **self._reward.metrics(),
            **self.judge.metrics(),
            "preference/labels": float(len(self._labels)),
            **self._log,
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "reward": self._reward.state_dict(),
            "recorder": self._recorder.state_dict(),
            "asked": [sorted(pair) for pair in self._asked],
            "turn_at": self._turn_at,
            "pause": [self._pause, self._paused_until],
            "random": self._random.bit_generator.state,
            "log": dict(self._log),
            "curve": [list(point) for point in self._curve],
            "judge": self.judge.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._reward.load_state_dict(state["reward"])
        self._recorder.load_state_dict(state["recorder"])
        self._asked, self._turn_at = list(map(frozenset, state["asked"])), state["turn_at"]
        self._pause, self._paused_until = state.get("pause", (0, 0))  # up to 0.13.0 there was none
        self._random.bit_generator.state = state["random"]
        self._log = dict(state["log"])
        self._curve = [list(point) for point in state["curve"]]
        self.judge.load_state_dict(state.get("judge", {}))

    def close(self) -> None:
        self.judge.close()

    # --- the loop -----------------------------------------------------------------------------------------------------

    def due(self, frames: int) -> bool:
        """Whether ``teach`` has something to do."""
        if isinstance(self.judge, LaterJudge):
            new = self.judge.changes != self._fitted_changes and len(self._recorder.clips) > 0
            return (new and frames - self._turn_at >= self._total_frames // (2 * TURNS)) or self._offers(
                frames
            ) > 0
        if frames < self._paused_until:
            return False
        wanted = labels_due(frames, self._total_frames, self.count) - len(self._asked)
        return wanted >= max(1, self.count // TURNS) or 0 < wanted == self.count - len(self._asked)

    def behind(self, frames: int) -> bool:
        """Whether fewer labels have been given than the schedule asks for."""
        return len(self._labels) < labels_due(frames, self._total_frames, self.count)

    def teach(self, frames: int) -> bool:
        """Asks, and learns from the answers; whether the reward has changed."""
        if isinstance(self.judge, LaterJudge):
            return self._teach_later(self.judge, frames)
        wanted = labels_due(frames, self._total_frames, self.count) - len(self._asked)
        before = self._random.bit_generator.state
        queries = self._choose(wanted, self._asked)
        if not queries:
            return False
        self._note_correlation()
        try:
            choices = self._answers(queries)
        except (LanguageModelError, UserError) as error:
            # Raised when a checkpoint has been saved, with which the same questions are asked.
            self.failure = error
            self._random.bit_generator.state = before
            return False
        answered = [query for query in queries if query.key in choices]
        if not answered:
            self._note_failure(frames)
            return False
        self._asked += [query.pair for query in answered]
        for query in answered:
            self._put(query, choices[query.key])
        self._pause = 0
        return self._fit()

    def _note_failure(self, frames: int) -> None:
        """Asks nothing for a while, each time twice as long: a server that is down must not hold up training."""
        shortest, longest = (round(share * self._total_frames) for share in (SHORTEST_PAUSE, LONGEST_PAUSE))
        self._pause = min(2 * self._pause or shortest, longest)
        last = round(LAST_TRY * self._total_frames)
        self._paused_until = min(frames + self._pause, last) if frames < last else self._total_frames

    def _teach_later(self, judge: LaterJudge, frames: int) -> bool:
        """Learns from the labels that are there, and offers new queries."""
        changes = judge.changes
        fits = changes != self._fitted_changes
        if fits:
            self._note_correlation()
            self._learn_all()
            fits = self._fit()
            self._fitted_changes, self._turn_at = changes, frames
            if "preference/held_out_accuracy" in self._reward.metrics():
                point = [len(self._labels), self._reward.metrics()["preference/held_out_accuracy"]]
                self._curve.append(point)
        waiting = judge.waiting  # looked at first: a query is answered at any time
        known = [query.pair for query in (*(label.query for label in self._labels.labels), *waiting)]
        judge.offer(self._choose(self._offers(frames), known))
        judge.progress = {"curve": list(self._curve), **self.metrics()}
        self.note_frames(frames)
        return fits

    def note_frames(self, frames: int, finished: bool = False) -> None:
        """Tells a judge who answers later how far the agent is, and whether that is all."""
        if isinstance(self.judge, LaterJudge):
            self.judge.progress = {**self.judge.progress, "frames": frames, "total": self._total_frames}
            self.judge.finished = finished

    def _offers(self, frames: int) -> int:
        """New queries for a judge who answers later."""
        few = len(self.judge.waiting) <= OFFERED // 2 and len(self._recorder.clips) > 1
        return min(OFFERED, self.count - len(self._labels)) if few else 0

    def _choose(self, count: int, known: Collection[Pair]) -> list[Query]:
        clips, later = self._recorder.candidates, isinstance(self.judge, LaterJudge)
        return choose_queries(clips, count, self._how, self._reward, self._random, known, varied=later)

    def _answers(self, queries: Sequence[Query]) -> Mapping[str, Choice]:
        """All of the judge's answers so far, by query, which are on the disk; those that are there already are not asked
        for again."""
        choices = self._labels.choices
        for label in self.judge.judge([query for query in queries if query.key not in choices]):
            self._labels.append(label)
        return choices

    def _put(self, query: Query, choice: Choice) -> None:
        preferred = PREFERRED[choice]
        if preferred is not None:
            self._reward.put(query.key, query.left.observations, query.right.observations, preferred)

    def _learn_all(self) -> None:
        """Learns from exactly the labels in the file: some may have been taken back, and some given after a checkpoint."""
        labels = self._labels.labels
        for name in set(self._reward.names) - {
            label.query.key for label in labels if PREFERRED[label.choice] is not None
        }:
            self._reward.drop(name)
        for label in labels:
            self._put(label.query, label.choice)

    def _fit(self) -> bool:
        """Whether the reward has changed."""
        clips = np.stack([clip.observations for clip in self._recorder.clips])
        if not len(self._reward):
            return False
        self._reward.fit(clips)
        totals = self._reward.returns(clips)
        probability = preference_probability(
            totals[:, : len(clips) // 2, None], totals[:, -(len(clips) // 2) :, None]
        )
        self._log["preference/agreement"] = agreement(probability).item()
        return True

    def _note_correlation(self) -> None:
        """Pearson's, over clips that are in no comparison."""
        compared = {key for name in self._reward.names for key in name.split("-")}
        clips = [clip for clip in self._recorder.clips if clip.key not in compared]
        if len(clips) < 2 or not len(self._reward):
            return
        predicted = self._reward.predicted_returns(np.stack([clip.observations for clip in clips]))
        true = np.array([clip.total for clip in clips])
        if predicted.std() > 0 and true.std() > 0:
            self._log["preference/correlation"] = float(np.corrcoef(predicted, true)[0, 1])


class Teaching(BaseCallback):
    """Gives the learned reward its turn between two collections of experience, and replays the new rewards.

    An off-policy agent's replay keeps the reward that a transition had when it was new: after each fit, ``weight`` times
    the change of the model's reward is added to all of them (as in PEBBLE, Lee et al. 2021).

    Args:
        taught: the learned reward.
        weight: of the learned reward in the agent's reward.
        pace: seconds by which a rollout begins later, at most, while fewer answers have been given than are due.
    """

    def __init__(self, taught: TaughtReward, weight: float, pace: float):
        super().__init__()
        self._taught, self._weight, self._pace = taught, weight, pace

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        frames, taught = self.num_timesteps, self._taught
        taught.note_frames(frames)
        if isinstance(taught.judge, LaterJudge):
            self._wait(frames)
        if not taught.due(frames):
            return
        replay = getattr(self.model, "replay_buffer", None)
        before = None if replay is None else self._scores(replay)
        if taught.teach(frames) and replay is not None:
            replay.rewards[: len(before)] += self._weight * (self._scores(replay) - before)

    def _on_training_end(self) -> None:  # not reached by a run that is stopped
        self._taught.note_frames(self.num_timesteps, finished=True)

    def _wait(self, frames: int) -> None:
        deadline = time.monotonic() + self._pace
        while self._taught.behind(frames) and time.monotonic() < deadline:
            time.sleep(PAUSE)

    def _scores(self, replay: Any) -> np.ndarray:
        """The model's rewards of all transitions in a replay, ``(steps, n_envs)``."""
        filled = replay.size()
        before, after = (
            part[:filled].reshape(-1, *part.shape[2:])
            for part in (replay.observations, replay.next_observations)
        )
        places = range(0, len(before), RELABELLED)
        parts = [self._taught.score(before[i : i + RELABELLED], after[i : i + RELABELLED]) for i in places]
        return np.concatenate([*parts, np.zeros(0, np.float32)]).reshape(filled, -1)
