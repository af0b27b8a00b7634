"""Goals from a language model, asked in open or in closed form."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ellm_agent.goals.base import Goal, GoalSuggester
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.records import Situation
from prompts import closed_form, open_ended

LONGEST_PAUSE = 1024  # calls of `suggest` without a request after a model has failed again and again


class LanguageModelSuggester(GoalSuggester):
    """Asks a language model what is worth trying, each question once.

    *Open*: one prompt for each distinct caption, answered in bullets; each bullet is a goal. *Closed*: one
    yes/no question for each distinct caption and candidate goal; suggested are those with P(yes) > 0.5.

    Where a request fails there are no goals this time, and the question is asked again when next met. If
    every request of the first batch fails, the endpoint is wrong, not unlucky: that is raised. When a later batch
    fails as a whole, asking pauses for one call, then two, then four ..., and a line on stderr says so: a dead
    server must not hold up training.

    Args:
        model: answers prompts.
        form: "open" or "closed".
        verbs: of the action language, for the open prompt.
        candidates: goals asked about in closed form.

    Raises:
        LanguageModelError: from ``suggest``, if every request of the first batch fails.
    """

    def __init__(
        self, model: LanguageModel, form: str, verbs: Sequence[str] = (), candidates: Sequence[Goal] = ()
    ):
        if form not in ("open", "closed"):
            raise ValueError(f"form is {form!r}; choose 'open' or 'closed'")
        self.description = f"{form}-form goals from {model.description}"
        self._model, self._form = model, form
        self._verbs, self._candidates = tuple(verbs), tuple(candidates)
        self._goals: dict[str, tuple[Goal, ...]] = {}  # caption -> goals, all its questions answered
        self._answered: dict[tuple[str, Goal], bool] = {}  # closed form: of captions not yet complete
        self._counts = {"captions": 0, "requests": 0, "failures": 0, "answers_without_goals": 0}
        self._pause = self._wait = 0  # calls

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        captions = [situation.caption for situation in situations]
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._goals]
        if new and self._wait:
            self._wait -= 1
        elif new:
            self._ask(new)
        return [self._goals[c] if c in self._goals else self._known_so_far(c) for c in captions]

    def metrics(self) -> dict[str, float]:
        return {f"llm/{name}": float(count) for name, count in self._counts.items()}

    def state(self) -> dict[str, Any]:
        return {"goals": {c: list(goals) for c, goals in self._goals.items()}, "counts": self._counts}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._goals = {caption: tuple(goals) for caption, goals in state["goals"].items()}
        self._counts = dict(state["counts"])

    def _ask(self, captions: list[str]) -> None:
        questions = self._questions(captions)
        answers = self._model.answer([prompt for _, _, prompt in questions])
        failed = [answer for answer in answers if isinstance(answer, LanguageModelError)]
        self._counts["requests"] += len(answers)
        self._counts["failures"] += len(failed)
        if len(failed) == len(answers):
            self._give_up_for_a_while(failed[0])
        else:
            self._pause = 0
        for (caption, goal, _), answer in zip(questions, answers, strict=True):
            if isinstance(answer, Answer):
                self._take(caption, goal, answer)
        if self._form == "closed":
            for caption in captions:
                if all((caption, goal) in self._answered for goal in self._candidates):
                    self._keep(caption, self._known_so_far(caption))
                    for goal in self._candidates:
                        del self._answered[caption, goal]

    def _questions(self, captions: list[str]) -> list[tuple[str, Goal, Prompt]]:
        """Caption, goal asked about ("" in open form) and prompt, for all that is not yet answered."""
        if self._form == "open":
            return [(caption, "", open_ended.prompt(caption, self._verbs)) for caption in captions]
        return [
            (caption, goal, closed_form.prompt(caption, goal))
            for caption in captions
            for goal in self._candidates
            if (caption, goal) not in self._answered
        ]

    def _take(self, caption: str, goal: Goal, answer: Answer) -> None:
        if self._form == "open":
            self._keep(caption, open_ended.parse(answer.text))
        else:
            p = closed_form.probability_of_yes(answer.text, answer.logprobs)
            self._answered[caption, goal] = p > closed_form.THRESHOLD

    def _keep(self, caption: str, goals: tuple[Goal, ...]) -> None:
        self._goals[caption] = goals
        self._counts["captions"] += 1
        self._counts["answers_without_goals"] += not goals

    def _known_so_far(self, caption: str) -> tuple[Goal, ...]:
        if self._form == "open":
            return ()
        return tuple(goal for goal in self._candidates if self._answered.get((caption, goal)))

    def _give_up_for_a_while(self, error: LanguageModelError) -> None:
        if self._counts["failures"] == self._counts["requests"]:
            raise error
        if not self._pause:
            print(f"warning: {error}; new captions have no goals until it answers again", file=sys.stderr)
        self._pause = min(2 * self._pause or 1, LONGEST_PAUSE)
        self._wait = self._pause
