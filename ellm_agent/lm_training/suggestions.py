"""Suggestion logs as data: rows of ``suggestions.jsonl``, their split by worlds, and chains of them.

``docs/suggester_training.md`` documents the format.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ellm_agent.errors import DAMAGED, UserError
from ellm_agent.goals.asking import caption_form
from ellm_agent.goals.usefulness import COST, WINDOW, usefulness
from ellm_agent.rewards.rarity import inverse_rate
from envs.interface import Language, World
from prompts import open_ended

HELD_OUT = 0.2  # share of the worlds
EQUAL: Mapping[str, float] = MappingProxyType({})  # every event is worth 1


@dataclass(frozen=True)
class Suggestion:
    """One suggestion, and what became of it.

    Attributes:
        world_seed: of the episode.
        frame: of the episode, at which it was made.
        caption: as the language model reads it.
        goals: suggested.
        before: events of the episode before it.
        after: new event within the window -> frames until it happened.
        ended: whether the episode ended within the window.
        log: which of the logs it is from: worlds of two logs may have the same seed.
        whole: the caption with everything that the agent reads.
    """

    world_seed: int
    frame: int
    caption: str
    goals: tuple[str, ...]
    before: tuple[str, ...]
    after: Mapping[str, int]
    ended: bool
    log: int = 0
    whole: str = ""

    def usefulness(
        self,
        goals: Sequence[str],
        satisfies: Callable[[str, str], bool],
        worth: Mapping[str, float] = EQUAL,
        cost: float = COST,
    ) -> float:
        """Of any goals here, as far as the log tells: the agent played for the goals that were suggested, not for these.

        ``worth`` and ``cost``: as in ``goals.usefulness``.
        """
        return usefulness(goals, self.before, self.after, satisfies, worth, cost)


def read_logs(paths: Sequence[Path], world: World, skip_frames: int = 0) -> list[Suggestion]:
    """All suggestions in logs, in their order.

    Args:
        paths: of ``suggestions.jsonl``, or of run folders that hold one.
        world: that they must be from.
        skip_frames: rows of each run's first frames that are left out: its agent could do less.

    Raises:
        UserError: if a file cannot be read, holds a row that is none, or is of another world or prompt version.
    """
    language, rows = world.language(), []
    for log, path in enumerate(paths):
        path = path / "suggestions.jsonl" if path.is_dir() else path
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path} holds no suggestions; a run with --log-suggestions writes them"
            ) from error
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                found = {"world": row["world"], "prompt": row["prompt"]}
                wanted = {"world": world.name, "prompt": open_ended.VERSION}
                if found != wanted:
                    name = next(name for name in wanted if found[name] != wanted[name])
                    raise UserError(f"{path} is a log of {name} {found[name]!r}; this needs {wanted[name]!r}")
                if row["frames"] > skip_frames:
                    rows.append(_suggestion(row, language, log))
            except DAMAGED as error:
                raise UserError(f"{path}: row {number} is no suggestion") from error
    if not rows:
        raise UserError(f"{', '.join(map(str, paths))}: no suggestions after frame {skip_frames}")
    return rows


def _suggestion(row: Mapping, language: Language, log: int) -> Suggestion:
    form = caption_form(row["caption_form"], language)
    return Suggestion(
        int(row["world_seed"]),
        int(row["frame"]),
        form(row["caption"]),
        tuple(map(str, row["goals"])),
        tuple(map(str, row["before"])),
        {str(event): int(frames) for event, frames in row["after"].items()},
        bool(row["ended"]),
        log,
        row["caption"],
    )


def is_held_out(key: object) -> bool:
    """Whether what has this key is held out: about ``HELD_OUT`` of all; the same whatever else is there."""
    digest = hashlib.blake2b(str(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") < HELD_OUT * 2**32


def split(
    rows: Sequence[Suggestion], by: Callable[[Suggestion], object] = lambda row: row.world_seed
) -> tuple[list[Suggestion], list[Suggestion]]:
    """Rows for training, and held-out ones: those of a fifth of the worlds, or of what else rows are split by."""
    held_out = [is_held_out(by(row)) for row in rows]
    return (
        [row for row, held in zip(rows, held_out, strict=True) if not held],
        [row for row, held in zip(rows, held_out, strict=True) if held],
    )


def rarity(rows: Sequence[Suggestion], events: Sequence[str], power: float) -> dict[str, float]:
    """What events are worth by their rarity, as in the agent's reward (``rewards.rarity.inverse_rate``).

    An event's rate is the share of the episodes in which it happened.
    """
    episodes: dict[tuple[int, int], set[str]] = defaultdict(set)
    for row in rows:
        episodes[row.log, row.world_seed].update(row.before, row.after)
    counts = Counter(event for events in episodes.values() for event in events)
    most = max(counts.values(), default=1)
    return {event: inverse_rate(counts[event] / most, power) for event in events}


def chains(rows: Sequence[Suggestion]) -> list[list[Suggestion]]:
    """Suggestions of an episode that follow one another a window apart, so that nothing is counted twice.

    Rows are logged more often than once in a window, so an episode gives several chains, each with its own first frame.
    """
    found: dict[tuple[int, int, int], list[Suggestion]] = defaultdict(list)
    for row in rows:
        found[row.log, row.world_seed, row.frame % WINDOW].append(row)
    result = []
    for chain in found.values():
        chain.sort(key=lambda row: row.frame)
        start = 0
        for i in range(1, len(chain) + 1):  # a gap ends a chain
            if i == len(chain) or chain[i].frame != chain[i - 1].frame + WINDOW:
                result.append(chain[start:i])
                start = i
    return result
