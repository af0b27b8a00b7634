"""The question which of two clips is better: text, parser and version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from prompts import Prompt

if TYPE_CHECKING:
    from envs.interface import Language

VERSION = "preference-2"
MAX_TOKENS = 16
MAX_CHARACTERS = 2_000  # of an answer; the rest is not read
SHOWN = 5  # captions of a clip

INSTRUCTIONS = """\
You compare two clips of a player, A and B. {aim}
Judge what they do in the clip, not what they began with. The achievements listed are those of the first time in the
episode. What a player only tried may have had no effect. Where neither does better, the answer is tie.
Answer with one word: A, B, tie (both are equally good), or unsure (you cannot say)."""
AIM = "Which player does better?"

_ANSWER = re.compile(r"\b(A|B|tie|unsure)\b")
_ALONE = re.compile(r"^\W*(?:clip\s+)?(a|b|tie|unsure)\W*$", re.IGNORECASE)
# "A player that ..." at the beginning of a sentence names no clip, as "A is ..." does.
_ARTICLE = re.compile(
    r"(?:^|(?<=[.!?]\s))A\s+(?!(?:is|was|does|did|has|had|wins|looks|seems|plays|because|since|and|or)\b)(?=[a-z])"
)
# Verdicts in answers that name both clips: "..., so B" at the end, or "A, because", "A is better than B" at the beginning.
_CLOSING = re.compile(
    r"(?i:\b(?:so|thus|hence|therefore|answer|choose|prefer|better|is|are|means)\b)\W*(?i:clip\s+)?(A|B|tie|unsure)\W*$"
)
_OPENING = re.compile(
    r"^\W*(?i:clip\s+)?(A|B|tie|unsure)(?:\**\s*[,.;()—–-]|\**\s+(?i:(?:is|does|looks|seems|plays)\s+better|wins))"
)


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
    happened = "; ".join(f"frame {frame}: {event}" for frame, event in events) or "nothing"
    states = "\n".join(f"frame {frame}: {captions[frame]}" for frame in shown)
    return f"Clip {name}\nAchieved for the first time: {happened}\n{states}"


def parse(text: str) -> Literal["A", "B", "tie", "unsure"] | None:
    """Which of the four words an answer chooses: the only one in it, or that of its verdict, at the end or at the beginning.
    None if that is not clear. Never raises.
    """
    answer = text[:MAX_CHARACTERS].rpartition("</think>")[2].strip()
    answer = _ARTICLE.sub("", answer)
    verdict = _ALONE.match(answer) or _CLOSING.search(answer) or _OPENING.match(answer)
    named = {verdict.group(1)} if verdict else {*_ANSWER.findall(answer)}
    if len(named) != 1:
        return None
    (word,) = named
    return word.upper() if word in "AaBb" else word.lower()
