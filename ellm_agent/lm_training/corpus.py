"""The bundled model's training corpus: questions about captions, answered from a world's advice.

Sensible goals come roughly in a person's order of urgency (needs and dangers first, then tools, then gathering), and
answers contain typical mistakes of language models, in fixed proportions. A model that has learned this corpus well is
as useful, and as unreliable, as one that has only read about such games.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from ellm_agent.errors import UserError
from envs.interface import World
from prompts import closed_form, open_ended, statement

FORGOTTEN = 0.02  # share of sensible goals left out of an open answer
PARAPHRASED = 0.1  # share of sensible goals that are paraphrased
# Probability that an open answer contains a goal of this kind, by the paper's bins.
MISTAKES = {"poorly_timed": 0.1, "bad": 0.05, "nonsensical": 0.05}
REARRANGED = 0.8  # share of situations in which objects lie elsewhere, in worlds where they can
MISJUDGED = 0.02  # share of closed questions answered wrongly
ORDER_NOISE = 0.5  # places; standard deviation
BULLET, SPACE = "\n- ", " "  # before a goal in an open answer, and before the word of a closed one
YES, NO = SPACE + "Yes", SPACE + "No"


def balanced(goals: Sequence[Collection[str]], count: int, rng: np.random.Generator) -> list[int]:
    """A choice of situations in which rare goals are not rare.

    Each has a weight of one over the number of situations that have its rarest goal, so that situations whose rarest
    goal is the same are about as many for each goal, as far as there are enough.

    Args:
        goals: of each situation.
        count: how many to choose.
        rng: of the choice.

    Returns:
        Indices of the chosen situations, in their order.
    """
    often = Counter(goal for own in goals for goal in own)
    weights = np.array([1 / min((often[goal] for goal in own), default=len(goals)) for own in goals])
    return sorted(rng.choice(len(goals), count, replace=False, p=weights / weights.sum()).tolist())


class Corpus:
    """Writes examples: a question and its answer.

    Args:
        world: whose advice it is written from.
        seed: of all random choices.
        protocol: of the situations; None: of all protocols, the one with the most goals.
        tidied: share of the rearranged situations in which some things lie where they belong, from none to all.

    Raises:
        UserError: if the world has no advice.
    """

    def __init__(self, world: World, seed: int, protocol: str | None = None, tidied: float = 0.0):
        self._advice = world.advice()
        if self._advice is None:
            raise UserError(f"the world {world.name} has no advice to write a corpus from")
        language = world.situation_language(protocol)
        self._judgements, self._tidied = language.judgements, tidied
        self._rng = random.Random(seed)
        self._often: Counter[str] = Counter()  # how often each goal has been sensible
        pairs = (f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
        bad = [pair for pair in pairs if language.canonical(pair) not in language.goals]
        self._bad = bad or self._advice.meaningless  # a world may have no verbs and nouns

    def situation(self, caption: str) -> str:
        """A caption as it is, or with its objects in other places. A model that sees objects only in their usual places memorises
        these, and does not learn to read the caption.
        """
        rearranged, rng = self._advice.rearranged, self._rng
        if not rearranged or rng.random() >= REARRANGED:
            return caption
        tidy = rng.random() if self._tidied and rng.random() < self._tidied else 0.0
        return rearranged(caption, rng, tidy)

    def open(self, caption: str) -> tuple[str, str]:
        """An open question about a caption, and goals in bullets."""
        question = f"{caption}\n{open_ended.QUESTION}"
        return question, "".join(BULLET + goal for goal in self.goals(caption))

    def closed(self, caption: str) -> tuple[str, str]:
        """A closed question about a caption, or about a statement on which its goals depend, and yes or no."""
        if self._judgements:
            return self._about_statement(caption)
        advice = self._advice
        sensible = advice.sensible_goals(caption)
        self._often.update(sensible)
        draw = self._rng.random()
        # A goal that has been sensible n times is asked about in proportion to the root of n, where it is sensible and
        # where it is not; otherwise the answer would be learned from the goal alone.
        if draw < 0.45 and sensible:
            (goal,) = self._rng.choices(sensible, [1 / math.sqrt(self._often[goal]) for goal in sensible])
        elif draw < 0.9:
            others = advice.poorly_timed(caption)
            (goal,) = self._rng.choices(others, [math.sqrt(1 + self._often[goal]) for goal in others])
        else:
            goal = self._rng.choice(self._bad)
        yes = (goal in sensible) == (self._rng.random() >= MISJUDGED)
        question = f"{caption}\n{closed_form.QUESTION.format(goal=goal)}"
        return question, YES if yes else NO

    def _about_statement(self, caption: str) -> tuple[str, str]:
        """A question about a statement, true as often as not, and yes or no."""
        about = self._judgements.of(caption) or (self._rng.choice(self._judgements.all),)
        truth = {one: self._advice.is_true(self._judgements.question(one)) for one in about}
        wanted = self._rng.random() < 0.5
        chosen = self._rng.choice([one for one in about if truth[one] == wanted] or about)
        yes = truth[chosen] == (self._rng.random() >= MISJUDGED)
        return f"\n{statement.prompt(chosen, self._judgements).user}", YES if yes else NO

    def goals(self, caption: str) -> list[str]:
        """Goals for a caption, mistakes included."""
        rng, advice = self._rng, self._advice
        sensible = advice.sensible_goals(caption)
        kept = [goal for goal in sensible if rng.random() >= FORGOTTEN]
        kept.sort(
            key=lambda goal: next(
                (i for i, start in enumerate(advice.urgency) if goal.startswith(start)), len(advice.urgency)
            )
        )
        places = {goal: place + rng.gauss(0, ORDER_NOISE) for place, goal in enumerate(kept)}
        kept.sort(key=places.__getitem__)
        goals = [
            rng.choice(advice.paraphrases[g]) if g in advice.paraphrases and rng.random() < PARAPHRASED else g
            for g in kept
        ]
        for kind, probability in MISTAKES.items():
            if rng.random() < probability or not goals:
                place = rng.randint(0, len(goals))
                mistakes = self._mistakes(kind, caption)
                if mistakes:  # a world may have none of a kind
                    goals.insert(place, rng.choice(mistakes))
        return goals

    def _mistakes(self, kind: str, caption: str) -> Sequence[str]:
        if kind == "poorly_timed":
            return self._advice.poorly_timed(caption)
        return self._bad if kind == "bad" else self._advice.outside
