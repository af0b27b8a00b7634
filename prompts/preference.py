"""The question which of two clips is better: text, parser and version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from prompts import Prompt

if TYPE_CHECKING:
    from envs.interface import Language

VERSION = "preference-1"
MAX_TOKENS = 16
MAX_CHARACTERS = 2_000  # of an answer; the rest is not read
SHOWN = 5  # captions of a clip

INSTRUCTIONS = """\
You compare two clips of a player, A and B. {aim}
Answer with one word: A, B, tie (both are equally good), or unsure (you cannot say)."""
AIM = "Which player does better?"

_ANSWER = re.compile(r"\b(A|B|tie|unsure)\b")
_ANY_CASE = re.compile(r"^\W*(?:clip\s+)?(a|b|tie|unsure)\W*$", re.IGNORECASE)


def prompt(
    captions: Sequence[Sequence[str]],
    events: Sequence[Sequence[tuple[int, str]]],
    language: Language,
    aim: str = AIM,
) -> Prompt:
    """Asks which of two clips is better.

    Args:
        captions: of the states of each clip; a few of them are shown, from the first to the last.
        events: pairs of a frame and what was achieved in it, of each clip.
        language: gives the world's briefing.
        aim: what is better, in words.
    """
    instructions = INSTRUCTIONS.format(aim=aim)
    clips = (_describe(*parts) for parts in zip("AB", captions, events, strict=True))
    return Prompt(
        system=f"{language.briefing}\n{instructions}" if language.briefing else instructions,
        user="\n\n".join((*clips, "Which is better: A, B, tie or unsure?")),
        max_tokens=MAX_TOKENS,
        temperature=0.0,
        logprobs=False,
        version=VERSION,
    )


def _describe(name: str, captions: Sequence[str], events: Sequence[tuple[int, str]]) -> str:
    last = len(captions) - 1
    shown = sorted({round(last * i / (SHOWN - 1)) for i in range(SHOWN)})
    happened = "; ".join(f"frame {frame}: {event}" for frame, event in events) or "nothing new"
    states = "\n".join(f"frame {frame}: {captions[frame]}" for frame in shown)
    return f"Clip {name}\nAchieved: {happened}\n{states}"


def parse(text: str) -> Literal["A", "B", "tie", "unsure"] | None:
    """The last of the four words in an answer; None if it has none. Never raises."""
    answer = text[:MAX_CHARACTERS].rpartition("</think>")[2].strip()
    alone = _ANY_CASE.match(answer)
    found = [alone.group(1)] if alone else _ANSWER.findall(answer)
    if not found:
        return None
    return found[-1].upper() if found[-1] in "AaBb" else found[-1].lower()
