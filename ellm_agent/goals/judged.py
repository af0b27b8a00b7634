"""Closed form in worlds whose goals depend on statements that hold in every state (``Language.judgements``).

A judge says of each statement whether it is true ("apple in kitchen fridge"); the world says which goals follow in a
caption. So each statement is asked about once in a run, and their number is known before it begins.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ellm_agent.goals.base import REMEMBERED, Goal, GoalSuggester, Source
from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.text.sentence_bert import sentence_bert
from envs.interface import Judgements, Situation, Statement


class Judge(Source):
    """Says whether statements are true."""

    description: str  # one line for people

    def answer(self, statements: Sequence[Statement]) -> list[bool | None]:
        """Whether each statement is true; None where that is not known yet."""
        raise NotImplementedError

    def recall(self, statements: Sequence[Statement]) -> list[bool | None]:
        """The same for evaluation, which asks no model and raises nothing."""
        return self.answer(statements)


class ModelJudge(Judge):
    """A language model, asked a yes/no question about each statement once.

    Args:
        suggester: asks the model about texts of statements, in closed form; names one goal for those it says yes to.
        count: of all statements.
    """

    def __init__(self, suggester: LanguageModelSuggester, count: int):
        self.description = f"{suggester.description}, at most {count:,} distinct questions"
        self._suggester, self._count = suggester, count

    def answer(self, statements: Sequence[Statement]) -> list[bool | None]:
        return self._read(self._suggester.suggest(_situations(statements)))

    def recall(self, statements: Sequence[Statement]) -> list[bool | None]:
        return self._read(self._suggester.recall(_situations(statements)))

    def _read(self, answers: Sequence[tuple[Goal, ...] | None]) -> list[bool | None]:
        return [None if goals is None else bool(goals) for goals in answers]

    def status(self) -> str:
        metrics = self._suggester.metrics()
        failed = f", {metrics['llm/failures']:,.0f} failed" if metrics["llm/failures"] else ""
        return f"{metrics['llm/scenes']:,.0f} of {self._count:,} questions answered{failed}"

    def metrics(self) -> dict[str, float]:
        return self._suggester.metrics()

    def state_dict(self) -> dict[str, Any]:
        return self._suggester.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._suggester.load_state_dict(state)

    def close(self) -> None:
        self._suggester.close()


def _situations(statements: Sequence[Statement]) -> list[Situation]:
    return [Situation(str(statement)) for statement in statements]


class CosineJudge(Judge):
    """A plain baseline without a language model: a thing belongs where SentenceBERT finds it most similar.

    True are the statements whose cosine of thing and place is among the highest ``share`` of those about the thing.

    Args:
        statements: all of them.
        share: of the places of a thing that are right.
        encode: texts -> ``(n, d)`` float32 unit vectors.
    """

    def __init__(
        self,
        statements: Sequence[Statement],
        share: float,
        encode: Callable[[Sequence[str]], np.ndarray] = sentence_bert,
    ):
        self.description = (
            f"the {share:.0%} of places most similar to a thing by SentenceBERT (not a language model)"
        )
        things = list(dict.fromkeys(statement.thing for statement in statements))
        places = list(dict.fromkeys(statement.where for statement in statements))
        cosines = encode(things) @ encode(places).T  # (things, places)
        of_thing: dict[str, list[tuple[float, Statement]]] = {thing: [] for thing in things}
        rows, columns = ({text: i for i, text in enumerate(texts)} for texts in (things, places))
        self.cosines = {s: float(cosines[rows[s.thing], columns[s.where]]) for s in statements}
        for statement in statements:
            of_thing[statement.thing].append((self.cosines[statement], statement))
        self._true = set()
        for pairs in of_thing.values():
            count = max(1, round(share * len(pairs)))
            self._true.update(s for _, s in sorted(pairs, key=lambda pair: -pair[0])[:count])

    def answer(self, statements: Sequence[Statement]) -> list[bool | None]:
        return [statement in self._true for statement in statements]


class JudgedGoals(GoalSuggester):
    """Suggests the goals that follow from a judge's answers.

    Args:
        judge: says which statements are true.
        judgements: the world's: which statements matter in a caption, and which goals follow.
    """

    def __init__(self, judge: Judge, judgements: Judgements):
        self.description = judge.description
        self._judge, self._judgements = judge, judgements
        self._of = functools.lru_cache(REMEMBERED)(judgements.of)
        self._answers: dict[Statement, bool] = {}
        self._goals: dict[str, tuple[Goal, ...]] = {}  # of captions whose statements are all answered

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        return self._suggest(situations, self._judge.answer)

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...]]:
        # Keeps what the judge recalls: a shared agent plays its evaluation again without the file of recorded answers.
        return self._suggest(situations, self._judge.recall)

    def _suggest(
        self, situations: Sequence[Situation], ask: Callable[[Sequence[Statement]], list[bool | None]]
    ) -> list[tuple[Goal, ...]]:
        captions = [situation.caption for situation in situations]
        unknown = dict.fromkeys(
            statement
            for caption in dict.fromkeys(captions)
            if caption not in self._goals
            for statement in self._of(caption)
            if statement not in self._answers
        )
        if unknown:
            answers = zip(unknown, ask(list(unknown)), strict=True)
            self._answers.update((statement, answer) for statement, answer in answers if answer is not None)
        return [self._goals_of(caption) for caption in captions]

    def _goals_of(self, caption: str) -> tuple[Goal, ...]:
        if caption in self._goals:
            return self._goals[caption]
        goals = self._judgements.goals(caption, self._answers.get)
        if all(statement in self._answers for statement in self._of(caption)):
            if len(self._goals) >= REMEMBERED:
                self._goals.clear()
            self._goals[caption] = goals
        return goals

    def status(self) -> str:
        return self._judge.status()

    def metrics(self) -> dict[str, float]:
        return self._judge.metrics()

    def state_dict(self) -> dict[str, Any]:
        answers = [[*statement, answer] for statement, answer in self._answers.items()]
        return {"judge": self._judge.state_dict(), "answers": answers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._judge.load_state_dict(state["judge"])
        self._answers = {Statement(thing, where): answer for thing, where, answer in state["answers"]}
        self._goals.clear()

    def close(self) -> None:
        self._judge.close()
