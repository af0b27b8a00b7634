"""Goals from a language model, asked in open or in closed form."""

from __future__ import annotations

import heapq
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ellm_agent.goals.base import Goal, GoalSuggester
from ellm_agent.goals.nearest import NearestScene
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.records import Situation
from prompts import closed_form, open_ended

LONGEST_PAUSE = 1024  # calls of `suggest` without a question after a model has failed again and again
BATCH = 64  # scenes that a model in the process is asked about at once
UNDER_WAY = 2  # scenes under way at an endpoint, for each request in flight
FRESH = 1.5  # times as many scenes must be known for another look at which is closest
ANSWERED_ALL_THE_SAME = ("empty", "refused")  # the model has answered; asking again would bring no more
HOPELESS = ("rejected", "unreachable")  # no use going on, if it happens before anything was answered


class LanguageModelSuggester(GoalSuggester):
    """Asks a language model what is worth trying, about each scene once.

    *Open*: one question for each distinct scene, answered in bullets; each bullet is a goal. *Closed*: one yes/no
    question for each distinct scene and candidate goal; suggested are those with P(yes) > 0.5.

    *Waiting*: each new scene is asked about at once, and training waits: a run is the same each time, and the
    paper's. *Ahead* (``every`` > 0): one scene for so many frames, those met most often first, and training goes on; a
    scene that has no answer yet has the goals of the closest scene that has one. Scenes are many and most are met once
    or twice: so a million frames cost what some thousands of answers cost. A model in the process still makes a run the
    same each time.

    Where a question fails there are no goals this time, and it is asked again later. When all that comes back are
    failures, asking pauses for one call, then two, then four ..., and a line on stderr says so: a dead server must not
    hold up training.

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
        self.description = f"{form}-form goals from {model.description}"
        self._model, self._form = model, form
        self._verbs, self._candidates = tuple(verbs), tuple(candidates)
        self._scene, self._every, self._stop = scene, every, stop_on_failure
        self._temperature, self._structured = temperature, structured
        self._scenes: dict[str, str] = {}  # caption -> scene
        self._goals: dict[str, tuple[Goal, ...]] = {}  # scene -> goals, all its questions answered
        self._nearest = NearestScene(facts)  # of the scenes in it
        self._borrowed: dict[str, tuple[int, str]] = {}  # scene -> scenes then known, and the closest of them
        self._answered: dict[str, dict[Goal, bool]] = {}  # closed form: of scenes not yet complete
        self._met: Counter[str] = Counter()  # scenes to be asked about -> how often met
        self._credit = float(BATCH)  # scenes that may be asked about now
        self._counts = Counter(scenes=0, questions=0, failures=0, without_goals=0, met=0, unanswered=0)
        self._pause = self._wait = 0  # calls
        self._spent = False  # the budget: nothing is asked any more
        self._pool = ThreadPoolExecutor(in_flight) if every and not model.immediate else None
        self._under_way: dict[Future, str] = {}
        self._most_under_way = UNDER_WAY * in_flight

    def suggest(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        scenes = [self._scene_of(situation.caption) for situation in situations]
        if self._every:
            self._ask_ahead(scenes)
        elif not self._spent:
            self._ask_now([scene for scene in dict.fromkeys(scenes) if scene not in self._goals])
        self._counts["met"] += len(scenes)
        self._counts["unanswered"] += sum(scene not in self._goals for scene in scenes)
        return [self._known(scene) for scene in scenes]

    def recall(self, situations: Sequence[Situation]) -> list[tuple[Goal, ...] | None]:
        if not self._every:
            return self.suggest(situations)
        return [self._known(self._scene_of(situation.caption), remember=False) for situation in situations]

    def metrics(self) -> dict[str, float]:
        counts = {f"llm/{name}": float(count) for name, count in self._counts.items()}
        counts["llm/distinct"] = float(len(self._goals) + len(self._met))
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
            "goals": {scene: list(goals) for scene, goals in self._goals.items()},
            "answered": self._answered,
            "borrowed": self._borrowed,
            "met": self._met,  # those under way are still in it
            "credit": self._credit,
            "counts": self._counts,
            "pause": [self._pause, self._wait],
            "model": self._model.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._goals = {scene: tuple(goals) for scene, goals in state["goals"].items()}
        for scene in self._goals:
            self._nearest.add(scene)
        self._borrowed = {scene: tuple(closest) for scene, closest in state["borrowed"].items()}
        self._answered = {scene: dict(answers) for scene, answers in state["answered"].items()}
        self._met, self._counts = Counter(state["met"]), Counter(state["counts"])
        self._credit = state["credit"]
        self._pause, self._wait = state["pause"]
        self._model.restore(state["model"])

    def close(self) -> None:
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

    def _ask_ahead(self, scenes: list[str]) -> None:
        """Counts scenes, takes up answers that have come, and asks about those met most often."""
        self._met.update(scene for scene in scenes if scene not in self._goals)
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
        for error in lost:
            if error.kind == "never_asked" or (self._stop and error.kind != "over_budget"):
                raise error
        for (scene, goal, _), answer in zip(questions, answers, strict=True):
            if isinstance(answer, Answer) or answer.kind in ANSWERED_ALL_THE_SAME:
                self._learn(scene, goal, answer if isinstance(answer, Answer) else Answer(""))
        if len(lost) == len(answers):
            self._give_up_for_a_while(lost[0])
        else:
            self._pause = 0

    def _learn(self, scene: str, goal: Goal, answer: Answer) -> None:
        if self._form == "open":
            self._keep(scene, open_ended.parse(answer.text))
            return
        p = closed_form.probability_of_yes(answer.text, answer.logprobs)
        answered = self._answered.setdefault(scene, {})
        answered[goal] = p > closed_form.THRESHOLD
        if len(answered) == len(self._candidates):
            self._keep(scene, tuple(goal for goal in self._candidates if answered[goal]))
            del self._answered[scene]

    def _keep(self, scene: str, goals: tuple[Goal, ...]) -> None:
        self._goals[scene] = goals
        self._nearest.add(scene)
        self._borrowed.pop(scene, None)
        self._met.pop(scene, None)
        self._counts["scenes"] += 1
        self._counts["without_goals"] += not goals

    def _give_up_for_a_while(self, error: LanguageModelError) -> None:
        if error.kind == "over_budget":
            if not self._under_way:  # else they may cost less than is set aside for them
                print(f"note: {error}; the run goes on with the goals that are known", file=sys.stderr)
                self._spent = True
            return
        nothing_yet = self._counts["failures"] == self._counts["questions"]
        if nothing_yet and error.kind in HOPELESS:
            raise error
        if self._wait:
            return  # those that were under way when the pause began
        if not self._pause:
            print(f"warning: {error}; new scenes have no goals until it answers again", file=sys.stderr)
        self._pause = min(2 * self._pause or 1, LONGEST_PAUSE)
        self._wait = self._pause

    # --- what is known ------------------------------------------------------------------------------------

    def _scene_of(self, caption: str) -> str:
        scene = self._scenes.get(caption)
        if scene is None:
            scene = self._scenes[caption] = self._scene(caption)
        return scene

    def _known(self, scene: str, remember: bool = True) -> tuple[Goal, ...] | None:
        """Goals of a scene, or, asking ahead, of the closest that has some; None if nobody has said anything yet."""
        goals = self._goals.get(scene)
        if goals is None and scene in self._answered:
            answered = self._answered[scene]
            return tuple(goal for goal in self._candidates if answered.get(goal))
        if goals is None and self._every and self._goals:
            return self._goals[self._closest(scene, remember)]
        return goals

    def _closest(self, scene: str, remember: bool) -> str:
        known, closest = self._borrowed.get(scene, (0, ""))
        if len(self._goals) >= FRESH * known:  # looked up again once many more are known
            closest = self._nearest.find(scene)
            if remember:
                self._borrowed[scene] = len(self._goals), closest
        return closest
