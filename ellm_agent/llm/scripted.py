"""A stand-in for a language model: rules that read the same prompts and answer in the same form.

It knows what the captions tell (names, no counts), so its advice is often poorly timed, as a language
model's is; and it makes the mistakes that language models make, in stated proportions: a goal forgotten,
a real goal that is not possible now, a meaningless pair, a goal outside the game, a paraphrase.
Its answer is a function of the prompt alone.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence

from ellm_agent.llm.advice import FELT, MEANINGLESS, OUTSIDE, PARAPHRASES, SENSIBLE, sensible_goals
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from prompts import closed_form, open_ended

FORGOTTEN = 0.1  # share of sensible goals left out of an open answer
PARAPHRASED = 0.1  # share of sensible goals worded freely in an open answer
MISTAKES = {"poorly_timed": 0.3, "bad": 0.1, "outside": 0.05}  # answers with one such goal each
MISJUDGED = 0.05  # share of closed questions answered wrongly
_UNFIT = {"bad": MEANINGLESS, "outside": OUTSIDE}


class ScriptedModel(LanguageModel):
    """Answers open and closed prompts by rule, offline. Not a language model, and says so."""

    description = "the built-in offline script, which is NOT a language model"
    name = "script"

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        # A generator of its own for each prompt: the same question has the same answer.
        rng = random.Random(hashlib.sha256(prompt.user.encode()).digest())
        if prompt.version == closed_form.VERSION:
            caption, goal = closed_form.caption_and_goal_of(prompt.user)
            yes = 0.1 if (goal in sensible_goals(caption)) == (rng.random() < MISJUDGED) else 0.9
            logprobs = {"Yes": math.log(yes), "No": math.log(1 - yes)}
            return Answer("Yes" if yes > 0.5 else "No", logprobs)
        return Answer(_bullets(open_ended.caption_of(prompt.user), rng))


def _bullets(caption: str, rng: random.Random) -> str:
    sensible = sensible_goals(caption)
    goals = [goal for goal in sensible if rng.random() >= FORGOTTEN]
    goals = [
        rng.choice(PARAPHRASES[goal]) if goal in PARAPHRASES and rng.random() < PARAPHRASED else goal
        for goal in goals
    ]
    for kind, share in MISTAKES.items():
        if rng.random() < share:
            goals.append(rng.choice(_UNFIT.get(kind) or sorted({*SENSIBLE, *FELT} - {*sensible})))
    rng.shuffle(goals)
    return "\n".join(f"- {goal}" for goal in goals)
