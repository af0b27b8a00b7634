"""Goals from a language model, asked in open, closed or scored form."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NoReturn

from ellm_agent.goals.answered_captions import AnsweredCaptions
from ellm_agent.goals.asking import BATCH, Backoff, CaptionQueue, Question, Questions
from ellm_agent.goals.base import Goal, GoalSuggester
from ellm_agent.goals.scoring import ScoredQuestions
from ellm_agent.llm.base import FATAL_AT_FIRST, Answer, LanguageModel, LanguageModelError
from ellm_agent.llm.client import RequestPool
from ellm_agent.terminal import one_line, print_stderr
from envs.interface import Language, Situation

IN_FLIGHT = 2  # captions in flight at an endpoint, for each request in flight
SAME_AGAIN = (
    "empty",
    "refused",
    "not_recorded",
)  # failures that would be the same if the question were asked again
FORMAT_CHECK = 64  # first answers; if none of them has a goal, the model does not follow the prompt
CAPTIONS_CACHED = 2**14


class LanguageModelSuggester(GoalSuggester):
    """Asks a language model for goals, about each caption once.

    *Open*: one question for each caption, answered by a list of goals. *Closed*: one yes/no question for each caption
    and candidate goal; suggested are those with P(yes) > 0.5. *Scored*: one question for each caption, answered by the
    likelihood of each candidate (:class:`ScoredQuestions`). *Statements*: one yes/no question for each text of a
    statement in place of captions, for a :class:`ellm_agent.goals.judged.ModelJudge`; nothing is borrowed, and one
    without an answer stays so.

    *Waiting* (``every`` = 0; Du et al. 2023): each new caption is asked about at once, and training waits.
    *Ahead*: one caption for every ``every`` frames, while training continues: the most frequent one and the
    newest by turns. A caption without an answer, or one that recorded answers leave out, borrows what the answers to
    others let expect (:class:`AnsweredCaptions`). A model in this process makes a run reproducible either way.

    A question that fails is asked again later, unless its answer was empty, a refusal, or is not recorded. When all
    answers of a call are failures, asking pauses (:class:`Backoff`) and a line on stderr says so: a dead server must not
    hold up training.

    Args:
        model: answers prompts.
        form: "open", "closed", "scored" or "statements".
        language: of the world.
        candidates: goals that are asked about in closed and scored form; None: those of the language.
        caption: situation's caption -> the caption that the model reads.
        every: frames for each caption that is asked about; 0: all captions, waiting. Ignored if the model cannot be
            asked ahead.
        in_flight: requests at once, to a model that is not in this process.
        temperature: of open answers; None: the model's default, or else the prompt's.
        structured: whether to ask for open answers that follow a JSON schema, where the server supports it.
        stop_on_failure: whether a question that fails ends training.
        scoring: scored form: further arguments of ``ScoredQuestions``.

    Raises:
        LanguageModelError: by ``suggest``: for a failure, if failures end training; for a request that is rejected or
            cannot be delivered before any was answered (address, key or model name are wrong); and for a caption that
            was never asked about, when replaying.
    """

    def __init__(
        self,
        model: LanguageModel,
        form: str,
        language: Language,
        candidates: Sequence[Goal] | None = None,
        caption: Callable[[str], str] = str,
        every: int = 0,
        in_flight: int = 8,
        temperature: float | None = None,
        structured: bool = False,
        stop_on_failure: bool = False,
        scoring: Mapping[str, Any] | None = None,
    ):
        self.description = one_line(f"{form}-form goals from {model.description}")
        self.likely_goals = tuple(model.likely_goals) if form == "open" else ()
        self._model, self._stop = model, stop_on_failure
        self._caption = functools.lru_cache(CAPTIONS_CACHED)(caption)
        candidates = language.goals if candidates is None else candidates
        self.open_vocabulary = form == "open" or not set(candidates) <= set(language.goals)
        temperature = model.default_temperature if temperature is None else temperature
        if form == "scored":
            self._questions = ScoredQuestions(candidates, **scoring or {})
        else:
            self._questions = Questions(form, language, candidates, temperature, structured)
        self._borrows = form != "statements"
        self._answers = AnsweredCaptions(language.clauses_of if self._borrows else lambda _: ())
        self._queue = CaptionQueue(every) if every and model.can_be_asked_ahead else None
        self._always_borrows = self._queue is not None or model.leaves_out
        self._backoff = Backoff()
        self._pool = None if model.in_process else RequestPool(model, in_flight)
        self._in_flight: dict[str, list[tuple[Question, Future]]] = {}
        self._most_in_flight = IN_FLIGHT * in_flight
        self._counts = Counter(scenes=0, questions=0, failures=0, without_goals=0, met=0, unanswered=0)
        # For so many more answers, or until one has a goal.
        self._format_doubted = FORMAT_CHECK if self._borrows else 0
        self._tokens: Counter[str] = Counter()  # caption -> tokens written about it
        self._spent = False  # the budget: nothing is asked any more
        self._ended = False  # by an error that was raised, or by `close`

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        captions = [self._caption(situation.caption) for situation in situations]
        (self._ask_ahead if self._queue else self._ask_waiting)(captions)
        self._counts["met"] += len(captions)
        self._counts["unanswered"] += sum(self._answers.goals.get(caption) is None for caption in captions)
        return self._goals(captions, borrow=self._always_borrows)

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """Known goals. In evaluation, captions without an answer borrow also if training waits; statements are looked up
        where their answers are recorded in a file.
        """
        captions = [self._caption(situation.caption) for situation in situations]
        goals = self._goals(captions, borrow=True)
        if self._borrows:
            return goals
        return [self._look_up(c) if own is None else own for c, own in zip(captions, goals, strict=True)]

    def own_goals(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """Goals of the answers to the situations' own captions, after ``suggest``; None: there is no answer."""
        return self._goals([self._caption(situation.caption) for situation in situations], borrow=False)

    @property
    def known_goals(self) -> Collection[Goal]:
        return self._answers.named

    def tokens_of(self, situation: Situation) -> int | None:
        return self._tokens.get(self._caption(situation.caption))

    def metrics(self) -> dict[str, float]:
        waiting = self._queue.distinct if self._queue else 0
        counts = {f"llm/{name}": float(count) for name, count in self._counts.items()}
        counts["llm/distinct"] = float(len(self._answers.goals) + waiting)
        return self._model.metrics() | counts

    def status(self) -> str:
        metrics = self.metrics()
        answered = 1 - metrics["llm/unanswered"] / max(metrics["llm/met"], 1)
        text = f"{metrics['llm/scenes']:,.0f} captions asked, {answered:.0%} answered"
        if metrics.get("llm/usd"):
            text += f", ${metrics['llm/usd']:.2f}"
        if "llm/cache_hits" in metrics:
            looked_up = metrics["llm/cache_hits"] + metrics["llm/cache_misses"]
            text += f", {metrics['llm/cache_hits'] / max(looked_up, 1):.0%} from the cache"
        if metrics["llm/failures"]:
            text += f", {metrics['llm/failures']:,.0f} failed"
        return text

    def state_dict(self) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        if self._queue:
            state["queue"]["credit"] += len(self._in_flight)  # still in the queue: they are asked again
        return state | {
            "counts": dict(self._counts),
            "tokens": dict(self._tokens),
            "format_doubted": self._format_doubted,
            "spent": self._spent,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._counts = Counter(state["counts"])
        self._tokens = Counter(state.get("tokens", {}))  # older checkpoints have none
        self._format_doubted, self._spent = state["format_doubted"], state["spent"]

    def _parts(self) -> dict[str, Any]:
        """The parts that have a state of their own."""
        parts = {"answers": self._answers, "questions": self._questions, "backoff": self._backoff}
        return parts | {"model": self._model} | ({"queue": self._queue} if self._queue else {})

    def close(self) -> None:
        if self._counts["met"] and not self._counts["scenes"] and not self._ended:
            print_stderr(
                f"warning: {self._model.description} gave no usable answer, so the run had no goals; "
                "metrics.jsonl counts failures by kind (llm/failed_*)"
            )
        self._ended = True
        (self._pool or self._model).close()

    # --- asking -------------------------------------------------------------------------------------------

    def _ask_waiting(self, captions: Sequence[str]) -> None:
        new = dict.fromkeys(caption for caption in captions if caption not in self._answers.goals)
        if new and not self._spent and not self._backoff.skip():
            self._ask(list(new))

    def _ask_ahead(self, captions: Sequence[str]) -> None:
        queue = self._queue
        queue.note([c for c in captions if c not in self._answers.goals], frames=len(captions))
        self._collect()
        if self._spent or self._backoff.skip():
            return
        if self._pool:
            for caption in queue.choose(self._most_in_flight - len(self._in_flight), self._in_flight):
                self._in_flight[caption] = [
                    (q, self._pool.submit(q.prompt)) for q in self._questions.about(caption)
                ]
        elif queue.credit >= BATCH and (chosen := queue.choose(BATCH)):
            self._ask(chosen)

    def _ask(self, captions: Sequence[str]) -> None:
        """Asks about captions, and waits for the answers."""
        questions = [question for caption in captions for question in self._questions.about(caption)]
        self._take(questions, (self._pool or self._model).answer([question.prompt for question in questions]))

    def _collect(self) -> None:
        """Takes the answers that have arrived."""
        arrived = [
            caption for caption, pairs in self._in_flight.items() if all(future.done() for _, future in pairs)
        ]
        pairs = [pair for caption in arrived for pair in self._in_flight.pop(caption)]
        if pairs:
            self._take([q for q, _ in pairs], [future.result() for _, future in pairs])

    # --- answers ------------------------------------------------------------------------------------------

    def _take(self, questions: Sequence[Question], answers: Sequence[Answer | LanguageModelError]) -> None:
        failures = [answer for answer in answers if isinstance(answer, LanguageModelError)]
        self._counts["questions"] += len(answers)
        self._counts["failures"] += sum(error.kind != "not_recorded" for error in failures)
        self._counts.update(f"failed_{error.kind}" for error in failures)
        for error in failures:
            if error.kind == "never_asked" or (self._stop and error.kind != "over_budget"):
                self._end(error)
        for question, answer in zip(questions, answers, strict=True):
            if isinstance(answer, Answer):
                self._check_format(self._learn(question, answer))
            elif answer.kind in SAME_AGAIN:
                goals = self._learn(question, None)
                if answer.kind != "not_recorded":
                    self._check_format(goals)
        lost = [error for error in failures if error.kind not in SAME_AGAIN]
        if len(lost) == len(answers):
            self._pause(lost[0])
        else:
            self._backoff.succeed()

    def _learn(self, question: Question, answer: Answer | None) -> bool:
        """Reads an answer; None: it was empty, a refusal, or is not recorded. Returns whether there are goals."""
        complete, goals = self._questions.learn(question, answer)
        if answer:
            self._tokens[question.caption] += answer.answer_tokens
        if not complete:
            return bool(goals)
        if self._queue:
            self._queue.remove(question.caption)
        self._answers.add(question.caption, goals)
        if goals is not None:
            self._counts["scenes"] += 1
            self._counts["without_goals"] += not goals
        return bool(goals)

    def _check_format(self, has_goals: bool) -> None:
        """Warns if the model's first answers all have no goal."""
        if has_goals:
            self._format_doubted = 0
        elif self._format_doubted:
            self._format_doubted -= 1
            if not self._format_doubted:
                print_stderr(
                    f"warning: the first {FORMAT_CHECK} answers of {self._model.description} suggest no goal; "
                    "experiments/inspect_prompts.py shows prompts and answers"
                )

    def _pause(self, error: LanguageModelError) -> None:
        """All questions of a call have failed: stops asking for a while, or, at the budget's end, for good."""
        if error.kind == "over_budget":
            if not self._in_flight:  # they may cost less than is reserved for them
                print_stderr(f"note: {error}; the run continues with the known goals")
                self._spent = True
            return
        if error.kind in FATAL_AT_FIRST and self._counts["failures"] == self._counts["questions"]:
            self._end(error)
        if self._backoff.fail():
            print_stderr(f"warning: {error}; new captions have no answers until the model answers again")

    def _end(self, error: LanguageModelError) -> NoReturn:
        self._ended = True
        raise error

    # --- goals --------------------------------------------------------------------------------------------

    def _goals(self, captions: Sequence[str], borrow: bool) -> list[tuple[Goal, ...] | None]:
        """Goals of captions: their own answers; without one, borrowed goals, if there are any; else None."""
        borrow = borrow and self._borrows and self._answers.can_lend
        return [self._goals_of(caption, borrow) for caption in captions]

    def _goals_of(self, caption: str, borrow: bool) -> tuple[Goal, ...] | None:
        if caption in self._answers.goals:
            own = self._answers.goals[caption]
            own = () if own is None and not self._always_borrows and self._borrows else own
        else:
            own = self._questions.partial_goals(caption)
        return self._answers.borrow(caption) if own is None and borrow else own

    def _look_up(self, statement: str) -> tuple[Goal, ...] | None:
        """The goals of a statement whose answer is there without asking; else None."""
        (question,) = self._questions.about(statement)
        (answer,) = self._model.look_up([question.prompt])
        return answer and self._questions.read(question.goal, answer)
