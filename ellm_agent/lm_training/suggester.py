"""A suggesting language model in a folder, for training: captions to token ids, answers to goals, and back to a folder."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers.utils import logging

from ellm_agent.llm import value_heads
from ellm_agent.llm.bundled import FOLDER, BundledModel, load_network
from ellm_agent.lm_training.corpus import BULLET
from ellm_agent.lm_training.decoding import Adjust, sample
from ellm_agent.terminal import print_stderr
from prompts import open_ended

LONGEST = 60  # tokens of an answer
SAMPLED = 256  # answers at once


class Suggester:
    """A causal language model that answers open questions.

    Value heads in the folder (of ILQL) are left out: they belong to the weights that they were trained with.

    Args:
        folder: of the model; None: the bundled one.

    Attributes:
        likely_goals: that it is known to suggest.

    Raises:
        UserError: if the folder holds no model that can be read.
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or FOLDER
        bundled = BundledModel(self.folder)
        bundled.load()  # its errors are one line
        self.likely_goals = bundled.likely_goals
        self._tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.model = load_network(self.folder, self._tokenizer.get_vocab_size(), heads=False)
        if (self.folder / value_heads.WEIGHTS).exists():
            print_stderr(f"note: training starts from {self.folder} without its value heads")
        self.end: int = self.model.config.eos_token_id

    def question(self, caption: str) -> list[int]:
        """Token ids of the open question about a caption."""
        ids = self._tokenizer.encode(f"{caption}\n{open_ended.QUESTION}", add_special_tokens=False).ids
        return ids[-(self.model.config.max_position_embeddings - LONGEST) :]

    def answer(self, goals: Sequence[str]) -> list[int]:
        """Token ids of goals in bullets, and the end."""
        text = "".join(BULLET + goal for goal in goals)
        return [*self._tokenizer.encode(text, add_special_tokens=False).ids[: LONGEST - 1], self.end]

    def goals(self, answer: Sequence[int]) -> tuple[str, ...]:
        """The goals in an answer."""
        return open_ended.parse(self._tokenizer.decode(list(answer), skip_special_tokens=True))

    def sample(
        self,
        questions: Sequence[Sequence[int]],
        generator: torch.Generator,
        adjust: Adjust | None = None,
    ) -> list[list[int]]:
        """Answers, sampled at temperature 1."""
        order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
        answers: list[list[int]] = [[] for _ in questions]
        for start in range(0, len(order), SAMPLED):
            part = order[start : start + SAMPLED]
            asked = [questions[i] for i in part]
            for i, answer in zip(
                part, sample(self.model, asked, LONGEST, (self.end,), generator, 1.0, adjust), strict=True
            ):
                answers[i] = answer
        return answers

    def save(self, folder: Path) -> None:
        """Writes the model so that ``BundledModel`` and transformers read it."""
        logging.disable_progress_bar()
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, folder / name)
        partial = folder / "partial"
        copy.deepcopy(self.model).half().save_pretrained(partial)
        # The weights come last: with them, the folder is complete, and is not trained on.
        for path in sorted(partial.iterdir(), key=lambda path: path.suffix == ".safetensors"):
            path.replace(folder / path.name)
        partial.rmdir()
