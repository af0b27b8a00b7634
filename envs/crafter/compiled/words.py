"""Text of what the compiled code gives as numbers. Each distinct text is made once and kept for a while."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from envs.crafter.actions import ACTION_SPACES, attempted
from envs.crafter.captions import ASLEEP, paper_clause, to_sentence
from envs.crafter.compiled.captions import DETAILED
from envs.crafter.knowledge import knowledge
from envs.interface import Privileged, Situation

_K = knowledge()
_EVENTS = (*(_K.phrase_of[name] for name in _K.achievements), "sleep")
_FACED, _HELD = "You are targeting ", "You have in your inventory "


def _mask(*openings: str) -> int:
    return sum(1 << bit for bit, clause in enumerate(DETAILED) if clause.startswith(openings))


_SENTENCES = tuple(_mask(opening) for opening in ("You see ", _FACED, _HELD, "You feel ", ASLEEP))
FACED_OR_HELD = _mask(_FACED, _HELD)  # all of a caption that `attempt` depends on

_kept = functools.lru_cache(maxsize=2**14)  # bounds the memory; most are met once or twice


@_kept
def situation(caption: int, instruction: str | None) -> Situation:
    """The situation of a caption in bits.

    Args:
        caption: ``StepOutputs.caption`` of a world.
        instruction: the next step of its task, if any.
    """
    # Sentence by sentence: there are far fewer sentences than captions.
    return Situation(
        " ".join(_sentence(caption & part) for part in _SENTENCES if caption & part), instruction
    )


@_kept
def _sentence(bits: int) -> str:
    return to_sentence(_chosen(DETAILED, bits))


def _chosen(phrases: Iterable[str], bits: int) -> tuple[str, ...]:
    return tuple(phrase for bit, phrase in enumerate(phrases) if bits >> bit & 1)


@_kept
def privileged(possible: int, needed: int) -> Privileged:
    """The goals of ``StepOutputs.possible`` and ``needed``."""
    return Privileged(_chosen(_K.goals, possible), _chosen(_K.goals, needed))


@_kept
def event_phrases(events: int) -> tuple[str, ...]:
    """The phrases of ``StepOutputs.events``."""
    return _chosen(_EVENTS, events)


@_kept
def attempt(action_space: str, action: int, caption: int, events: int) -> str | None:
    """The phrase that was tried, as ``actions.attempted`` gives it.

    Args:
        action_space: name in ``ACTION_SPACES``.
        action: index into it.
        caption: ``StepOutputs.caption & FACED_OR_HELD`` of the state before.
        events: ``StepOutputs.events`` of the frame.
    """
    clauses = [paper_clause(clause) for clause in _chosen(DETAILED, caption)]
    faced = "".join(clause.removeprefix(_FACED) for clause in clauses if clause.startswith(_FACED))
    held = {clause.removeprefix(_HELD).replace(" ", "_") for clause in clauses if clause.startswith(_HELD)}
    return attempted(ACTION_SPACES[action_space][action], faced, held, event_phrases(events))
