"""The open form: one question for each caption, answered by goals in bullets or in JSON."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prompts import Prompt

if TYPE_CHECKING:
    from envs.interface import Language

VERSION = "open-3"
MAX_TOKENS = 200
TEMPERATURE = 0.1  # the paper's
MAX_GOALS = 20  # in one answer; the rest is dropped
MAX_GOAL_CHARACTERS = 100
MAX_LINE_CHARACTERS = 1_000  # before cleaning; whatever is longer holds no goal
MAX_CHARACTERS = 20_000  # of an answer; the rest is not read
TOO_LONG = f"longer than {MAX_GOAL_CHARACTERS} characters"

INSTRUCTIONS = """\
You are told what the player sees. Answer with what the player could sensibly do now: one short goal \
on each line, each starting with "- ", a verb and a noun, nothing else."""
VERBS = " Use only these verbs: {verbs}."

# Appended if the answer should be JSON.
IN_JSON = ' Write the goals as JSON, not as lines: {{"goals": ["{goal}", ...]}}.'
SCHEMA = """\
{"type": "object", "properties": {"goals": {"type": "array", "items": {"type": "string"}}}, \
"required": ["goals"], "additionalProperties": false}"""

QUESTION = "What should the player do?"

_BULLET = re.compile(r"^\s*(?:[-*•–—]|\(?\d{1,3}[.):]\)?)\s*(.*)$", re.DOTALL)
_DECODER = json.JSONDecoder()
_GOALS = re.compile(r'"goals"\s*:\s*(?P<list>\[)', re.IGNORECASE)
_LIST = re.compile(r'(?P<list>\[)\s*"')
_ANNOUNCED = re.compile(r'```json|"goals"\s*:\s*$', re.IGNORECASE)
_QUOTED = re.compile(r'"([^"\n]*)"')
_REFUSAL = re.compile(
    r"""\W*(?:
        (?:i['’]?m|i\ am)\ (?:(?:very|so|really)\ )?(?:sorry|afraid|unable|not\ able|just\ an\ ai|an\ ai)
        | sorry | my\ apologies | i\ apologi[sz]e | unfortunately
        | i\ (?:can['’]?t|cannot|can\ not|won['’]?t|will\ not|must\ decline|don['’]?t\ have|do\ not\ have)
        | as\ an?\ (?:ai|artificial|(?:large\ )?language\ model)
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)
_VERDICT = re.compile(r"[,.;:]\s*(?:but |so )?(?:yes|no)\b", re.IGNORECASE)  # "I cannot see a cow, so no."
_TALK = re.compile(
    r"""(?:sure|certainly|of\ course|absolutely|okay|ok|great|thanks|thank\ you|hello|hi
        | here\ (?:is|are) | here['’]s | based\ on | given\ (?:the|that|this|your)
        | you\ (?:see|feel|are\ targeting|have\ in)
        | i\ hope | i['’]?d\ be | i\ would\ be | (?:please\ )?let\ me\ know
        | if\ you | feel\ free | good\ luck | have\ fun
    )\b""",
    re.VERBOSE,
)


def prompt(
    caption: str, language: Language, schema: bool = False, temperature: float = TEMPERATURE
) -> Prompt:
    """Asks for goals in the state that a caption describes.

    Args:
        caption: of the state.
        language: gives the world's briefing, examples, and the verbs that goals may begin with.
        schema: whether to ask for JSON that follows ``SCHEMA``.
        temperature: of sampling.
    """
    verbs = (*language.verbs, *language.nounless_goals)
    instructions = INSTRUCTIONS + (VERBS.format(verbs=", ".join(verbs)) if verbs else "")
    instructions += IN_JSON.format(goal=language.goals[0]) if schema else ""
    examples = (
        _question(example.caption) + "".join(f"- {goal}\n" for goal in example.goals)
        for example in language.examples
    )
    return Prompt(
        system=f"{language.briefing}\n{instructions}" if language.briefing else instructions,
        user="\n".join((*examples, _question(caption))),
        max_tokens=MAX_TOKENS,
        temperature=temperature,
        logprobs=False,
        version=VERSION,
        schema=SCHEMA if schema else "",
    )


def _question(caption: str) -> str:
    return f"{caption}\n{QUESTION}\n"


def caption_of(user: str) -> str:
    """The caption in a prompt's ``user`` text (for the scripted model)."""
    return user.rstrip().splitlines()[-2]


def parse(text: str) -> tuple[str, ...]:
    """The distinct goals in an answer, cleaned, in order. Never raises.

    They are the strings of a JSON answer (an object with "goals", or a list), or else the bulleted or numbered
    lines. Lines without a bullet are dropped, unless no line has one: some models leave the bullets out, and then
    each line is a goal. A reasoning model's thoughts, refusals and small talk are dropped.
    """
    return explain(text)[0]


def explain(text: str) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The result of ``parse``, and the dropped parts of the answer, each with the reason in words."""
    goals: dict[str, None] = {}
    dropped = []
    for line, reason in _parts(text):
        goal = ""
        if not reason:
            goal, reason = _read(line) if len(line) <= MAX_LINE_CHARACTERS else ("", TOO_LONG)
        if goal in goals:
            reason = "said before"
        elif goal and len(goals) == MAX_GOALS:
            reason = f"there are {MAX_GOALS} goals already"
        if reason:
            dropped.append((line, reason))
        else:
            goals[goal] = None
    return tuple(goals), dropped


def refuses(text: str) -> bool:
    """True if an answer, in either form, is only a refusal."""
    return bool(_REFUSAL.match(text, 0, MAX_CHARACTERS)) and not _VERDICT.search(text) and not parse(text)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The parts of an answer (lines or strings), each with "" if it may be a goal, or else with the reason why not."""
    answer = text[:MAX_CHARACTERS]
    thoughts, ended, rest = answer.rpartition("</think>")
    if ended:
        yield thoughts, "thoughts"
        answer = rest
    elif answer.lstrip().startswith("<think>"):
        yield answer, "thoughts, without an end"
        answer = ""
    match = _GOALS.search(answer) or _LIST.search(answer)
    yield from _json_parts(answer, match.start("list")) if match else _line_parts(answer)
    if len(text) > MAX_CHARACTERS:
        yield text[MAX_CHARACTERS:], f"the answer is longer than {MAX_CHARACTERS:,} characters"


def _json_parts(text: str, start: int) -> Iterator[tuple[str, str]]:
    try:
        items, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):  # cut off or not quite JSON: take the quoted strings
        end = text.find("]", start) + 1 or len(text)
        items = _QUOTED.findall(text, start, end)
        yield from _outside(_QUOTED.sub("", text[start:end]), "not quite JSON")
    yield from _outside(text[:start])
    for item in items:
        yield (item, "") if isinstance(item, str) else (f"<{type(item).__name__}>", "not a text")
    yield from _outside(text[end:])


def _outside(text: str, reason: str = "outside of the list of goals") -> Iterator[tuple[str, str]]:
    """Text outside of a JSON list, if it has words other than those that announce the list."""
    if re.search(r"\w", _ANNOUNCED.sub("", text)):
        yield text, reason


def _line_parts(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    bulleted = [bool(_BULLET.match(line)) for line in lines]
    without_bullet = "no bullet, unlike other lines" if any(bulleted) else ""
    for line, has_bullet in zip(lines, bulleted, strict=True):
        yield line, "" if has_bullet else without_bullet


@functools.lru_cache(maxsize=2**14)
def _read(line: str) -> tuple[str, str]:
    """The goal in a line and ""; or "" and the reason why there is none."""
    bullet = _BULLET.match(line)
    printable = "".join(c if c.isprintable() else " " for c in (bullet.group(1) if bullet else line))
    goal = " ".join(printable.strip(" \t*_`\"'.,;:!").lower().split())
    if _REFUSAL.match(goal):
        return "", "a refusal"
    if not bullet and (_TALK.match(goal) or line.endswith((":", "?"))):
        return "", "talk"
    if line.startswith("{"):
        return "", "JSON without a list of goals"
    if not any(map(str.isalnum, goal)):
        return "", "no words"
    return (goal, "") if len(goal) <= MAX_GOAL_CHARACTERS else ("", TOO_LONG)
