"""Named records that cross module boundaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """What a goal suggester may know of a state.

    Attributes:
        caption: the state in the paper's words; all that a language model reads.
        possible: goals whose prerequisites hold; for the oracle and for diagnostics.
        task: the step that comes next in the environment's task, if it has one.
    """

    caption: str
    possible: tuple[str, ...]
    task: str | None = None

    def __deepcopy__(self, memo: dict) -> Situation:
        # SB3's vectorised environments deep-copy every info at every step; this cannot change.
        return self


@dataclass(frozen=True)
class Language:
    """The words of an environment, and what they mean there.

    Attributes:
        vocabulary: the clauses of its captions; an observation holds ids into it; id 0 is "".
        to_sentence: joins clauses into text.
        facts: what a caption tells, clause by clause.
        brief: leaves out of a caption what says little about what is worth doing.
        goals: every goal that can be achieved, in the words that events are told in.
        canonical: one spelling per goal (case, articles, synonyms).
        verbs: of the action language.
        nouns: of the action language.
        alone: goals that are a verb without a noun.
        achievements: names that the score counts.
    """

    vocabulary: tuple[str, ...]
    to_sentence: Callable[[Sequence[str]], str]
    brief: Callable[[str], str]
    facts: Callable[[str], frozenset[str]]
    goals: tuple[str, ...]
    canonical: Callable[[str], str]
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    alone: tuple[str, ...]
    achievements: tuple[str, ...]
