"""The contract of a world: its text environments, and all else that the rest of the project asks of it.

A *world* is a package below ``envs/`` (rules, captions, goals, tasks, prompts' briefing, score, drawing) with one
:class:`World` object, which ``envs.registry`` finds by name. A new world needs nothing else. ``envs.text_env.TextEnv``
does most of the work for a world that is played in Python.

A **text environment** is a gymnasium environment, or an SB3 ``VecEnv``, with

- an attribute ``language``, a :class:`Language`;
- observations that are ids into ``language.vocabulary``, padded with 0;
- in each info (at reset and at each step) ``situation`` (a :class:`Situation`), ``privileged`` (a :class:`Privileged`)
  and ``world_seed`` (an int that, with the actions, determines the episode);
- in each step's info ``events`` (phrases: what really happened) and ``attempt`` (the phrase that was tried, or None);
- in the last info of an episode ``unlocked`` (sorted names of achievements), ``success`` (if there is a task: whether
  it was solved), and ``scores`` (if the world has any: name -> number, logged with the episode);
- ``reset(options={"world_seed": w})``, which plays world ``w``; otherwise world seeds are drawn below
  :data:`HELD_OUT_SEEDS`, so that worlds from there on are never trained on;
- methods ``episode()`` (JSON values from which the episode under way can be played again) and
  ``resume_episode(episode)`` (plays it again, and returns what ``reset`` does).

Knows nothing of goals suggested, rewards or agents.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # heavy, and not needed for names, options and tasks
    import gymnasium as gym
    from stable_baselines3.common.vec_env import VecEnv

HELD_OUT_SEEDS = 2**30  # world seeds from here on are for evaluation only


@dataclass(frozen=True, slots=True)
class Situation:
    """Observed part of a state, in words. This is all that goal suggesters read.

    Attributes:
        caption: the state in the words that language models read.
        instruction: the step that comes next in the environment's task; None without a task.
    """

    caption: str
    instruction: str | None = None

    def __deepcopy__(self, memo: dict) -> Situation:
        # SB3's vectorised environments deep-copy every info at every step; this cannot change.
        return self


@dataclass(frozen=True, slots=True)
class Privileged:
    """Hidden part of a state: what is possible is for the oracle and diagnostics only.

    Attributes:
        possible: goals whose prerequisites hold.
        needed: achieved goals among these are open again: because their result is still needed for others (wood for the
            tools that are not yet made: knowledge of recipes), or because they can be done again (an object that was put
            back can be picked up). In the second case the world lists all that can be done, bad goals, too.
        bad: goals that could be achieved now, but should not be (an apple put into the sink).
    """

    possible: tuple[str, ...]
    needed: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict) -> Privileged:
        return self


class Statement(NamedTuple):
    """Something that is so, or not, in every state: that a thing belongs somewhere."""

    thing: str
    where: str  # with its preposition: "in kitchen fridge"

    def __str__(self) -> str:
        return f"{self.thing} {self.where}"


@dataclass(frozen=True)
class Judgements:
    """Statements that decide which goals make sense: the closed form of worlds where they hold in every state.

    So a language model is asked about each statement once, and not about each goal in each caption.

    Attributes:
        all: every statement, in a fixed order: the distinct questions are no more.
        of: caption -> the statements on which its goals depend.
        goals: (caption, judge) -> the goals that make sense there, where ``judge(statement)`` says whether a statement
            is true, or None if that is not known.
        question: statement -> the question whose answer is yes or no.
        instructions: what a language model is told before it.
    """

    all: tuple[Statement, ...]
    of: Callable[[str], Sequence[Statement]]
    goals: Callable[[str, Callable[[Statement], bool | None]], tuple[str, ...]]
    question: Callable[[Statement], str]
    instructions: str


@dataclass(frozen=True)
class Example:
    """A worked example for a prompt: a caption and sensible goals for it."""

    caption: str
    goals: tuple[str, ...]


@dataclass(frozen=True)
class Language:
    """The words of a world, and their meaning there.

    Attributes:
        vocabulary: the clauses of its captions; an observation holds ids into it; id 0 is "".
        to_sentence: clauses -> text.
        drop_target: caption -> the caption without the clause about the faced thing.
        names_only: caption -> the caption in the paper's form, if the world's captions tell more than that.
        clauses_of: caption -> the set of its clauses.
        goals: every goal that can be achieved, in the words of events.
        canonical: goal -> its one spelling (case, articles, synonyms).
        verbs: of the action language.
        nouns: of the action language.
        nounless_goals: goals that are a verb without a noun.
        achievements: names that the score counts.
        goal_of: achievement -> the goal that it is, in the words of events; some may have none.
        briefing: text about the world that prompts put before every question.
        examples: for prompts of the open form.
        action_meanings: clause -> pairs of an action and its meaning where the caption holds the clause, in the words of
            goals ("you face tree" -> (5, "chop tree")), or in words of ``supporting`` ("tree: 2 west" -> (1, "go to
            tree")). Those of the empty clause hold always. This is all that an action prior can see of a state.
        blocked: clause -> an action that leads nowhere where the caption holds the clause, and the only meaning that is
            left to it, or "": "west of you: wall" -> (1, ""); "west of you: sofa" -> (1, "go to sofa"): it turns to it.
        supporting: goal -> meanings of actions that bring it closer ("chop tree" -> "go to tree"; "make wood pickaxe" ->
            "go to crafting table": knowledge of recipes).
        candidates: caption -> the goals that could be achieved in its state; None: all goals, always.
        most_candidates: how many these are at most; None: as many as there are goals.
        most_achieved: how many achieved events an agent observes, the latest; None: as many as there are goals.
        closest: largest cosine of the SentenceBERT vectors of two goals, where it was measured. At a threshold above it,
            a goal is achieved by the event of its own words only, and no vectors are needed to tell.
        judgements: the statements on which goals depend, if closed questions are about these.
        unrewarded: (event, events before in the episode, those of them that were rewarded) -> whether the event is not
            rewarded, although it may be a goal: such as picking up an object that the player has put back. Its goal is
            closed by it as by any other event. None: no event is so.
    """

    vocabulary: tuple[str, ...]
    to_sentence: Callable[[Sequence[str]], str]
    goals: tuple[str, ...]
    drop_target: Callable[[str], str] = str
    names_only: Callable[[str], str] = str
    clauses_of: Callable[[str], frozenset[str]] = lambda caption: frozenset(caption.rstrip(".").split(". "))
    canonical: Callable[[str], str] = str.lower
    verbs: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    nounless_goals: tuple[str, ...] = ()
    achievements: tuple[str, ...] = ()
    goal_of: Mapping[str, str] = field(default_factory=dict, hash=False)
    briefing: str = ""
    examples: tuple[Example, ...] = ()
    action_meanings: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict, hash=False)
    blocked: Mapping[str, tuple[int, str]] = field(default_factory=dict, hash=False)
    supporting: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    candidates: Callable[[str], tuple[str, ...]] | None = None
    most_candidates: int | None = None
    most_achieved: int | None = None
    closest: float = 1.0
    judgements: Judgements | None = None
    unrewarded: Callable[[str, Collection[str], Collection[str]], bool] | None = None


@dataclass(frozen=True)
class Advice:
    """General knowledge of a kind of game, mistakes included: suggestions of somebody who reads only captions.

    The scripted model answers from it, and the bundled model's training corpus is written from it.

    Attributes:
        sensible_goals: caption -> goals that make sense, as far as the caption tells.
        goals: every goal that can be sensible.
        paraphrases: goal -> other wordings.
        meaningless: pairs of a verb and a noun that mean nothing.
        outside: goals that this world does not have.
        urgency: what goals begin with, most urgent first.
        candidates: caption -> the goals that somebody could take for possible there; None: ``goals``.
        is_true: question about a statement (``Judgements.question``) -> whether it is true, in worlds with statements.
        joints: words of captions and questions between which the things and places stand that goals are put together from;
            empty: goals are few, and each can be learned as a whole.
        prepositions: words before a place where something is or goes; they are one with it: "from kitchen sink".
        rearranged: caption, random numbers, a probability -> caption of the same situation with its things elsewhere, each
            where it belongs with that probability, else at random; None: they cannot be.
    """

    sensible_goals: Callable[[str], list[str]]
    goals: tuple[str, ...]
    paraphrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    meaningless: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    urgency: tuple[str, ...] = ()
    candidates: Callable[[str], Sequence[str]] | None = None
    is_true: Callable[[str], bool] | None = None
    joints: tuple[str, ...] = ()
    prepositions: tuple[str, ...] = ()
    rearranged: Callable[[str, random.Random, float], str] | None = None

    def poorly_timed(self, caption: str) -> list[str]:
        """Candidates that do not make sense for a caption, in a fixed order."""
        sensible = self.sensible_goals(caption)
        candidates = self.candidates(caption) if self.candidates else self.goals
        return [goal for goal in candidates if goal not in sensible]


@dataclass(frozen=True)
class TaskDescription:
    """A downstream task.

    Attributes:
        name: of the task.
        description: what solves it, for people.
        steps: instructions, one after the other; the last is the task itself.
    """

    name: str
    description: str
    steps: tuple[str, ...]


class World:
    """Everything that the rest of the project asks of a world. Subclasses override what they have.

    Attributes:
        name: in ``envs.registry`` and on the command line.
        title: for people.
        protocols: names of its rule sets; the first is the default.
        captions: names of its caption styles.
        action_spaces: names of its action spaces.
        score: name of its headline metric (in %) among those of ``scores``, and a title for figures.
        options: names of the options that only this world has -> what they do. Environments take them as text.
        settings: preset -> options of the configuration (dotted names) that differ from the preset's in this world.
        has_bundled_model: whether the language model that is shipped was trained for this world.
        recorded_answers: file of recorded answers that the world brings, ``NAME.jsonl.gz``, or one for each form,
            ``NAME-FORM.jsonl.gz``; None: it brings none.
        published: rows of published results for comparison pages: method, reward, frames, score, unlocks.
        published_note: what to keep in mind beside them.
    """

    name: str
    title: str
    protocols: tuple[str, ...] = ("default",)
    captions: tuple[str, ...] = ("spatial", "paper")
    action_spaces: tuple[str, ...] = ()
    score: tuple[str, str] = ("unlocked", "Share of achievements unlocked")
    options: Mapping[str, str] = {}
    settings: Mapping[str, Mapping[str, Any]] = {}
    has_bundled_model: bool = False
    recorded_answers: Path | None = None
    published: Sequence[tuple[str, ...]] = ()
    published_note: str = ""

    def make_env(self, **options: Any) -> gym.Env:
        """One environment, the reference implementation.

        Args:
            **options: ``protocol``, ``caption``, ``action_space``, ``episode_length``, ``task``, ``task_reward``; also
                ``render_mode="rgb_array"``.
        """
        raise NotImplementedError

    def make_vec(self, n_envs: int, backend: str = "compiled", **options: Any) -> VecEnv:
        """Parallel worlds, with the arguments of ``make_env``. backend: "compiled" (the fastest) or "package"."""
        from stable_baselines3.common.vec_env import DummyVecEnv

        return DummyVecEnv([lambda: self.make_env(**options)] * n_envs)

    def language(self, **options: Any) -> Language:
        """The words of such an environment."""
        return self.make_env(**options).language

    def check(self, options: Mapping[str, Any], own: Mapping[str, str] | None = None) -> None:
        """Refuses options that the world does not have.

        Args:
            options: as in ``make_env``.
            own: those among them that only this world has (``options``), by name.

        Raises:
            ValueError: one line that names the value and what would be right.
        """
        allowed = {
            "protocol": self.protocols,
            "caption": self.captions,
            "action_space": self.action_spaces,
            "task": tuple(self.tasks()),
        }
        for name, choices in allowed.items():
            value = options.get(name)
            if value is not None and value not in choices:
                raise ValueError(unknown(name.replace("_", "-"), value, choices))
        for name in own or {}:
            if name not in self.options:
                raise ValueError(unknown("world-options", name, tuple(self.options)))

    def usual_action_space(self, protocol: str) -> str:
        """The action space of a protocol."""
        return self.action_spaces[0] if self.action_spaces else ""

    def tasks(self) -> Mapping[str, TaskDescription]:
        """Downstream tasks by name."""
        return {}

    def needs(self, event: str) -> Sequence[str]:
        """Events that must come before an event in any episode (a table needs wood)."""
        return ()

    def scores(self, rates: Mapping[str, float], means: Mapping[str, float]) -> dict[str, float]:
        """Metrics of many episodes by name; the headline metric is in %.

        Args:
            rates: success rate of each achievement, in [0, 1].
            means: mean over the episodes of each of their ``scores``, by name.
        """
        return {self.score[0]: 100 * sum(rates.values()) / max(len(rates), 1), **means}

    def situations(
        self, first_world: int, count: int, seed: int, protocol: str | None = None
    ) -> Iterator[tuple[Situation, Privileged]]:
        """Situations that a player may come into, for corpora and for measuring suggesters.

        Args:
            first_world: world seed of the first; the others follow.
            count: how many.
            seed: of all other choices.
            protocol: whose worlds; None: of all protocols, the one with the most goals.
        """
        raise NotImplementedError

    def situation_language(self, protocol: str | None = None) -> Language:
        """The words of the environments that ``situations`` of a protocol are of."""
        return self.language(protocol=protocol or self.protocols[0])

    def advice(self, **options: Any) -> Advice | None:
        """General knowledge of such an environment's world; None if it brings none."""
        return None

    def draw(self, env: gym.Env) -> Any:
        """The present state of an environment with ``render_mode="rgb_array"``: ``(450, 450, 3)`` uint8."""
        return env.render()

    def compiles_first(self) -> bool:
        """True if making worlds will first compile their rules, which takes a while."""
        return False


def unknown(what: str, value: Any, choices: Sequence[str]) -> str:
    """The message for a name that does not exist, with the nearest that does."""
    if not choices:
        return f"{what} is {value!r}; this world has none to choose from"
    near = difflib.get_close_matches(str(value), choices, n=1)
    return f"{what} is {value!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(choices)}"
    )
