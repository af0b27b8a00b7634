"""Recorded answers from a file: a run on a language model's answers, without the model.

The file is JSON lines, plain or compressed (``.gz``). The first line says what answered:

    {"description": "...", "version": "statement-1", ...}

where ``version`` is that of the prompts. Each other line is an answer to a prompt: its user text, and the answer's text with
log-probabilities, or the probability of "Yes" alone:

    {"user": "Do people ...? Yes or No?", "yes": 0.93}
    {"user": "...", "text": "- chop tree", "logprobs": {}}

A file may leave prompts out, which are counted (``llm/not_recorded``): captions borrow goals from those that are answered;
statements have none.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.terminal import one_line

LEAST = 1e-4  # of probabilities: so that their logarithms are finite


class RecordedModel(LanguageModel):
    """Answers prompts from such a file.

    Args:
        path: of the file.

    Raises:
        UserError: if it cannot be read or is no such file.
    """

    can_be_asked_ahead, leaves_out = False, True
    name = "recorded"
    counted = ("recorded", "not_recorded")

    def __init__(self, path: Path):
        self._path = path
        try:
            content = path.read_bytes()
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            head, *rows = map(json.loads, content.decode("utf-8").splitlines())
            self.description = one_line(str(head["description"]))
            self._version = str(head["version"])
            self._answers = {str(row["user"]): _answer(row) for row in rows}
        except OSError as error:
            raise UserError(f"cannot read recorded answers {path}: {error.strerror}") from error
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            EOFError,
            zlib.error,
            RecursionError,
        ) as error:
            raise UserError(
                f"{path} holds no recorded answers (docs/housekeep.md says what they look like)"
            ) from error

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        answers = self.look_up(prompts)
        missing = answers.count(None)
        self.counts.add(recorded=len(answers) - missing, not_recorded=missing)
        return [answer or self._not_recorded(p) for p, answer in zip(prompts, answers, strict=True)]

    def look_up(self, prompts: Sequence[Prompt]) -> list[Answer | None]:
        return [self._answers.get(p.user) if p.version == self._version else None for p in prompts]

    def check(self, version: str, prompts: Sequence[Prompt] = ()) -> None:
        """Checks before a run begins that the file is about its prompts.

        Args:
            version: of the prompts.
            prompts: all of them, if they are known.

        Raises:
            UserError: if the version is another one, or none of the prompts is answered.
        """
        if version != self._version:
            raise UserError(f"{self._path} answers prompts of version {self._version}, not {version}")
        if prompts and not any(prompt.user in self._answers for prompt in prompts):
            raise UserError(
                f"{self._path} holds no answer to any question of this world, such as: {prompts[0].user}"
            )

    def _not_recorded(self, prompt: Prompt) -> LanguageModelError:
        question = one_line(prompt.user)[-300:]
        return LanguageModelError(f"{self._path} holds no answer to: {question}", "not_recorded")


def _answer(row: Mapping[str, Any]) -> Answer:
    if "yes" not in row:
        return Answer(str(row["text"]), {str(k): float(v) for k, v in row.get("logprobs", {}).items()})
    yes = float(row["yes"])
    if not 0 <= yes <= 1:
        raise ValueError(f"a probability is {yes}")
    yes = min(max(yes, LEAST), 1 - LEAST)
    return Answer("Yes" if yes > 0.5 else "No", {"Yes": math.log(yes), "No": math.log1p(-yes)})
