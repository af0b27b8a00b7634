"""Goals from a language model, asked in open or in closed form."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn

from ellm_agent.goals.base import Goal, GoalSuggester
from ellm_agent.goals.known_scenes import KnownScenes, Scene
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.terminal import one_line, tell
from envs.interface import Situation
from prompts import closed_form, open_ended

LONGEST_PAUSE = 1024  # calls of `suggest` without a question after a model has failed again and again
COUNTED = (
    2**14
)  # scenes of which it is known how often they were met; twice as many before some are forgotten
BATCH = 64  # scenes that a model in the process is asked about at once
UNDER_WAY = 2  # scenes under way at an endpoint, for each request in flight
ANSWERED_ALL_THE_SAME = ("empty", "refused")  # the model has answered; asking again would bring no more
GOALLESS = 64  # answers without a goal from the first on: such a model does not follow the prompt
HOPELESS = ("rejected", "unreachable")  # no use going on, if it happens before anything was answered


class LanguageModelSuggester(GoalSuggester):
    """Asks a language model what is worth trying, about each scene once.

    *Open*: one question for each distinct scene, answered in bullets; each bullet is a goal. *Closed*: one yes/no
    question for each distinct scene and candidate goal; suggested are those with P(yes) > 0.5.

    *Waiting*: each new scene is asked about at once, and training waits: a run is the same each time, and the
    paper's. *Ahead* (``every`` > 0): one scene for so many frames, those met most often first, and training goes on; a
    scene has the goals of the three closest scenes that were answered, its own answer among them. Scenes are many and
    most are met once or twice: so a million frames cost what some thousands of answers cost, and what one answer forgot
    another has. A model in the process still makes a run the same each time.

    Where a question fails there are no goals this time, and it is asked again later; but for one whose answer is empty
    or a refusal, which would be the same again. When all that comes back are failures, asking pauses for one call, then
    two, then four ..., and a line on stderr says so: a dead server must not hold up training.

    Args:
        model: answers prompts.
        form: "open" or "closed".
        verbs: of the action language, for the open prompt.
        candidates: goals asked about in closed form.
        scene: caption -> what the model is told of it.
        facts: scene -> what it tells, clause by clause.
        every: frames for each scene that is asked about; 0: all of them, waiting.
        in_flight: requests at once, to a model that is asked ahead over a network.
        temperature: of open answers; None: the prompt's.
        structured: whether open answers should follow a JSON schema, where the server can see to that.
        stop_on_failure: whether a question that fails ends training.

    Raises:
        LanguageModelError: from ``suggest``: for a failure, if failures stop the run; for a request that is rejected
            or cannot be delivered before any was answered (the address, the key or the model's name is wrong, not the
            moment); and for a scene that was never asked about, when replaying.
    """

    def __init__(
        self,
        model: LanguageModel,
        form: str,
        verbs: Sequence[str] = (),
        candidates: Sequence[Goal] = (),
        scene: Callable[[str], str] = str,
        facts: Callable[[str], Collection[str]] = str.split,
        every: int = 0,
        in_flight: int = 8,
        temperature: float | None = None,
        structured: bool = False,
        stop_on_failure: bool = False,
    ):
        if form not in ("open", "closed"):
            raise ValueError(f"form is {form!r}; choose 'open' or 'closed'")
        self.description = one_line(f"{form}-form goals from {model.description}")
        self.likely = tuple(model.goals) if form == "open" else ()
        self._model, self._form = model, form
        self._verbs, self._candidates = tuple(verbs), tuple(candidates)
        self._every, self._stop = every, stop_on_failure
        self._temperature, self._structured = temperature, structured
        self._known = KnownScenes(scene, facts)  # those of which all questions are answered have goals in it
        self._silent: dict[str, None] = {}  # scenes that the model has nothing to say about; not asked again
        # Closed form: of scenes not yet complete; None where the model has nothing to say.
        self._answered: dict[str, dict[Goal, bool | None]] = {}
        self._met: Counter[str] = Counter()  # scenes to be asked about -> how often met
        self._forgotten = 0  # scenes that were in it
        self._credit = float(BATCH)  # scenes that may be asked about now
        self._counts = Counter(scenes=0, questions=0, failures=0, without_goals=0, met=0, unanswered=0)
        self._pause = self._wait = 0  # calls
        self._goalless: int | None = 0  # answers so far, as long as none has held a goal
        self._spent = False  # the budget: nothing is asked any more
        self._ended = False  # by an error that was raised, or by `close`
        self._pool = ThreadPoolExecutor(in_flight) if every and not model.immediate else None
        self._under_way: dict[Future, str] = {}
        self._most_under_way = UNDER_WAY * in_flight

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        scenes = self._known.of(situations)
        if self._every:
            self._ask_ahead(scenes)
        elif not self._spent:
            new = dict.fromkeys(scene.text for scene in scenes if not scene.answered)
            self._ask_now([text for text in new if text not in self._silent])
        self._counts["met"] += len(scenes)
        self._counts["unanswered"] += sum([not scene.answered for scene in scenes])
        if self._every and self._known.any_goals:
            return self._known.of_the_closest(scenes)
        return [self._own(scene.text) for scene in scenes]

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        """Goals that are known; waiting, too, those of the closest scenes where a scene has none of its own."""
        scenes = self._known.of(situations)
        if not self._known.any_goals:
            return [self._own(scene.text) for scene in scenes]
        own = [None if self._every else self._own(scene.text) for scene in scenes]
        others = [scene for scene, goals in zip(scenes, own, strict=True) if goals is None]
        closest = iter(self._known.of_the_closest(others, remember=False))
        return [next(closest) if goals is None else goals for goals in own]

    def metrics(self) -> dict[str, float]:
        counts = {f"llm/{name}": float(count) for name, count in self._counts.items()}
        counts["llm/distinct"] = float(
            len(self._known.goals) + len(self._silent) + len(self._met) + self._forgotten
        )
        return self._model.metrics() | counts

    def status(self) -> str:
        metrics = self.metrics()
        known = 1 - metrics["llm/unanswered"] / max(metrics["llm/met"], 1)
        told = f"{metrics['llm/scenes']:,.0f} scenes asked, {known:.0%} known"
        if metrics.get("llm/usd"):
            told += f", ${metrics['llm/usd']:.2f}"
        if "llm/cache_hits" in metrics:
            asked = metrics["llm/cache_hits"] + metrics["llm/cache_misses"]
            told += f", {metrics['llm/cache_hits'] / max(asked, 1):.0%} from the cache"
        if metrics["llm/failures"]:
            told += f", {metrics['llm/failures']:,.0f} failed"
        return told

    def state(self) -> dict[str, Any]:
        return {
            **self._known.state(),
            "silent": list(self._silent),
            "answered": self._answered,
            "forgotten": self._forgotten,
            "met": self._met,  # those under way are still in it
            "credit": self._credit + len(self._under_way),
            "counts": self._counts,
            "pause": [self._pause, self._wait],
            "goalless": self._goalless,
            "spent": self._spent,
            "model": self._model.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._known.restore(state)
        self._silent = dict.fromkeys(state["silent"])
        self._answered = {scene: dict(answers) for scene, answers in state["answered"].items()}
        self._met, self._counts = Counter(state["met"]), Counter(state["counts"])
        self._credit, self._forgotten = state["credit"], state["forgotten"]
        self._pause, self._wait = state["pause"]
        self._goalless, self._spent = state["goalless"], state["spent"]
        self._model.restore(state["model"])

    def close(self) -> None:
        if self._counts["met"] and not self._counts["scenes"] and not self._ended:
            tell(
                f"warning: {self._model.description} gave no usable answer, so the run had no goals; "
                "metrics.jsonl counts failures by kind (llm/failed_*)"
            )
        self._ended = True
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._model.close()

    # --- asking -------------------------------------------------------------------------------------------

    def _ask_now(self, scenes: list[str]) -> None:
        if scenes and self._wait:
            self._wait -= 1
        elif scenes:
            questions = [question for scene in scenes for question in self._questions(scene)]
            self._take(questions, self._model.answer([prompt for _, _, prompt in questions]))

    def _ask_ahead(self, scenes: Sequence[Scene]) -> None:
        """Counts scenes, takes up answers that have come, and asks about those met most often."""
        new = [scene.text for scene in scenes if not scene.answered]
        self._met.update([text for text in new if text not in self._silent] if self._silent else new)
        if len(self._met) > 2 * COUNTED:  # of those met least often few will ever be asked about
            kept = set(self._most_met(COUNTED))
            self._forgotten += len(self._met) - len(kept)
            self._met = Counter({scene: times for scene, times in self._met.items() if scene in kept})
        self._credit = min(self._credit + len(scenes) / self._every, 4 * BATCH)
        if self._pool:
            self._collect()
        if self._spent:
            return
        if self._wait:
            self._wait -= 1
        elif self._pool:
            under_way = set(self._under_way.values())
            room = min(int(self._credit), self._most_under_way - len(under_way))
            for scene in self._most_met(room, under_way) if room > 0 else ():
                questions = self._questions(scene)
                future = self._pool.submit(self._model.answer, [prompt for _, _, prompt in questions])
                self._under_way[future] = scene
                self._credit -= 1
        elif self._credit >= BATCH and self._met:
            chosen = self._most_met(BATCH)
            self._credit -= len(chosen)
            self._ask_now(chosen)

    def _most_met(self, n: int, without: set[str] = frozenset()) -> list[str]:
        there = ((scene, times) for scene, times in self._met.items() if scene not in without)
        return [scene for scene, _ in heapq.nlargest(n, there, key=lambda pair: pair[1])]

    def _collect(self) -> None:
        questions, answers = [], []
        for future in [future for future in self._under_way if future.done()]:
            questions += self._questions(self._under_way.pop(future))
            answers += future.result()
        if answers:
            self._take(questions, answers)

    def _questions(self, scene: str) -> list[tuple[str, Goal, Prompt]]:
        """Scene, goal asked about ("" in open form) and prompt, for all that is not yet answered."""
        if self._form == "open":
            temperature = open_ended.TEMPERATURE if self._temperature is None else self._temperature
            prompt = open_ended.prompt(scene, self._verbs, schema=self._structured, temperature=temperature)
            return [(scene, "", prompt)]
        answered = self._answered.get(scene, ())
        return [
            (scene, goal, closed_form.prompt(scene, goal))
            for goal in self._candidates
            if goal not in answered
        ]

    # --- answers ------------------------------------------------------------------------------------------

    def _take(
        self,
        questions: Sequence[tuple[str, Goal, Prompt]],
        answers: Sequence[Answer | LanguageModelError],
    ) -> None:
        failed = [answer for answer in answers if isinstance(answer, LanguageModelError)]
        self._counts["questions"] += len(answers)
        self._counts["failures"] += len(failed)
        for error in failed:
            self._counts[f"failed_{error.kind}"] += 1
        lost = [error for error in failed if error.kind not in ANSWERED_ALL_THE_SAME]
        for error in failed:
            if error.kind == "never_asked" or (self._stop and error.kind != "over_budget"):
                self._end(error)
        for (scene, goal, _), answer in zip(questions, answers, strict=True):
            if isinstance(answer, Answer):
                self._learn(scene, goal, answer)
            elif answer.kind in ANSWERED_ALL_THE_SAME:
                self._learn(scene, goal, None)
        if len(lost) == len(answers):
            self._give_up_for_a_while(lost[0])
        else:
            self._pause = 0

    def _learn(self, scene: str, goal: Goal, answer: Answer | None) -> None:
        """Takes up an answer; None: the model has nothing to say."""
        if self._form == "open":
            goals = open_ended.parse(answer.text) if answer else None
            self._check_format(bool(goals))
            self._keep(scene, goals)
            return
        yes = answer and closed_form.probability_of_yes(answer.text, answer.logprobs) > closed_form.THRESHOLD
        self._check_format(bool(yes))
        answered = self._answered.setdefault(scene, {})
        answered[goal] = yes
        if len(answered) == len(self._candidates):
            self._keep(scene, self._agreed_to(scene))
            del self._answered[scene]

    def _agreed_to(self, scene: str) -> tuple[Goal, ...] | None:
        """Goals of a scene that have been answered with yes so far; None: the model has said nothing about any."""
        answered = self._answered.get(scene, {})
        if all(yes is None for yes in answered.values()):
            return None
        return tuple(goal for goal in self._candidates if answered.get(goal))

    def _keep(self, scene: str, goals: tuple[Goal, ...] | None) -> None:
        self._met.pop(scene, None)
        if goals is None:
            self._silent[scene] = None
            return
        self._known.keep(scene, goals)
        self._counts["scenes"] += 1
        self._counts["without_goals"] += not goals

    def _check_format(self, found: bool) -> None:
        """Warns of a model whose first answers all hold no goal."""
        if self._goalless is None:
            return
        self._goalless = None if found else self._goalless + 1
        if self._goalless == GOALLESS:
            self._goalless = None
            tell(
                f"warning: the first {GOALLESS} answers of {self._model.description} suggest no goal; "
                "experiments/inspect_prompts.py shows what it is asked and what it answers"
            )

    def _end(self, error: LanguageModelError) -> NoReturn:
        self._ended = True
        raise error

    def _give_up_for_a_while(self, error: LanguageModelError) -> None:
        if error.kind == "over_budget":
            if not self._under_way:  # else they may cost less than is set aside for them
                tell(f"note: {error}; the run goes on with the goals that are known")
                self._spent = True
            return
        nothing_yet = self._counts["failures"] == self._counts["questions"]
        if nothing_yet and error.kind in HOPELESS:
            self._end(error)
        if self._wait:
            return  # those that were under way when the pause began
        if not self._pause:
            tell(f"warning: {error}; new scenes have no goals until it answers again")
        self._pause = min(2 * self._pause or 1, LONGEST_PAUSE)
        self._wait = self._pause

    # --- what is known ------------------------------------------------------------------------------------

    def _own(self, scene: str) -> tuple[Goal, ...] | None:
        """Goals that were answered for a scene itself, as far as it is answered; None: it is not."""
        if scene in self._known.goals:
            return self._known.goals[scene]
        if scene in self._silent and not self._every:
            return ()
        return self._agreed_to(scene)
