"""The scored form: candidate goals ranked by their likelihood after a caption, less their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ellm_agent.goals.asking import Question
from ellm_agent.goals.base import Goal
from ellm_agent.llm.base import Answer
from prompts import scored

OWN = "its own likelihood"  # stands for the goal in the question about the neutral caption
NEUTRAL_WEIGHT = 16  # scenes for which the neutral caption counts in the mean over scenes


class ScoredQuestions:
    """One question for each caption: the log-likelihood of every candidate. Interface as ``asking.Questions``.

    The score of goal g in scene s is (log P(g | s) - b(g)) / words in g. The base rate b(g) is

    - *neutral*: log P(g | "You see nothing."): the score is then a pointwise mutual information;
    - *scenes*: the mean of log P(g | s') over the scenes so far, s included, beside the neutral caption, which counts
      as ``NEUTRAL_WEIGHT`` of them.

    Suggested are the best goals, or all above a threshold, the best first.

    Args:
        candidates: goals to score.
        base: "neutral" or "scenes".
        best: how many goals are suggested.
        threshold: the score above which goals are suggested, in place of ``best``; None: not used.
    """

    def __init__(
        self,
        candidates: Sequence[Goal],
        base: Literal["neutral", "scenes"] = "neutral",
        best: int = 5,
        threshold: float | None = None,
    ):
        self._goals, self._base, self._best, self._threshold = tuple(candidates), base, best, threshold
        self._words = np.array([len(goal.split()) for goal in self._goals])
        self._neutral: np.ndarray | None = None  # (goals,) log-likelihoods; empty: the model has none
        self._sum, self._scenes = np.zeros(len(self._goals)), 0  # over scenes
        self._waiting: dict[str, np.ndarray | None] = {}  # scored before the neutral caption was

    def about(self, caption: str) -> list[Question]:
        """The questions about a caption, and about the neutral one, that are not answered yet; at least one.

        A caption that waited for the neutral one, and was not asked about when that was answered, is asked about again.
        """
        questions = []
        if self._neutral is None:
            questions.append(Question(caption, OWN, scored.prompt(scored.NEUTRAL, self._goals)))
        if self._neutral is not None or caption not in self._waiting:
            questions.append(Question(caption, "", scored.prompt(caption, self._goals)))
        return questions

    def learn(self, question: Question, answer: Answer | None) -> tuple[bool, tuple[Goal, ...] | None]:
        """Reads an answer; None: an empty one or a refusal.

        Returns:
            Whether the caption is scored, and its goals; None: it has no likelihoods, or the neutral one has none.
        """
        values = None
        if answer is not None and all(text in answer.logprobs for text in question.prompt.continuations):
            values = np.array([answer.logprobs[text] for text in question.prompt.continuations])
        if question.goal == OWN:
            if self._neutral is None:
                self._neutral = np.zeros(0) if values is None else values
        else:
            self._waiting[question.caption] = values
        if question.caption not in self._waiting or self._neutral is None:
            return False, None
        values = self._waiting.pop(question.caption)
        known = values is not None and self._neutral.size > 0
        return True, self._suggested(self.score(values)) if known else None

    def score(self, values: np.ndarray) -> np.ndarray:
        """The scores of the candidates in a new scene, from their log-likelihoods: both ``(goals,)``."""
        base = self._neutral
        if self._base == "scenes":
            self._sum += values
            self._scenes += 1
            base = (NEUTRAL_WEIGHT * self._neutral + self._sum) / (NEUTRAL_WEIGHT + self._scenes)
        return (values - base) / self._words

    def _suggested(self, scores: np.ndarray) -> tuple[Goal, ...]:
        order = np.argsort(-scores, kind="stable")
        if self._threshold is None:
            chosen = order[: self._best]
        else:
            chosen = [i for i in order if scores[i] > self._threshold]
        return tuple(self._goals[i] for i in chosen)

    def partial_goals(self, caption: str) -> tuple[Goal, ...] | None:
        """None: a caption has all its scores at once."""
        return None

    def state_dict(self) -> dict[str, Any]:
        return {
            "neutral": _list(self._neutral),
            "sum": self._sum.tolist(),
            "scenes": self._scenes,
            "waiting": {caption: _list(values) for caption, values in self._waiting.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._neutral = _array(state["neutral"])
        self._sum, self._scenes = np.array(state["sum"]), state["scenes"]
        self._waiting = {caption: _array(values) for caption, values in state["waiting"].items()}


def _list(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else values.tolist()


def _array(values: Sequence[float] | None) -> np.ndarray | None:
    return None if values is None else np.array(values)
