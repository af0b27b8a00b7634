"""People's choices of the best of four suggestions as labels: ``choices.jsonl`` of ``preferences.py --suggestions``.

``docs/preferences.md`` documents the format.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ellm_agent.errors import UserError
from ellm_agent.lm_training.reward_model import Comparison
from ellm_agent.lm_training.suggester import Suggester
from ellm_agent.lm_training.suggestions import is_held_out
from prompts import open_ended

ANSWERS = 4  # to a question


def read_choices(paths: Sequence[Path], suggester: Suggester) -> tuple[list[Comparison], list[Comparison]]:
    """Choices for training, and those about a fifth of the captions, which are held out.

    Args:
        paths: of the files.
        suggester: whose tokens are used. Answers are read as its own are: their goals in bullets.

    Raises:
        UserError: if a file cannot be read, or a line is no choice, or there are none.
    """
    train, held_out = [], []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot read {path}; preferences.py RUN --suggestions writes RUN/preferences/choices.jsonl"
            ) from error
        for number, line in enumerate(lines, 1):
            try:
                caption, answers, best = _choice(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise UserError(f"{path}: line {number} is no choice; repair it, or leave it out") from error
            ids = [suggester.answer(open_ended.parse(answer)) for answer in answers]
            compared = Comparison.of_choice(suggester.question(caption), ids, best)
            (held_out if is_held_out(caption) else train).append(compared)
    if not train:
        raise UserError(f"{', '.join(map(str, paths))}: {len(held_out)} choices are too few; make more")
    return train, held_out


def _choice(row: Any) -> tuple[str, list[str], int]:
    """Caption, answers, and which of them is the best.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if it is no choice.
    """
    caption, _, question = row["prompt"].rpartition("\n")
    answers, best = row["answers"], row["choice"]
    texts = len(answers) == ANSWERS and all(isinstance(answer, str) for answer in answers)
    if question != open_ended.QUESTION or not texts or type(best) is not int or not 0 <= best < ANSWERS:
        raise ValueError(row)
    return caption, answers, best
