"""Text of what the compiled code gives as numbers. Each distinct text is made once and kept for a while."""

from __future__ import annotations

import functools

from envs.crafter.actions import ACTION_SPACES, attempted, faced_noun
from envs.crafter.captions import spoken, to_sentence
from envs.crafter.compiled.captions import FACED_BIT, ITEM_BIT
from envs.crafter.compiled.world import ITEMS
from envs.crafter.knowledge import knowledge
from envs.interface import Privileged, Situation

_K = knowledge()
_EVENTS = (*(_K.phrase_of[name] for name in _K.achievements), "sleep")
_FACED = 0b111111  # of the bits from FACED_BIT on
_SEEN_BITS = (1 << FACED_BIT) - 1
_FACED_BITS = _FACED << FACED_BIT
_HELD_BITS = sum(1 << ITEM_BIT + i for i, item in enumerate(ITEMS) if item not in _K.needs)
_FELT_BITS = sum(1 << ITEM_BIT + i for i, item in enumerate(ITEMS) if item in _K.needs)

_kept = functools.lru_cache(maxsize=2**14)  # bounds the memory; most are met once or twice


@_kept
def situation(caption: int, instruction: str | None) -> Situation:
    """The situation of a caption in bits.

    Args:
        caption: ``StepOutputs.caption`` of a world.
        instruction: the next step of its task, if any.
    """
    # Sentence by sentence: there are far fewer sentences than captions.
    parts = (_SEEN_BITS, _FACED_BITS, _HELD_BITS, _FELT_BITS)
    sentences = (_sentence(caption & part) for part in parts)
    return Situation(" ".join(sentence for sentence in sentences if sentence), instruction)


@_kept
def _sentence(bits: int) -> str:
    return to_sentence(_paper_clauses(bits))


def _paper_clauses(bits: int) -> list[str]:
    """``captions.paper_clauses`` from a caption's bits."""
    seen = sorted(_K.things[thing] for thing in range(1, FACED_BIT) if bits >> thing & 1)
    clauses = [f"You see {name}" for name in seen]
    faced = _K.things[bits >> FACED_BIT & _FACED]
    if faced != "outside" and faced not in _K.unmentioned:
        clauses.append(f"You are targeting {faced}")
    items = [item for i, item in enumerate(ITEMS) if bits >> (ITEM_BIT + i) & 1]
    clauses += [f"You have in your inventory {spoken(item)}" for item in items if item not in _K.needs]
    clauses += [f"You feel {_K.feelings[need]}" for need in _K.feelings if need in items]
    return clauses


@_kept
def privileged(possible: int) -> Privileged:
    """The goals of ``StepOutputs.possible``."""
    return Privileged(tuple(goal for bit, goal in enumerate(_K.goals) if possible >> bit & 1))


@_kept
def event_phrases(events: int) -> tuple[str, ...]:
    """The phrases of ``StepOutputs.events``."""
    return tuple(phrase for bit, phrase in enumerate(_EVENTS) if events >> bit & 1)


@_kept
def attempt(action_space: str, action: int, faced: int, held: int, events: int) -> str | None:
    """The phrase that was tried, as ``actions.attempted`` gives it.

    Args:
        action_space: name in ``ACTION_SPACES``.
        action: index into it.
        faced: ``StepOutputs.faced`` of the state before.
        held: ``StepOutputs.caption >> ITEM_BIT`` of the state before.
        events: ``StepOutputs.events`` of the frame.
    """
    items = {item for i, item in enumerate(ITEMS) if held >> i & 1}
    chosen = ACTION_SPACES[action_space][action]
    return attempted(chosen, faced_noun(_K.things[faced]), items, event_phrases(events))
