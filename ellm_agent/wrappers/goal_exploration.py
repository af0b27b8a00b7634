"""ELLM as a wrapper for SB3's vectorised environments: goals in, intrinsic rewards out.

It wraps any ``VecEnv`` of text environments (those whose ``language`` attribute is a
:class:`envs.interface.Language` and whose infos carry ``situation`` and ``events``; see
``envs/crafter_text.py``), and any SB3 algorithm trains on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from ellm_agent.goals.base import Goal, GoalSuggester
from ellm_agent.goals.quality import GoalCounts, QualityBins
from ellm_agent.goals.sampling import GoalLots
from ellm_agent.llm.base import LanguageModelError
from ellm_agent.records import NO_PAYMENT, Episode, Payment, StepLog
from ellm_agent.rewards import GoalSimilarity
from ellm_agent.text.embedding_bag import PADDING
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures
from envs.interface import Language, Situation

SLOTS = {"done": 24, "goals": 24}  # phrases that fit in a field; more are left out
OPENINGS = {"scene": "", "done": "achieved: ", "goals": "goal: "}  # what tells the fields' phrases apart


class GoalExploration(VecEnvWrapper):
    """Pays for achieving suggested goals, and tells the agent what it has achieved.

    **Observation**: phrase ids, ``Box((slots,), int16 or int32)``, in the fields of ``fields``
    (name -> slice): ``scene`` (the environment's caption), ``done`` (events paid for in this episode:
    without them the reward would not be a function of the state) and, if conditioned, ``goals``
    (open goals). With ``sentence`` each field is one phrase: its clauses joined into text.

    **Reward**: ``intrinsic + extrinsic_weight * environment's``.

    **Info**: the environment's; at the end of an episode also ``finished``, a :class:`ellm_agent.records.Episode`, and SB3's
    ``episode`` (return and length). ``log`` tells what was made of the last transitions.

    Args:
        venv: parallel text environments.
        suggester: suggests goals for situations.
        reward: judges events against goals.
        phrases: interns what the agent reads.
        conditioned: whether the agent reads its open goals.
        at_once: how many of the suggested goals count at a time, drawn by lot; None: all.
        goal_frames: frames for which those drawn count, unless they are achieved before.
        sentence: whether a field is one sentence instead of clauses.
        success: "effect" (what really happened counts) or "attempt" (so does a phrase whose noun was
            faced or held: the official code's intrinsic reward).
        extrinsic_weight: weight of the environment's reward; the paper's pretraining has 0.
        witnessed: whether the agent reads every event of the episode as achieved, paid for or not: for agents that
            explore without goals, so that they read what those with goals read.
        one_episode: for evaluation: once a world's first episode has ended, nobody is asked for goals
            there any more, until ``reset``.

    Attributes:
        goals: per environment, the goals that count in its present state: all that were suggested for it (the last ones
            known in the episode, where a language model has not yet answered), or those drawn.
        achieved: per environment, events paid for (or all events, if witnessed) in this episode.
        counts: of the goals suggested and rewarded, by quality.
        failure: why the suggester can no longer be asked, if that came up in the middle of a step; from then on it is
            not. Whoever trains ends the run when it can.
    """

    def __init__(
        self,
        venv: VecEnv,
        suggester: GoalSuggester,
        reward: GoalSimilarity,
        phrases: PhraseTable,
        conditioned: bool = False,
        at_once: int | None = None,
        goal_frames: int = 64,
        sentence: bool = False,
        success: str = "effect",
        extrinsic_weight: float = 0.0,
        witnessed: bool = False,
        one_episode: bool = False,
    ):
        self.language: Language = venv.get_attr("language")[0]
        self.phrases = phrases
        vocabulary = phrases.ids(self.language.vocabulary)
        # In a batch that is the same in every run: the next ones find it on disk.
        phrases.vectors_of(phrases.ids(closed_vocabulary(self.language)))
        reward.learn([(*suggester.likely, *self.language.goals)])
        slots = {"scene": venv.observation_space.shape[0], "done": SLOTS["done"]}
        if conditioned:
            slots["goals"] = SLOTS["goals"]
        if sentence:
            slots = dict.fromkeys(slots, 1)
        self.fields = _slices(slots)
        # Whole sentences, free goals and attempts are an open vocabulary, which may outgrow 16 bits.
        is_open = sentence or conditioned or success == "attempt"
        dtype = np.int32 if is_open else np.int16
        self._phrase_ids = np.array(vocabulary, dtype)
        # So it is in a table that knew nothing before: there scenes need not be translated.
        self._plain = vocabulary == list(range(len(vocabulary)))
        space = gym.spaces.Box(0, np.iinfo(dtype).max, (sum(slots.values()),), dtype)
        super().__init__(venv, observation_space=space)
        self._features: dict[bool, PhraseFeatures] = {}  # by whether they are whitened
        self._suggester, self._reward = suggester, reward
        self._sentence, self._success, self._extrinsic = sentence, success, extrinsic_weight
        self._witnessed = witnessed
        # What nobody pays for is shown whole: it is for somebody else to say when it is done.
        self._lots = GoalLots(venv.num_envs, at_once if suggester.pays else None, goal_frames)
        self._one_episode, self._idle = one_episode, set()
        language = self.language
        bins = QualityBins(language.canonical, language.goals, language.verbs, language.nouns)
        self.counts = GoalCounts(bins)
        self.failure: LanguageModelError | None = None
        self._stepping = False

    # --- VecEnv -----------------------------------------------------------------------------------

    def reset(self) -> np.ndarray:
        scenes = self.venv.reset()
        self._begin()
        self._suggest([info["situation"] for info in self.venv.reset_infos])
        return self._observe(scenes)

    def seed(self, seed: int | None = None) -> list[int | None]:
        self._lots.seed(seed)
        return super().seed(seed)

    def _begin(self) -> None:
        """Forgets what belongs to episodes."""
        self._lots.begin()
        self.achieved: list[tuple[str, ...]] = [()] * self.num_envs
        self._done_ids = np.full((self.num_envs, self._width("done")), PADDING, self.observation_space.dtype)
        self._returns = np.zeros((self.num_envs, 2))  # intrinsic, extrinsic
        self._steps, self._started = 0, [0] * self.num_envs  # of all worlds; when their episodes began
        self._idle.clear()
        self._last_goals: list[tuple[Goal, ...]] = [()] * self.num_envs
        self._stepping = False

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        scenes, extrinsic, dones, infos = self.venv.step_wait()
        self._stepping = True
        intrinsic = np.zeros(self.num_envs, np.float32)
        attempts = self._success == "attempt"
        self._before, self._payments = (self.goals, list(self.achieved)), {}
        for i, info in enumerate(infos):
            if info["events"] or attempts:  # in most frames nothing happens
                self._payments[i] = payment = self._pay(i, info)
                intrinsic[i] = payment.reward
        if self._payments:
            self._returns[:, 0] += intrinsic
        self._returns[:, 1] += extrinsic
        self._steps += 1
        situations = [info["situation"] for info in infos]

        if dones.any():  # the environments have already started over; the agent may see how it ended
            ended = np.flatnonzero(dones)
            last = np.stack([infos[i]["terminal_observation"] for i in ended])
            last = self._observe(last, ended, self._suggest_for(ended, [situations[i] for i in ended]))
            for row, i in enumerate(ended):
                infos[i]["terminal_observation"] = last[row]
                self._finish(i, infos[i])
                situations[i] = self.venv.reset_infos[i]["situation"]

        self._suggest(situations)
        rewards = intrinsic + self._extrinsic * extrinsic if self._extrinsic else intrinsic
        return self._observe(scenes), rewards, dones, infos

    def features(self, whiten: bool) -> PhraseFeatures:
        """The frozen vectors of the phrases that an agent reads, whitened over the closed vocabulary or not."""
        if whiten not in self._features:
            closed = self.phrases.ids(closed_vocabulary(self.language))
            self._features[whiten] = PhraseFeatures(self.phrases, closed, whiten)
        return self._features[whiten]

    @property
    def open(self) -> list[tuple[Goal, ...]]:
        """Per environment, the goals not yet achieved."""
        return [self._open(i) for i in range(self.num_envs)]

    def log(self, i: int) -> StepLog:
        """What was made of the last transition of world ``i``. Not for the agent.

        Raises:
            AttributeError: before the first step.
        """
        goals, achieved = self._before
        return StepLog(goals[i], achieved[i], self._payments.get(i, NO_PAYMENT))

    def open_before(self, log: StepLog) -> tuple[Goal, ...]:
        """The goals not yet achieved before a transition."""
        return self._still_open(log.goals, log.achieved)

    # --- diagnostics --------------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        """Shares of the quality bins since the last call, and the suggester's counters."""
        return {**self._suggester.metrics(), **self.counts.metrics()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: counts, episodes under way, and what the suggester has learned. JSON values."""
        return {
            **self.counts.state(),
            "suggester": self._suggester.state(),
            "episodes": self.venv.env_method("episode"),
            "goals": self.goals,
            "last_goals": self._last_goals,
            "lots": self._lots.state(),
            "achieved": self.achieved,
            "returns": self._returns.tolist(),
            "lengths": [self._steps - started for started in self._started],
        }

    def restore(self, state: Mapping[str, Any]) -> np.ndarray:
        """Takes up what ``state`` gave; the episodes go on. Returns what ``reset`` does.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if it is not the state of such worlds.
        """
        self.counts.restore(state)
        self._suggester.restore(state["suggester"])
        self._begin()
        taken = [
            self.venv.env_method("take_up", episode, indices=i)[0]
            for i, episode in zip(range(self.num_envs), state["episodes"], strict=True)
        ]
        self._situations = [info["situation"] for _, info in taken]
        self.goals = [tuple(goals) for _, goals in zip(taken, state["goals"], strict=True)]
        self._last_goals = [tuple(goals) for goals in state["last_goals"]]
        self._lots.restore(state["lots"])
        self.achieved = [tuple(events) for _, events in zip(taken, state["achieved"], strict=True)]
        for ids, events in zip(self._done_ids, self.achieved, strict=True):
            self._write("done", ids, events)
        self._returns[:] = state["returns"]
        self._started = [-length for _, length in zip(taken, state["lengths"], strict=True)]
        return self._observe(np.stack([scene for scene, _ in taken]))

    # --- the parts of a step ------------------------------------------------------------------------

    def _pay(self, i: int, info: Mapping) -> Payment:
        """Judges what happened in world ``i`` by the goals of the state before."""
        payment = self._judge(i, info)
        achieved = payment.events
        if self._witnessed:
            achieved = tuple(event for event in info["events"] if event not in self.achieved[i])
        if achieved:
            self.achieved[i] += achieved
            self._write("done", self._done_ids[i], self.achieved[i])
        if payment.events:
            self.counts.note_rewarded(payment.goals, self._situations[i].possible)
        return payment

    def _judge(self, i: int, info: Mapping) -> Payment:
        events = info["events"]
        if self._success == "attempt" and info["attempt"] is not None:
            events = dict.fromkeys((*events, info["attempt"]))
        if not self._suggester.pays:
            return NO_PAYMENT
        # What was paid for has closed all goals that it satisfies; nothing is open that it could be paid for again.
        new = [event for event in events if event not in self.achieved[i]]
        return self._reward.pay(new, self.goals[i], self.achieved[i]) if new else NO_PAYMENT

    def _suggest(self, situations: list[Situation]) -> None:
        """Asks for the goals of the present states."""
        self._situations = situations
        if self._idle:
            asked = [i for i in range(self.num_envs) if i not in self._idle]
            told = dict(zip(asked, self._ask(asked, [situations[i] for i in asked]), strict=True))
            self.goals: list[tuple[Goal, ...]] = [told.get(i, ()) for i in range(self.num_envs)]
        else:
            self.goals = self._ask(range(self.num_envs), situations)
        self._last_goals = list(self.goals)
        self._reward.learn(self.goals)
        if self._suggester.pays:
            self.counts.note_suggested(self.goals, situations)
        if self._lots.are_drawn:
            self.goals = [() if i in self._idle else self._draw(i) for i in range(self.num_envs)]

    def _draw(self, i: int) -> tuple[Goal, ...]:
        """Those of world ``i``'s goals that count."""
        kept = self._still_open(self._lots.drawn[i], self.achieved[i])
        return self._lots.draw(i, kept, lambda: self._open(i))

    def _suggest_for(
        self, ended: Sequence[int], situations: list[Situation]
    ) -> list[tuple[Goal, ...]] | None:
        """Goals of worlds' last states, in which nobody will act; only a conditioned agent reads them."""
        if "goals" not in self.fields:
            return None
        return [self._lots.drawn[i] for i in ended] if self._lots.are_drawn else self._ask(ended, situations)

    def _ask(self, worlds: Sequence[int], situations: list[Situation]) -> list[tuple[Goal, ...]]:
        """Goals of worlds' situations; the last ones known in the episode where there is no answer yet."""
        recall = self._one_episode or self.failure is not None
        try:
            suggested = (self._suggester.recall if recall else self._suggester.suggest)(situations)
        except LanguageModelError as error:
            if not self._stepping:
                raise
            # The worlds have moved: what happened in this step must still reach the agent and the logs.
            self.failure, suggested = error, self._suggester.recall(situations)
        told = zip(worlds, suggested, strict=True)
        return [self._last_goals[i] if goals is None else goals for i, goals in told]

    def _open(self, i: int) -> tuple[Goal, ...]:
        # Looked up when somebody wants to know: most frames have no event, and few agents read their goals.
        return self._still_open(self.goals[i], self.achieved[i])

    def _still_open(self, goals: tuple[Goal, ...], achieved: tuple[str, ...]) -> tuple[Goal, ...]:
        return self._reward.open_goals(goals, achieved) if self._suggester.pays else goals

    def _finish(self, i: int, info: dict) -> None:
        intrinsic, extrinsic = self._returns[i]
        length = self._steps - self._started[i]
        info["finished"] = Episode(
            world_seed=info["world_seed"],
            length=length,
            intrinsic_return=round(float(intrinsic), 4),
            extrinsic_return=round(float(extrinsic), 4),
            unlocked=info["unlocked"],
            success=info.get("success"),
        )
        total = float(intrinsic + self._extrinsic * extrinsic)
        info["episode"] = {"r": total, "l": length}
        self.achieved[i] = self._last_goals[i] = self._lots.drawn[i] = ()
        self._done_ids[i] = PADDING
        self._returns[i] = 0
        self._started[i] = self._steps
        if self._one_episode:
            self._idle.add(i)

    # --- what the agent reads -------------------------------------------------------------------------

    def _observe(
        self,
        scenes: np.ndarray,
        envs: Sequence[int] | None = None,
        goals: list[tuple[Goal, ...]] | None = None,
    ) -> np.ndarray:
        """Phrase ids for the agent, ``(len(scenes), slots)``; of all worlds and their present goals, unless given."""
        done = self._done_ids if envs is None else self._done_ids[envs]
        space = self.observation_space
        observation = np.empty((len(scenes), space.shape[0]), space.dtype)
        if self._sentence:
            for row, scene in zip(observation, scenes, strict=True):
                clauses = [self.language.vocabulary[clause] for clause in scene if clause]
                self._write("scene", row[self.fields["scene"]], clauses)
        else:
            observation[:, self.fields["scene"]] = scenes if self._plain else self._phrase_ids.take(scenes)
        observation[:, self.fields["done"]] = done
        if "goals" in self.fields:
            envs = range(self.num_envs) if envs is None else envs
            goals = self.goals if goals is None else goals
            for row, mine, i in zip(observation, goals, envs, strict=True):
                self._write("goals", row[self.fields["goals"]], self._still_open(mine, self.achieved[i]))
        return observation

    def _write(self, field: str, row: np.ndarray, texts: Sequence[str]) -> None:
        """Writes a field: its phrases, or one sentence of them."""
        if self._sentence and texts:
            # What is achieved or open is a set: one wording for each, not one for each order.
            joined = self.language.to_sentence(texts) if field == "scene" else ", ".join(sorted(texts))
            texts = [joined]
        ids = self.phrases.ids(OPENINGS[field] + text for text in texts[: len(row)])
        row[:] = PADDING
        row[: len(ids)] = ids

    def _width(self, field: str) -> int:
        part = self.fields[field]
        return part.stop - part.start


def closed_vocabulary(language: Language) -> list[str]:
    """All phrases that an agent reads as long as goals are worded as events are."""
    told = [OPENINGS[field] + goal for field in ("done", "goals") for goal in language.goals]
    return [*language.vocabulary, *told]


def _slices(slots: Mapping[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(slots.values())).tolist()
    return {name: slice(end - slots[name], end) for name, end in zip(slots, ends, strict=True)}
