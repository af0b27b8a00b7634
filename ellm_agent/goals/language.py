"""Goals from a language model, asked in open or in closed form."""

from __future__ import annotations

from collections.abc import Sequence

from ellm_agent.goals.base import Goal
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.records import Situation
from prompts import closed_form, open_ended


class LanguageModelSuggester:
    """Asks a language model what is worth trying, once for each distinct caption.

    *Open*: one prompt a caption, answered in bullets; each bullet is a goal. *Closed*: one yes/no
    question for each candidate goal; suggested are those with P(yes) > 0.5.

    A caption whose request fails has no goals this time, and is asked again when next met. A failure
    before any answer has arrived is raised: the endpoint is wrong, not unlucky.

    Args:
        model: answers prompts.
        form: "open" or "closed".
        verbs: of the action language, for the open prompt.
        candidates: goals asked about in closed form.

    Raises:
        LanguageModelError: from ``suggest``, if the very first requests fail.
    """

    def __init__(
        self, model: LanguageModel, form: str, verbs: Sequence[str] = (), candidates: Sequence[Goal] = ()
    ):
        if form not in ("open", "closed"):
            raise ValueError(f"form is {form!r}; choose 'open' or 'closed'")
        self.description = f"{form}-form goals from {model.description}"
        self._model, self._form = model, form
        self._verbs, self._candidates = tuple(verbs), tuple(candidates)
        self._known: dict[str, tuple[Goal, ...]] = {}
        self._counts = {"captions": 0, "requests": 0, "failures": 0, "answers_without_goals": 0}

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        captions = [situation.caption for situation in situations]
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if new:
            self._ask(new)
        return [self._known.get(caption, ()) for caption in captions]

    def metrics(self) -> dict[str, float]:
        return {f"llm/{name}": float(count) for name, count in self._counts.items()}

    def _ask(self, captions: list[str]) -> None:
        if self._form == "open":
            prompts = [open_ended.prompt(caption, self._verbs) for caption in captions]
        else:
            prompts = [closed_form.prompt(c, goal) for c in captions for goal in self._candidates]
        answers = self._model.answer(prompts)
        self._counts["requests"] += len(prompts)
        per_caption = len(prompts) // len(captions)
        for i, caption in enumerate(captions):
            mine = answers[i * per_caption : (i + 1) * per_caption]
            failed = [answer for answer in mine if isinstance(answer, LanguageModelError)]
            if failed:
                self._counts["failures"] += len(failed)
                if not self._known:
                    raise failed[0]
                continue
            self._known[caption] = goals = self._parse(mine)
            self._counts["captions"] += 1
            self._counts["answers_without_goals"] += not goals

    def _parse(self, answers: Sequence[Answer]) -> tuple[Goal, ...]:
        if self._form == "open":
            return open_ended.parse(answers[0].text)
        return tuple(
            goal
            for goal, answer in zip(self._candidates, answers, strict=True)
            if closed_form.probability_of_yes(answer.text, answer.logprobs) > closed_form.THRESHOLD
        )
