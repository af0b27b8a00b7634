"""ELLM as a wrapper for SB3's vectorised environments: goals in, intrinsic rewards out.

It wraps any ``VecEnv`` of text environments (``envs.interface``), and any SB3 algorithm trains on it. Knows nothing of any
particular world, language model or agent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from ellm_agent.goals.base import FullState, Goal, GoalSuggester
from ellm_agent.goals.quality import GoalCounts
from ellm_agent.goals.sampling import GoalSampler
from ellm_agent.llm.base import LanguageModelError
from ellm_agent.records import NO_REWARD, Episode, IntrinsicReward, StepLog
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.rewards.rarity import Rarity
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.text.whitening import PhraseFeatures
from ellm_agent.wrappers.attempts import Attempts
from ellm_agent.wrappers.episode_events import EpisodeEvents
from ellm_agent.wrappers.observation import ObservationWriter
from ellm_agent.wrappers.suggestion_outcomes import EVERY, SuggestionOutcomes
from envs.interface import Language

ATTEMPT_SLOTS = 40  # phrases for rewarded attempts, beside those of the world's own events
GOAL_SLOTS = 64  # phrases, where all goals that are freely worded are active, at least
# An event that was rewarded n times in the episode is worth this to the power of n, without the weight of rarity. So all its
# repetitions together are worth 1 at most: a constant reward for each was worth more than what they are needed for.
REOPENED = 0.5


class GoalExploration(VecEnvWrapper):
    """Rewards the achievement of suggested goals, and shows the agent what it has achieved.

    **Observation**: phrase ids, ``Box((slots,), int16 or int32)``, in the fields of ``fields`` (name -> slice):
    ``caption`` (the environment's), ``achieved`` (events rewarded in this episode, but those that are open again and may
    be rewarded again: without them the agent could not know which goals are open) and, if goal-conditioned, ``goals`` (active goals that
    are open). With ``sentence`` each field is one phrase: its clauses joined into text.

    **Reward**: ``goal_weight * rarity * max cosine + extrinsic_weight * environment's``; see ``rewards/``.

    **Info**: the environment's, and its reward as ``extrinsic``; at the end of an episode also ``finished``, a
    :class:`ellm_agent.records.Episode`, and SB3's ``episode`` (return and length). With ``log_suggestions``,
    ``suggestions``: what became of earlier suggestions, as far as that is known by now. ``log`` has the diagnostics of
    the last transitions.

    Args:
        venv: parallel text environments.
        suggester: suggests goals for situations.
        reward: compares events with goals.
        phrases: gives ids to observed phrases.
        goal_conditioned: whether the agent observes its open goals.
        goal_weight: weight of the reward for goals; 0: goals are only observed, and closed when achieved.
        rarity: how much more rare events are worth; None: nothing.
        reopen: whether an achieved goal is open again where the world says so (``Privileged.needed``), looked at in
            each frame; its reward is then ``goal_weight * REOPENED**n * max cosine`` where it was rewarded n times before.
        max_active_goals: how many of the suggested goals are active at a time, sampled uniformly; None: all.
        active_goal_frames: frames for which sampled goals stay active, unless they are achieved before.
        sentence: whether a field is one sentence instead of clauses.
        hide: regular expression of clauses of captions that are not observed; None: all are.
        success: "effect" (events are what really happened) or "attempt" (also the phrase that was tried with its noun
            faced or held: the official code's intrinsic reward).
        extrinsic_weight: weight of the environment's reward; the paper's pretraining has 0.
        observe_all_events: show every event of the episode in the ``achieved`` field, not only rewarded ones. Used when
            no goals are rewarded, so that all methods share one observation space.
        one_episode: for evaluation: no suggestions for a world after the end of its first episode, until ``reset``.
        log_suggestions: fields that all rows about suggestions have; None: no such rows.

    Attributes:
        known_phrases: ids of the phrases that are known to be observed.
        on_demand: whether there are many more, which get ids when they are met.
        compares_spelling: whether the world's own goals are compared by their spelling.
        goals: per world, the active goals of its present state.
        counts: of the goals suggested and rewarded, by quality.
        failure: the language model's error, if one came up in the middle of a step; from then on no model is asked.
            The training loop ends the run when it can.
    """

    def __init__(
        self,
        venv: VecEnv,
        suggester: GoalSuggester,
        reward: GoalSimilarity,
        phrases: PhraseTable,
        goal_conditioned: bool = False,
        goal_weight: float = 1.0,
        rarity: Rarity | None = None,
        reopen: bool = False,
        max_active_goals: int | None = None,
        active_goal_frames: int = 64,
        sentence: bool = False,
        hide: str | None = None,
        success: str = "effect",
        extrinsic_weight: float = 0.0,
        observe_all_events: bool = False,
        one_episode: bool = False,
        log_suggestions: Mapping[str, Any] | None = None,
    ):
        self.language: Language = venv.get_attr("language")[0]
        self.phrases = phrases
        events = len(self.language.goals)
        achieved = self.language.most_achieved or events
        achieved += 0 if success == "effect" else ATTEMPT_SLOTS
        slots = {"caption": venv.observation_space.shape[0], "achieved": achieved}
        # Goals without intrinsic reward (tasks) are neither sampled nor filtered: the environment ends them.
        max_active_goals = max_active_goals if suggester.rewards_goals else None
        if goal_conditioned:
            free = GOAL_SLOTS if suggester.open_vocabulary else 0
            slots["goals"] = max_active_goals or max(self.language.most_candidates or events, free)
        self._writer = ObservationWriter(
            self.language,
            phrases,
            slots,
            suggester.likely_goals,
            sentence,
            open_vocabulary=(goal_conditioned and suggester.open_vocabulary) or success == "attempt",
            hide=hide,
        )
        self.fields, self.known_phrases = self._writer.fields, self._writer.known
        self.on_demand, self.compares_spelling = self._writer.on_demand, reward.compares_spelling
        super().__init__(venv, observation_space=self._writer.space)
        reward.prepare((*self.language.goals, *suggester.likely_goals))
        self._features: dict[bool, PhraseFeatures] = {}  # by whether they are whitened
        self._suggester, self._reward = suggester, reward
        self._attempts, self._extrinsic_weight = success == "attempt", extrinsic_weight
        self._goal_weight, self._rarity, self._reopen = goal_weight, rarity, reopen
        self._observe_all_events = observe_all_events
        self._sampler = GoalSampler(venv.num_envs, max_active_goals, active_goal_frames)
        self._one_episode, self._over = one_episode, set()  # worlds whose episode is over
        self._attempted = (
            Attempts(self.language) if suggester.learns_from_attempts and not one_episode else None
        )
        self._outcomes = (
            None
            if log_suggestions is None
            else SuggestionOutcomes(venv.num_envs, self.satisfies, log_suggestions)
        )
        self.counts = GoalCounts(self.language)
        self.failure: LanguageModelError | None = None
        self._with_ids = 0  # goals known to the suggester that have ids
        self._begin()

    # --- the step -----------------------------------------------------------------------------------------------------

    def reset(self) -> np.ndarray:
        captions = self.venv.reset()
        self._begin()
        self._suggest(self.venv.reset_infos)
        if self._outcomes:
            self._outcomes.reset()
            self._open_outcomes(self.venv.reset_infos)
        return self._observe(captions)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = np.asarray(actions)
        self.venv.step_async(actions)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        before = self._captions
        captions, extrinsic, dones, infos = self.venv.step_wait()
        self._stepping = True
        if self._attempted:
            self._note_attempts(before, infos)
        self._before = list(self.goals), list(self.achieved)
        new_events = ((i, self._new_events(i, info)) for i, info in enumerate(infos))
        self._rewards = {i: self._reward_events(i, events, infos[i]) for i, events in new_events if events}
        intrinsic = np.zeros(self.num_envs, np.float32)
        for i, reward in self._rewards.items():
            intrinsic[i] = reward.value
        if self._reopen:
            for i, info in enumerate(infos):
                self._reopen_needed(i, info["privileged"].needed)
        for info, value in zip(infos, extrinsic.tolist(), strict=True):
            info["extrinsic"] = value
        self._returns += np.stack([intrinsic, extrinsic], axis=1)
        self._lengths += 1
        if self._outcomes:
            for i, info in enumerate(infos):
                if rows := self._outcomes.step(i, int(self._lengths[i]), info["events"], bool(dones[i])):
                    info["suggestions"] = rows

        present = list(infos)  # of the states from which the worlds go on
        if dones.any():  # the environments have already started over; the agent may see how it ended
            ended = np.flatnonzero(dones)
            last = self._observe_last(ended, infos)
            for row, i in enumerate(ended):
                infos[i]["terminal_observation"] = last[row]
                self._finish(i, infos[i])
                present[i] = self.venv.reset_infos[i]

        self._suggest(present)
        if self._outcomes:
            self._open_outcomes(present)
        return self._observe(captions), intrinsic + self._extrinsic_weight * extrinsic, dones, infos

    def _note_attempts(self, captions: np.ndarray, infos: Sequence[Mapping[str, Any]]) -> None:
        """Tells the suggester which goals the last actions were attempts at, and whether they succeeded."""
        for i, goal in enumerate(self._attempted.goals(captions, self._actions)):
            if goal is not None:
                succeeded = any(self.satisfies(event, goal) for event in infos[i]["events"])
                self._suggester.note_attempt(goal, self._situations[i], succeeded)

    def _open_outcomes(self, infos: Sequence[Mapping[str, Any]]) -> None:
        """Begins to follow what becomes of the present suggestions, where it is time to."""
        for i in np.flatnonzero(self._lengths % EVERY == 0):
            if i not in self._over:
                self._outcomes.open(
                    int(i),
                    world_seed=infos[i]["world_seed"],
                    frame=int(self._lengths[i]),
                    caption=self._situations[i].caption,
                    goals=list(self._suggested[i]),
                    tokens=self._suggester.tokens_of(self._situations[i]),
                )

    def _new_events(self, i: int, info: Mapping[str, Any]) -> tuple[str, ...]:
        """Events of a transition, by the definition of success, that were not rewarded before."""
        events = info["events"]
        if self._attempts and info["attempt"] is not None:
            events = tuple(dict.fromkeys((*events, info["attempt"])))
        return tuple(event for event in events if event not in self.achieved[i]) if events else ()

    def _reward_events(self, i: int, events: tuple[str, ...], info: Mapping[str, Any]) -> IntrinsicReward:
        """The reward of world ``i``'s transition for the goals of the state before; marks what is achieved."""
        reward, new = NO_REWARD, ()
        if self._suggester.rewards_goals:
            reward = self._reward.reward(events, self.goals[i], self.achieved[i])
            new = reward.events  # these close goals, also where they are not rewarded
            rewardable = self._events.note(i, events)
            if rewardable != events:
                reward = self._reward.reward(rewardable, self.goals[i], self.achieved[i])
        if reward.events:
            reward = dataclasses.replace(reward, value=reward.value * self._worth(i, reward.events))
            self._events.rewarded[i].update(reward.events)
        if self._observe_all_events:
            new = tuple(event for event in info["events"] if event not in self.achieved[i])
        if new:
            self.achieved[i] += new
            self._achieved_ids[i] = self._writer.encode("achieved", self._events.observed(i))
        if reward.goals:
            self.counts.note_rewarded(reward.goals, self._privileged[i])
        return reward

    def _worth(self, i: int, events: tuple[str, ...]) -> float:
        """Weight of the reward for events: that of the most valuable."""

        def worth(event: str) -> float:
            times = self._events.rewarded[i][event]
            if times:
                return REOPENED**times
            return self._rarity.weight(event) if self._rarity else 1.0

        return self._goal_weight * max(map(worth, events))

    def _reopen_needed(self, i: int, needed: tuple[str, ...]) -> None:
        """Lets achieved events count as not yet achieved, where the world says so."""
        if self._events.reopen(i, needed):
            self._achieved_ids[i] = self._writer.encode("achieved", self._events.observed(i))

    def _suggest(self, infos: Sequence[Mapping[str, Any]]) -> None:
        """Suggested goals of the present states, and the active ones among them."""
        self._privileged = [info["privileged"] for info in infos]
        self._situations = [info["situation"] for info in infos]
        asked = [i for i in range(self.num_envs) if i not in self._over]
        answers = dict(zip(asked, self._ask(asked, [infos[i] for i in asked]), strict=True))
        self._give_ids()
        suggested = [answers.get(i, ()) for i in range(self.num_envs)]
        self._suggested = suggested
        if self._suggester.rewards_goals:
            self.counts.note_suggested(suggested, self._privileged)
        self.goals = suggested
        if self._sampler.enabled:
            self.goals = [
                () if i in self._over else self._sample(i, suggested[i]) for i in range(self.num_envs)
            ]

    def _give_ids(self) -> None:
        """Gives ids to all goals that the suggester knows by now. So evaluation, which may be shown a goal that training
        has not met yet, gives none, and changes nothing in training.
        """
        known = self._suggester.known_goals
        if "goals" in self.fields and not self._one_episode and len(known) > self._with_ids:
            for goal in itertools.islice(known, self._with_ids, None):
                self._writer.encode("goals", (goal,))
            self._with_ids = len(known)

    def _sample(self, i: int, suggested: tuple[Goal, ...]) -> tuple[Goal, ...]:
        achieved = self.achieved[i]
        kept = self._still_open(self._sampler.active[i], achieved)
        return self._sampler.select(i, kept, lambda: self._still_open(suggested, achieved))

    def _ask(self, worlds: Sequence[int], infos: Sequence[Mapping[str, Any]]) -> list[tuple[Goal, ...]]:
        """Goals suggested for worlds' states; those of the state before where there is no answer yet."""
        states = [info["situation"] for info in infos]
        if self._suggester.reads_privileged:
            states = [FullState(info["situation"], info["privileged"]) for info in infos]
        recall = self._one_episode or self.failure is not None
        try:
            answers = (self._suggester.recall if recall else self._suggester.suggest)(states)
        except LanguageModelError as error:
            if not self._stepping:
                raise
            # The worlds have moved: the events of this step must still reach the agent and the logs.
            self.failure, answers = error, self._suggester.recall(states)
        return [
            self._suggested[i] if goals is None else goals for i, goals in zip(worlds, answers, strict=True)
        ]

    def _observe(self, captions: np.ndarray) -> np.ndarray:
        self._captions = captions
        return self._writer.write(captions, self._achieved_ids, self.open if "goals" in self.fields else None)

    def _observe_last(self, ended: np.ndarray, infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Observations of the last states of episodes."""
        goals = None
        if "goals" in self.fields:
            shown = [self._sampler.active[i] for i in ended]
            if not self._sampler.enabled:
                shown = self._ask(ended, [infos[i] for i in ended])
            goals = [self._still_open(mine, self.achieved[i]) for mine, i in zip(shown, ended, strict=True)]
        last = np.stack([infos[i]["terminal_observation"] for i in ended])
        return self._writer.write(last, self._achieved_ids[ended], goals)

    def _finish(self, i: int, info: dict[str, Any]) -> None:
        """Logs world ``i``'s episode and starts the next one."""
        intrinsic, extrinsic = self._returns[i].tolist()
        info["finished"] = Episode(
            world_seed=info["world_seed"],
            length=int(self._lengths[i]),
            intrinsic_return=round(intrinsic, 4),
            extrinsic_return=round(extrinsic, 4),
            unlocked=info["unlocked"],
            success=info.get("success"),
            scores=info.get("scores", {}),
        )
        info["episode"] = {"r": intrinsic + self._extrinsic_weight * extrinsic, "l": int(self._lengths[i])}
        if self._rarity and self._suggester.rewards_goals:
            self._rarity.note_episode(self._events.rewarded[i])
        self._begin_world(i)
        if self._one_episode:
            self._over.add(i)

    # --- what belongs to episodes -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        n_envs = self.num_envs
        self.goals: list[tuple[Goal, ...]] = [()] * n_envs
        self._suggested: list[tuple[Goal, ...]] = [()] * n_envs
        self._events = EpisodeEvents(n_envs, self.language)
        self._achieved_ids = np.zeros((n_envs, self._writer.width("achieved")), self.observation_space.dtype)
        self._returns = np.zeros((n_envs, 2))  # intrinsic, extrinsic
        self._lengths = np.zeros(n_envs, np.int64)  # frames
        self._sampler.reset()
        self._over.clear()
        self._stepping = False

    def _begin_world(self, i: int) -> None:
        self._events.begin(i)
        self._suggested[i] = ()
        self._sampler.active[i] = ()
        self._achieved_ids[i] = 0
        self._returns[i] = 0
        self._lengths[i] = 0

    def _still_open(self, goals: tuple[Goal, ...], achieved: tuple[str, ...]) -> tuple[Goal, ...]:
        return self._reward.open_goals(goals, achieved) if self._suggester.rewards_goals else goals

    # --- for agents, evaluation and logs ----------------------------------------------------------------------------

    def seed(self, seed: int | None = None) -> list[int | None]:
        self._sampler.seed(seed)
        return super().seed(seed)

    def features(self, whiten: bool) -> PhraseFeatures:
        """The frozen vectors of the observed phrases, whitened over the closed vocabulary or not."""
        if whiten not in self._features:
            self._features[whiten] = PhraseFeatures(self.phrases, self._writer.vocabulary, whiten)
        return self._features[whiten]

    def prepare(self, texts: Sequence[str]) -> None:
        """Encodes texts, which ``satisfies`` will compare with goals, in one batch."""
        self._reward.prepare(texts)

    def satisfies(self, event: str, goal: str) -> bool:
        """Whether an event fulfils a goal, for the reward."""
        return self._reward.satisfies(event, goal)

    @property
    def achieved(self) -> list[tuple[str, ...]]:
        """Per world, events of the episode that close goals."""
        return self._events.achieved

    @property
    def open(self) -> list[tuple[Goal, ...]]:
        """Per world, the active goals that are not yet achieved."""
        return [
            self._still_open(goals, achieved)
            for goals, achieved in zip(self.goals, self.achieved, strict=True)
        ]

    def log(self, i: int) -> StepLog:
        """Diagnostics of the last transition of world ``i``. Not for the agent.

        Raises:
            AttributeError: before the first step.
        """
        goals, achieved = self._before
        return StepLog(goals[i], achieved[i], self._rewards.get(i, NO_REWARD))

    def open_before(self, log: StepLog) -> tuple[Goal, ...]:
        """The active goals that were not yet achieved before a transition."""
        return self._still_open(log.goals, log.achieved)

    def metrics(self) -> dict[str, float]:
        """Shares of the quality bins since the last call, and the suggester's counters."""
        return {**self._suggester.metrics(), **self.counts.metrics()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint keeps: counts, the episodes under way, and the suggester's state."""
        return {
            "counts": self.counts.state_dict(),
            "suggester": self._suggester.state_dict(),
            "episodes": self.venv.env_method("episode"),
            "goals": list(self.goals),
            "suggested": list(self._suggested),
            "sampler": self._sampler.state_dict(),
            **self._events.state_dict(),
            "rarity": self._rarity.state_dict() if self._rarity else None,
            "returns": self._returns.tolist(),
            "lengths": self._lengths.tolist(),
            "outcomes": self._outcomes.state_dict() if self._outcomes else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> np.ndarray:
        """Takes over what ``state_dict`` gave: the episodes go on. Returns what ``reset`` does.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: if it is not the state of such worlds.
        """
        self.counts.load_state_dict(state["counts"])
        self._suggester.load_state_dict(state["suggester"])
        self._begin()
        resumed = [
            self.venv.env_method("resume_episode", episode, indices=i)[0]
            for i, episode in zip(range(self.num_envs), state["episodes"], strict=True)
        ]
        self._privileged = [info["privileged"] for _, info in resumed]
        self._situations = [info["situation"] for _, info in resumed]
        self.goals = _tuples(state["goals"])
        self._suggested = _tuples(state["suggested"])
        self._sampler.load_state_dict(state["sampler"])
        self._events.load_state_dict(state)
        if self._rarity:
            self._rarity.load_state_dict(state["rarity"])
        for i, ids in enumerate(self._achieved_ids):
            ids[:] = self._writer.encode("achieved", self._events.observed(i))
        self._returns[:] = state["returns"]
        self._lengths[:] = state["lengths"]
        if self._outcomes:
            self._outcomes.load_state_dict(state["outcomes"])
        return self._observe(np.stack([captions for captions, _ in resumed]))


def _tuples(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    return [tuple(row) for row in rows]
