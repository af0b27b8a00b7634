"""The scripted model: rules in place of a language model, which read the same prompts and answer in the same form.

It knows what captions say (names, no counts), so its suggestions are often poorly timed, as a language model's are; and
it makes typical mistakes of language models, in fixed proportions: a goal forgotten, a real goal that is not possible
now, a meaningless pair, a goal outside of the world, a paraphrase.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence

from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from envs.interface import Advice
from prompts import closed_form, open_ended, statement

FORGOTTEN = 0.1  # share of sensible goals left out of an open answer
PARAPHRASED = 0.1  # share of sensible goals paraphrased in an open answer
MISTAKES = {"poorly_timed": 0.3, "bad": 0.1, "outside": 0.05}  # share of open answers with one such goal
MISJUDGED = 0.05  # share of closed questions answered wrongly


class ScriptedModel(LanguageModel):
    """Answers open and closed prompts by rules, offline. Not a language model, and says so.

    An answer is a function of the prompt alone.

    Args:
        advice: the world's general knowledge.
    """

    description = "the built-in offline script, which is NOT a language model"
    name = "script"
    can_be_asked_ahead = False

    def __init__(self, advice: Advice):
        self._advice = advice

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        # A generator for each prompt: the same question gets the same answer.
        rng = random.Random(hashlib.sha256(prompt.user.encode()).digest())
        if prompt.version in (closed_form.VERSION, statement.VERSION):
            if prompt.version == closed_form.VERSION:
                caption, goal = closed_form.caption_and_goal_of(prompt.user)
                sensible = goal in self._advice.sensible_goals(caption)
            else:
                sensible = self._advice.is_true(prompt.user.removesuffix(f" {statement.ANSWER}"))
            yes = 0.1 if sensible == (rng.random() < MISJUDGED) else 0.9
            logprobs = {"Yes": math.log(yes), "No": math.log(1 - yes)}
            return Answer("Yes" if yes > 0.5 else "No", logprobs)
        return Answer(self._bullets(open_ended.caption_of(prompt.user), rng))

    def _bullets(self, caption: str, rng: random.Random) -> str:
        advice = self._advice
        sensible = advice.sensible_goals(caption)
        goals = [goal for goal in sensible if rng.random() >= FORGOTTEN]
        goals = [
            rng.choice(advice.paraphrases[goal])
            if goal in advice.paraphrases and rng.random() < PARAPHRASED
            else goal
            for goal in goals
        ]
        others = {
            "poorly_timed": sorted(advice.poorly_timed(caption)),
            "bad": advice.meaningless,
            "outside": advice.outside,
        }
        for kind, share in MISTAKES.items():
            if rng.random() < share and others[kind]:
                goals.append(rng.choice(others[kind]))
        rng.shuffle(goals)
        return "\n".join(f"- {goal}" for goal in goals)
