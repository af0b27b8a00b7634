"""The model in the box: a small causal language model that answers the same prompts as a large one, offline.

See docs/embedded_model.md for what it is, what it was trained on, and what it must not be taken for.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.llm.gpt2 import GPT2, NOBODY, SCENE, Piece, Reading
from ellm_agent.terminal import one_line
from prompts import open_ended

FOLDER = Path(__file__).with_name("bundled_model")
TEMPERATURE = 1.0  # at which it makes as many mistakes as its corpus, no more
LEAST = 1e-4  # probability below which a token is not drawn: the rarest mistakes of the corpus lie above it
TOP_LOGPROBS = 5
ROW = 96  # tokens of questions that are read beside one another after their scene
BATCH = 1_024  # tokens that are read at once; more are no faster

_Item = TypeVar("_Item")


class EmbeddedModel(LanguageModel):
    """A GPT-2 of this project, run in the process. An answer depends on its prompt alone, sampled or not.

    Of a prompt it reads what it was trained to read: the last paragraph, scene and question. It reads a scene once,
    whatever is asked about it.

    Args:
        folder: of the model, as ``experiments/train_suggester.py`` writes it.

    Raises:
        UserError: if there is no such model; from `load`, or else the first `answer`, if it cannot be read.
    """

    def __init__(self, folder: Path = FOLDER):
        try:
            weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(
                f"{folder} holds no model; train one with experiments/train_suggester.py"
            ) from error
        self.name = f"embedded-{weights[:8]}"
        self._folder = folder
        self._lock = threading.Lock()
        self._seconds = 0.0

    @property
    def description(self) -> str:
        """One line for people."""
        return "the embedded model, a small GPT-2 made for this game (not a pretrained LLM)"

    @property
    def goals(self) -> Sequence[str]:
        """Goals that are tokens of their own: nearly all that it suggests."""
        bullets = (name for name in self._parts.names if name.startswith("\n") and not name.endswith(" "))
        return tuple(dict.fromkeys(goal for name in bullets for goal in open_ended.parse(name)))

    def load(self) -> None:
        """Reads the model's files now, not at the first question.

        Raises:
            UserError: if they cannot be read, or do not fit one another.
        """
        with self._lock:
            _ = self._parts

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        started = time.perf_counter()
        with self._lock, torch.inference_mode():
            questions = self._read(prompts)
            for rows in _batches(questions):
                self._write(rows)
            texts = self._parts.texts([question.written for question in questions])
            answers = [
                Answer(text.strip(), question.logprobs, question.length, len(question.written))
                for question, text in zip(questions, texts, strict=True)
            ]
            self._seconds += time.perf_counter() - started
        return answers

    def metrics(self) -> dict[str, float]:
        return {"llm/seconds": self._seconds}

    def state(self) -> dict[str, float]:
        return {"seconds": self._seconds}

    def restore(self, state: Mapping[str, float]) -> None:
        self._seconds = state.get("seconds", 0.0)

    @functools.cached_property
    def _parts(self) -> _Parts:
        try:
            parts = _Parts(self._folder)
            with torch.inference_mode():  # what is missing or does not fit fails here
                Reading(parts.model, 1).read([Piece(0, SCENE + 1, 0, [len(parts.names) - 1])])
        except Exception as error:  # damaged files raise all kinds; those of tokenizers are plain Exceptions
            told = one_line(f"{type(error).__name__}: {error}")
            raise UserError(
                f"{self._folder} holds no model that can be read ({told}); train one with"
                " experiments/train_suggester.py"
            ) from error
        return parts

    def _read(self, prompts: Sequence[Prompt]) -> list[_Question]:
        told = [prompt.user.strip().split("\n\n")[-1].rpartition("\n") for prompt in prompts]
        texts = ((scene, f"\n{question}") for scene, _, question in told)
        ids = self._parts.ids(itertools.chain.from_iterable(texts))
        room = self._parts.model.positions
        return [
            _Question(
                prompt=prompt,
                scene=tuple(ids[scene][-(room // 2) :]),
                question=ids[f"\n{question}"][-(room // 4) :],
                seed=_seed(prompt.temperature, scene, question) if prompt.temperature else b"",
            )
            for prompt, (scene, _, question) in zip(prompts, told, strict=True)
        ]

    def _write(self, rows: Sequence[Sequence[_Question]]) -> None:
        """Reads scenes, each with the questions about it, and writes all answers side by side, token by token."""
        model = self._parts.model
        pieces = []
        for row, questions in enumerate(rows):
            scene = questions[0].scene
            pieces.append(Piece(row, SCENE, 0, scene))
            for branch, question in enumerate(questions, SCENE + 1):
                question.row, question.branch = row, branch
                pieces.append(Piece(row, branch, len(scene), question.question))
        reading = Reading(model, len(rows))
        active = list(itertools.chain.from_iterable(rows))
        for step in itertools.count():
            logits = reading.read(pieces)
            if step == 0:
                self._note_logprobs(active, logits)
            tokens = _choose(logits, active, step)
            going, pieces = [], []
            for question, token in zip(active, tokens, strict=True):
                if token == model.end:
                    continue
                question.written.append(token)
                most = min(question.prompt.max_tokens, model.positions - question.length)
                if step + 1 < most and token not in model.last:
                    going.append(question)
                    pieces.append(Piece(question.row, question.branch, question.length + step, [token]))
            if not going:
                return
            active = going

    def _note_logprobs(self, questions: Sequence[_Question], logits: torch.Tensor) -> None:
        asked = [i for i, question in enumerate(questions) if question.prompt.logprobs]
        if not asked:
            return
        names = self._parts.names
        top = torch.log_softmax(logits[asked], dim=1).topk(TOP_LOGPROBS, dim=1)
        for i, values, tokens in zip(asked, top.values.tolist(), top.indices.tolist(), strict=True):
            pairs = zip(tokens, values, strict=True)
            questions[i].logprobs = {names[token]: min(value, 0.0) for token, value in pairs}


# --- questions ----------------------------------------------------------------------------------------------


@dataclass
class _Question:
    """A prompt on its way through the model.

    Attributes:
        prompt: as it was asked.
        scene: ids of the scene's tokens.
        question: ids of those of the question after it.
        seed: of the random numbers that an answer is drawn with; empty for the likeliest answer.
        row: in which it is read, with its scene.
        branch: in that row.
        written: ids of the answer.
        logprobs: of its first token and the likeliest others.
    """

    prompt: Prompt
    scene: tuple[int, ...]
    question: list[int]
    seed: bytes
    row: int = 0
    branch: int = NOBODY
    written: list[int] = field(default_factory=list)
    logprobs: dict[str, float] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Tokens before the answer."""
        return len(self.scene) + len(self.question)


def _batches(questions: Iterable[_Question]) -> Iterator[list[list[_Question]]]:
    """Batches of rows, similar ones together. A row are questions about one scene: all, unless they are very many."""
    about: dict[tuple[int, ...], list[_Question]] = {}
    for question in questions:
        about.setdefault(question.scene, []).append(question)
    rows = [row for same in about.values() for row in _packed(same, lambda asked: len(asked.question), ROW)]

    def length(row: list[_Question]) -> int:
        return len(row[0].scene) + sum(len(asked.question) for asked in row)

    return _packed(sorted(rows, key=length), length, BATCH)


def _packed(items: Iterable[_Item], size: Callable[[_Item], int], most: int) -> Iterator[list[_Item]]:
    """Items in order, in lists of at most so much; an item that is larger is alone."""
    pack: list[_Item] = []
    left = most
    for item in items:
        if pack and size(item) > left:
            yield pack
            pack, left = [], most
        pack.append(item)
        left -= size(item)
    if pack:
        yield pack


def _seed(temperature: float, scene: str, question: str) -> bytes:
    return hashlib.blake2b(f"{temperature}\n{scene}\n{question}".encode(errors="replace")).digest()


def _uniform(seed: bytes, step: int) -> float:
    """A number in [0, 1) that depends on the question and the step alone, however questions are batched."""
    digest = hashlib.blake2b(seed + step.to_bytes(4, "little"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _choose(logits: torch.Tensor, questions: Sequence[_Question], step: int) -> list[int]:
    """A token for each question: the likeliest, or the one in whose share of [0, 1) its uniform number lies."""
    tokens = logits.argmax(dim=1)  # logits: (questions, vocabulary)
    drawn = [i for i, question in enumerate(questions) if question.seed]
    if drawn:
        temperatures = torch.tensor([[max(questions[i].prompt.temperature, 1e-6)] for i in drawn])
        uniforms = torch.tensor([[_uniform(questions[i].seed, step)] for i in drawn], dtype=torch.float64)
        probabilities = torch.softmax(logits[drawn].double() / temperatures, dim=1)
        shares = F.threshold(probabilities, LEAST, 0.0).cumsum(dim=1)
        places = torch.searchsorted(shares, uniforms * shares[:, -1:], right=True).squeeze(1)
        tokens[drawn] = places.clamp(max=logits.shape[1] - 1)
    return tokens.tolist()


# --- the model's files --------------------------------------------------------------------------------------


class _Parts:
    """The model's files, read.

    Attributes:
        model: the network.
        names: the text of each token.
    """

    def __init__(self, folder: Path):
        self.model = GPT2(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.names = self.texts([[token] for token in range(self._tokenizer.get_vocab_size())])

    def ids(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Ids of the tokens of each text, which may come several times."""
        each = list(dict.fromkeys(texts))
        # What cannot be written as UTF-8 (half a surrogate pair) is read as a question mark.
        clean = [text.encode(errors="replace").decode() for text in each]
        encodings = self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)
        return {text: encoding.ids for text, encoding in zip(each, encodings, strict=True)}

    def texts(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return self._tokenizer.decode_batch(ids, skip_special_tokens=False)
