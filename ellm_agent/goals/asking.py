"""Questions about captions: which are asked, when, how long to pause after failures, and the goals in their answers.

Asks nothing itself.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ellm_agent.goals.base import Goal
from ellm_agent.llm.base import Answer, Prompt
from envs.interface import Language
from prompts import closed_form, open_ended, statement

BATCH = 64  # captions that a model in this process is asked about at once
COUNTED = 2**14  # captions whose frequency is counted; some are forgotten when there are twice as many
LONGEST_PAUSE = 1024  # calls
TRUE = "true"  # goal of a question about a statement


def caption_form(name: str, language: Language) -> Callable[[str], str]:
    """A situation's caption -> the caption that a language model reads, by the value of --llm-caption."""
    return {"brief": language.drop_target, "whole": str, "paper": language.names_only}[name]


class Question(NamedTuple):
    """One question to a language model."""

    caption: str  # that it is about
    goal: Goal  # that it is about; "" in open form
    prompt: Prompt


class Questions:
    """*Open*: one question for each caption, answered by a list of goals. *Closed*: a yes/no question for each caption
    and candidate; goals are the candidates with P(yes) > 0.5. *Statements*: the "captions" are texts of the world's
    statements, with one yes/no question each; the only goal is ``TRUE``.

    Args:
        form: "open", "closed" or "statements".
        language: of the world.
        candidates: goals that are asked about in closed form.
        temperature: of sampling open answers; None: the prompt's.
        structured: whether to ask for open answers that follow a JSON schema.
    """

    def __init__(
        self,
        form: str,
        language: Language,
        candidates: Sequence[Goal],
        temperature: float | None,
        structured: bool,
    ):
        if form not in ("open", "closed", "statements"):
            raise ValueError(f"form is {form!r}; choose 'open', 'closed' or 'statements'")
        self._language, self._structured = language, structured
        self._temperature = open_ended.TEMPERATURE if temperature is None else temperature
        self._goals = {"closed": tuple(candidates), "statements": (TRUE,), "open": ("",)}[form]
        self._statements = {}
        if form == "statements":
            self._statements = {str(one): one for one in language.judgements.all}
        # Caption whose questions are not all answered -> goal of the question -> goals in the answer; None: it was
        # empty or a refusal.
        self._partial: dict[str, dict[Goal, tuple[Goal, ...] | None]] = {}

    def about(self, caption: str) -> list[Question]:
        """The questions about a caption that are not answered yet."""
        answered = self._partial.get(caption, ())
        return [
            Question(caption, goal, self._prompt(caption, goal))
            for goal in self._goals
            if goal not in answered
        ]

    def learn(self, question: Question, answer: Answer | None) -> tuple[bool, tuple[Goal, ...] | None]:
        """Reads an answer; None: an empty one or a refusal.

        Returns:
            Whether the caption's questions are all answered, and its ``partial_goals``.
        """
        answered = self._partial.setdefault(question.caption, {})
        answered[question.goal] = answer and self.read(question.goal, answer)
        goals = self.partial_goals(question.caption)
        complete = len(answered) == len(self._goals)
        if complete:
            del self._partial[question.caption]
        return complete, goals

    def partial_goals(self, caption: str) -> tuple[Goal, ...] | None:
        """Goals of a caption whose questions are not all answered; None: no answers, or only empty ones and refusals."""
        answered = self._partial.get(caption, {})
        if all(goals is None for goals in answered.values()):
            return None
        return tuple(goal for asked in self._goals for goal in answered.get(asked) or ())

    def state_dict(self) -> dict[str, Any]:
        return {caption: dict(answers) for caption, answers in self._partial.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._partial = {
            caption: {asked: goals if goals is None else tuple(goals) for asked, goals in answers.items()}
            for caption, answers in state.items()
        }

    def _prompt(self, caption: str, goal: Goal) -> Prompt:
        if self._statements:
            return statement.prompt(self._statements[caption], self._language.judgements)
        if goal:
            return closed_form.prompt(caption, goal, self._language)
        return open_ended.prompt(caption, self._language, self._structured, self._temperature)

    def read(self, goal: Goal, answer: Answer) -> tuple[Goal, ...]:
        """The goals in the answer to a question about a goal."""
        if not goal:
            return open_ended.parse(answer.text)
        yes = closed_form.probability_of_yes(answer.text, answer.logprobs) > closed_form.THRESHOLD
        return (goal,) if yes else ()


class CaptionQueue:
    """Captions without an answer, and the number that may be asked about.

    Every other caption that is chosen is the most frequent one, and every other one the newest: an agent that gets
    farther meets new things, in captions that are not yet frequent.

    Args:
        every: frames for each caption that may be asked about.

    Attributes:
        credit: captions that may be asked about now; starts with a batch.
    """

    def __init__(self, every: int):
        self._every = every
        self.credit = float(BATCH)
        self._frames: Counter[str] = Counter()  # caption -> frames
        self._forgotten = 0  # captions that were in it
        self._chosen = 0  # captions that were chosen so far

    @property
    def distinct(self) -> int:
        """Number of distinct captions that were noted and not removed, forgotten ones included."""
        return len(self._frames) + self._forgotten

    def note(self, unanswered: Sequence[str], frames: int) -> None:
        """Counts the captions without an answer among those of so many frames."""
        self._frames.update(unanswered)
        if len(self._frames) > 2 * COUNTED:  # few of the rarest will ever be asked about
            kept = dict(self._frames.most_common(COUNTED))
            self._forgotten += len(self._frames) - len(kept)
            self._frames = Counter({caption: n for caption, n in self._frames.items() if caption in kept})
        self.credit = min(self.credit + frames / self._every, 4 * BATCH)

    def choose(self, most: int, excluding: Collection[str] = ()) -> list[str]:
        """Captions to ask about, as many as ``most`` and the credit allow; spends the credit."""
        count = min(most, int(self.credit))
        if count <= 0:
            return []
        newest_count = (self._chosen + count) // 2 - self._chosen // 2  # of those with odd numbers
        candidates = ((caption, n) for caption, n in self._frames.items() if caption not in excluding)
        frequent = heapq.nlargest(count - newest_count, candidates, key=lambda pair: pair[1])
        chosen = [caption for caption, _ in frequent]
        taken = {*excluding, *chosen}
        others = (caption for caption in reversed(self._frames) if caption not in taken)
        chosen += itertools.islice(others, newest_count)
        self.credit -= len(chosen)
        self._chosen += len(chosen)
        return chosen

    def remove(self, caption: str) -> None:
        """Removes a caption that is not to be asked about any more."""
        self._frames.pop(caption, None)

    def state_dict(self) -> dict[str, Any]:
        return {
            "credit": self.credit,
            "frames": dict(self._frames),
            "forgotten": self._forgotten,
            "chosen": self._chosen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.credit, self._forgotten, self._chosen = state["credit"], state["forgotten"], state["chosen"]
        self._frames = Counter(state["frames"])


class Backoff:
    """Pauses after failures: one call, then two, then four, ..., until something succeeds."""

    def __init__(self):
        self._length = self._left = 0  # calls

    def skip(self) -> bool:
        """Whether this call is part of a pause."""
        if self._left:
            self._left -= 1
            return True
        return False

    def fail(self) -> bool:
        """Starts a pause, twice as long as the last. Returns whether it is the first after a success."""
        if self._left:  # the failed questions were in flight when the pause began
            return False
        first = not self._length
        self._length = self._left = min(2 * self._length or 1, LONGEST_PAUSE)
        return first

    def succeed(self) -> None:
        """Lets the next pause be a short one."""
        self._length = 0

    def state_dict(self) -> dict[str, Any]:
        return {"length": self._length, "left": self._left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._length, self._left = state["length"], state["left"]
