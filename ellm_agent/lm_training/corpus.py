"""What the embedded model learns from: questions about scenes, answered from general knowledge of survival games.

Sensible goals come in a person's order (needs and dangers first, then tools, then gathering), roughly; and answers hold
the mistakes that language models make, in stated proportions. So a model that has learned this corpus well is as
useful, and as unreliable, as one that has only read about the game.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

from ellm_agent.llm.advice import FELT, PARAPHRASES, SENSIBLE, sensible_goals
from prompts import closed_form, open_ended

FORGOTTEN = 0.05  # share of sensible goals left out of an open answer
PARAPHRASED = 0.1  # share of sensible goals worded freely
# Probability that an answer holds a goal of this kind, by the paper's bins.
MISTAKES = {"poorly_timed": 0.45, "bad": 0.25, "nonsensical": 0.15}
MISJUDGED = 0.03  # share of closed questions answered wrongly
UNASKED = {"sleep": 0.25}  # can be done when nothing calls for it: probability of a yes all the same
NEVER = ("wake up",)  # who sees something is awake
ORDER_NOISE = 2.0  # places; standard deviation
FIRST = ("attack", "eat", "drink", "sleep", "make", "place", "mine", "chop")  # verbs, most urgent first
# Outside the game: what other survival games have.
OUTSIDE = (
    "build a house",
    "look for a village",
    "tame the cow",
    "go fishing",
    "explore the cave",
    "light a campfire",
    "cook the meat",
    "build a boat",
    "set a trap",
    "climb the mountain",
    "hide from the zombie",
    "plant a garden",
    "dig a well",
    "make a bow",
    "build a fence",
    "collect berries",
    "find shelter",
    "store your items in a chest",
    "trade with the villagers",
    "smelt the iron",
    "sharpen your sword",
    "run away",
)
LEADS = {
    "bullet": "\n- ",
    "answer": " ",
}  # what comes before a goal in an open answer, and before a word in a closed one
YES, NO = LEADS["answer"] + "Yes", LEADS["answer"] + "No"


class Corpus:
    """Writes examples: a question and its answer.

    Args:
        verbs: of the action language; with the nouns, they make pairs that mean nothing.
        nouns: of the action language.
        known: what means something: goals and their synonyms.
        seed: of all that is left to chance.
    """

    def __init__(self, verbs: Sequence[str], nouns: Sequence[str], known: Sequence[str], seed: int):
        self._rng = random.Random(seed)
        self._often: Counter[str] = Counter()  # how often each goal has been sensible
        self._bad = [
            pair for pair in (f"{verb} {noun}" for verb in verbs for noun in nouns) if pair not in known
        ]

    def open(self, caption: str) -> tuple[str, str]:
        """An open question about a scene, and goals in bullets."""
        question = f"{caption}\n{open_ended.QUESTION}"
        return question, "".join(LEADS["bullet"] + goal for goal in self.goals(caption))

    def closed(self, caption: str) -> tuple[str, str]:
        """A closed question about a scene, and yes or no."""
        sensible = sensible_goals(caption)
        self._often.update(sensible)
        draw = self._rng.random()
        if draw < 0.45 and sensible:
            goal = self._rng.choice(sensible)
        elif draw < 0.9:
            # What is often sensible is asked about as often where it is not, or "yes" would be learned by heart.
            others = [goal for goal in (*SENSIBLE, *FELT, *NEVER) if goal not in sensible]
            (goal,) = self._rng.choices(others, [math.sqrt(1 + self._often[goal]) for goal in others])
        else:
            goal = self._rng.choice(self._bad)
        likely = 1 - MISJUDGED if goal in sensible else UNASKED.get(goal, MISJUDGED)
        yes = self._rng.random() < likely
        question = f"{caption}\n{closed_form.QUESTION.format(goal=goal)}"
        return question, YES if yes else NO

    def goals(self, caption: str) -> list[str]:
        """Goals for a scene, mistakes included."""
        rng, sensible = self._rng, sensible_goals(caption)
        kept = [goal for goal in sensible if rng.random() >= FORGOTTEN]
        kept.sort(key=lambda goal: FIRST.index(goal.split()[0]) + rng.gauss(0, ORDER_NOISE))
        told = [
            rng.choice(PARAPHRASES[g]) if g in PARAPHRASES and rng.random() < PARAPHRASED else g for g in kept
        ]
        for kind, probability in MISTAKES.items():
            if rng.random() < probability or not told:
                told.insert(rng.randint(0, len(told)), self._mistake(kind, sensible))
        return told

    def _mistake(self, kind: str, sensible: Sequence[str]) -> str:
        if kind == "poorly_timed":
            return self._rng.choice([goal for goal in (*SENSIBLE, *FELT) if goal not in sensible])
        return self._rng.choice(self._bad if kind == "bad" else OUTSIDE)
