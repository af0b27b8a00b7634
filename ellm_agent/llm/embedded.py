"""The model in the box: a small causal language model that answers the same prompts as a large one, offline.

See docs/embedded_model.md for what it is, what it was trained on, and what it must not be taken for.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt

FOLDER = Path(__file__).with_name("embedded")
TEMPERATURE = 1.0  # at which it makes as many mistakes as its corpus, no more
LEAST = 1e-4  # probability below which a token is not drawn: the rarest mistakes of the corpus lie above it
ROWS = 128  # prompts computed side by side
TOP_LOGPROBS = 5


@dataclass
class _Question:
    """A prompt on its way through the model: ids of the scene and of the question after it, and what is written."""

    prompt: Prompt
    scene: tuple[int, ...]
    question: list[int]
    seed: bytes
    written: list[int]


class EmbeddedModel(LanguageModel):
    """A GPT-2 of this project, run in the process. An answer depends on its prompt alone, sampled or not.

    Of a prompt it reads what it was trained to read: the last paragraph, scene and question.

    Args:
        folder: of the model, as ``experiments/train_suggester.py`` writes it.

    Raises:
        UserError: if there is no such model.
    """

    def __init__(self, folder: Path = FOLDER):
        try:
            self._weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:8]
        except OSError as error:
            raise UserError(
                f"{folder} holds no model; train one with experiments/train_suggester.py"
            ) from error
        self.name = f"embedded-{self._weights}"
        self._folder = folder
        self._lock = threading.Lock()
        self._answers = self._seconds = 0.0

    @property
    def description(self) -> str:
        """One line for people."""
        return "the embedded model, a small GPT-2 made for this game (not a pretrained LLM)"

    @functools.cached_property
    def _parts(self):
        # Imported late: it takes seconds, and not every run needs it.
        import transformers.utils.logging
        from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

        transformers.utils.logging.disable_progress_bar()
        try:
            model = GPT2LMHeadModel.from_pretrained(self._folder, dtype=torch.float32).eval()
            tokenizer = PreTrainedTokenizerFast.from_pretrained(self._folder)
        except (OSError, ValueError) as error:
            raise UserError(f"{self._folder} holds no model that can be read: {error}") from error
        return model, tokenizer

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        started = time.perf_counter()
        with self._lock, torch.inference_mode():
            questions = self._read(prompts)
            answers = []
            for first in range(0, len(questions), ROWS):
                answers += self._write(questions[first : first + ROWS])
            self._answers += len(prompts)
            self._seconds += time.perf_counter() - started
        return answers

    def metrics(self) -> dict[str, float]:
        return {"llm/seconds": self._seconds}

    def _read(self, prompts: Sequence[Prompt]) -> list[_Question]:
        told = [prompt.user.strip().split("\n\n")[-1].rpartition("\n") for prompt in prompts]
        scenes, questions = ([text[i] for text in told] for i in (0, 2))
        known = {text: self._ids(text) for text in dict.fromkeys("\n" + question for question in questions)}
        scenes = self._batch_ids(scenes)
        room = self._parts[0].config.n_positions
        return [
            _Question(
                prompt=prompt,
                scene=tuple(scene[-(room // 2) :]),
                question=known["\n" + question][-(room // 4) :],
                seed=hashlib.blake2b(
                    f"{prompt.temperature}\n{scene_text}\n{question}".encode(errors="replace")
                ).digest(),
                written=[],
            )
            for prompt, scene, (scene_text, _, question) in zip(prompts, scenes, told, strict=True)
        ]

    def _ids(self, text: str) -> list[int]:
        return self._batch_ids([text])[0]

    def _batch_ids(self, texts: Sequence[str]) -> list[list[int]]:
        # What cannot be written as UTF-8 (half a surrogate pair) is read as a question mark.
        clean = [text.encode(errors="replace").decode() for text in texts]
        return self._parts[1](clean)["input_ids"]

    def _write(self, questions: list[_Question]) -> list[Answer]:
        """Reads each scene once, each question after its scene, and writes answers token by token."""
        model, tokenizer = self._parts
        scenes = list(dict.fromkeys(question.scene for question in questions))
        places = {scene: i for i, scene in enumerate(scenes)}
        ids, mask = _padded(scenes)
        cache = model(ids, attention_mask=mask, position_ids=_positions(mask), use_cache=True).past_key_values
        chosen = torch.tensor([places[question.scene] for question in questions])
        cache.batch_select_indices(chosen)
        mask = mask[chosen]
        ids, new = _padded([question.question for question in questions])
        room = model.config.n_positions - mask.shape[1] - ids.shape[1]
        ends = [min(question.prompt.max_tokens, room) for question in questions]
        temperatures = torch.tensor([[max(question.prompt.temperature, 1e-6)] for question in questions])
        greedy = torch.tensor([question.prompt.temperature == 0 for question in questions])
        first = None
        active = list(range(len(questions)))
        for step in range(max(ends)):
            mask = torch.cat([mask, new], dim=1)
            positions = _positions(mask)[:, -ids.shape[1] :]
            told = model(
                ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = told.logits[:, -1]  # (active, vocabulary)
            if first is None:
                first = torch.log_softmax(logits, dim=1).topk(TOP_LOGPROBS, dim=1)
            tokens = _choose(
                logits,
                temperatures[active],
                greedy[active],
                [_uniform(questions[i].seed, step) for i in active],
            )
            going = []
            for row, (i, token) in enumerate(zip(active, tokens.tolist(), strict=True)):
                if token != tokenizer.eos_token_id:
                    questions[i].written.append(token)
                    if step + 1 < ends[i]:
                        going.append(row)
            if not going:
                break
            if len(going) < len(active):
                kept = torch.tensor(going)
                cache.batch_select_indices(kept)
                mask, tokens = mask[kept], tokens[kept]
                active = [active[row] for row in going]
            ids, new = tokens[:, None], torch.ones(len(active), 1, dtype=torch.long)
        texts = tokenizer.batch_decode([question.written for question in questions])
        return [
            self._answer(question, text, first.values[row], first.indices[row])
            for row, (question, text) in enumerate(zip(questions, texts, strict=True))
        ]

    def _answer(self, question: _Question, text: str, values: torch.Tensor, indices: torch.Tensor) -> Answer:
        logprobs = {}
        if question.prompt.logprobs:
            names = self._parts[1].batch_decode(indices[:, None].tolist())
            logprobs = {name: min(value, 0.0) for name, value in zip(names, values.tolist(), strict=True)}
        read = len(question.scene) + len(question.question)
        return Answer(text.strip(), logprobs, read, len(question.written))


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask ``(rows, longest)``, padded on the left."""
    longest = max(1, *(len(row) for row in rows))
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, row in enumerate(rows):
        if row:
            ids[i, -len(row) :] = row
            mask[i, -len(row) :] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)


def _uniform(seed: bytes, step: int) -> float:
    """A number in [0, 1) that depends on the question and the step alone, however questions are batched."""
    digest = hashlib.blake2b(seed + step.to_bytes(4, "little"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _choose(
    logits: torch.Tensor, temperatures: torch.Tensor, greedy: torch.Tensor, uniforms: Sequence[float]
) -> torch.Tensor:
    """A token for each row: the likeliest, or the one in whose share of [0, 1) the row's uniform number lies."""
    probabilities = torch.softmax(logits.double() / temperatures, dim=1)  # (rows, vocabulary)
    shares = F.threshold(probabilities, LEAST, 0.0).cumsum(dim=1)
    drawn = torch.searchsorted(
        shares, torch.tensor(uniforms, dtype=torch.float64)[:, None] * shares[:, -1:], right=True
    )
    drawn = drawn.squeeze(1).clamp(max=logits.shape[1] - 1)
    return torch.where(greedy, logits.argmax(dim=1), drawn)
