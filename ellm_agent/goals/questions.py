"""Questions about a caption in open and in closed form, and the goals in their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ellm_agent.goals.base import Goal
from ellm_agent.llm.base import Answer, Prompt
from envs.interface import Language
from prompts import closed_form, open_ended


class Question(NamedTuple):
    """One question to a language model.

    Attributes:
        caption: that it is about.
        goal: that it is about; "" in open form.
        prompt: its text.
    """

    caption: str
    goal: Goal
    prompt: Prompt


class OpenQuestions:
    """One question for each caption, answered by a list of goals.

    Args:
        language: of the world.
        temperature: of sampling; None: the prompt's.
        structured: whether to ask for answers that follow a JSON schema.
    """

    def __init__(self, language: Language, temperature: float | None, structured: bool):
        self._language, self._structured = language, structured
        self._temperature = open_ended.TEMPERATURE if temperature is None else temperature

    def about(self, caption: str) -> list[Question]:
        """The questions about a caption that are not answered yet."""
        prompt = open_ended.prompt(caption, self._language, self._structured, self._temperature)
        return [Question(caption, "", prompt)]

    def learn(self, question: Question, answer: Answer | None) -> tuple[bool, tuple[Goal, ...] | None]:
        """Reads an answer; None: an empty one or a refusal.

        Returns:
            Whether the caption's questions are all answered, and the goals so far. No goals are (), and None if all
            answers were empty or refusals.
        """
        return True, open_ended.parse(answer.text) if answer else None

    def partial_goals(self, caption: str) -> tuple[Goal, ...] | None:
        """Goals of a caption whose questions are not all answered; None: no answers, or only empty ones and refusals."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``."""


class ClosedQuestions(OpenQuestions):
    """A yes/no question for each caption and candidate; goals are the candidates with P(yes) > 0.5.

    Args:
        language: of the world.
        candidates: goals that are asked about.
    """

    def __init__(self, language: Language, candidates: Sequence[Goal]):
        self._language, self._candidates = language, tuple(candidates)
        # Caption whose questions are not all answered -> goal -> yes; None for an empty answer or a refusal.
        self._partial: dict[str, dict[Goal, bool | None]] = {}

    def about(self, caption: str) -> list[Question]:
        answered = self._partial.get(caption, ())
        return [
            Question(caption, goal, closed_form.prompt(caption, goal, self._language))
            for goal in self._candidates
            if goal not in answered
        ]

    def learn(self, question: Question, answer: Answer | None) -> tuple[bool, tuple[Goal, ...] | None]:
        yes = answer and closed_form.probability_of_yes(answer.text, answer.logprobs) > closed_form.THRESHOLD
        answered = self._partial.setdefault(question.caption, {})
        answered[question.goal] = yes
        goals = self.partial_goals(question.caption)
        complete = len(answered) == len(self._candidates)
        if complete:
            del self._partial[question.caption]
        return complete, goals

    def partial_goals(self, caption: str) -> tuple[Goal, ...] | None:
        answered = self._partial.get(caption, {})
        if all(yes is None for yes in answered.values()):
            return None
        return tuple(goal for goal in self._candidates if answered.get(goal))

    def state_dict(self) -> dict[str, Any]:
        return {"partial": {caption: dict(answers) for caption, answers in self._partial.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._partial = {caption: dict(answers) for caption, answers in state["partial"].items()}
