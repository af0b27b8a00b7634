"""The model in the box: a small causal language model that answers the same prompts as a large one, offline.

See docs/embedded_model.md for what it is, what it was trained on, and what it must not be taken for.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional as F

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.text import one_line
from prompts import open_ended

FOLDER = Path(__file__).with_name("embedded")
TEMPERATURE = 1.0  # at which it makes as many mistakes as its corpus, no more
LEAST = 1e-4  # probability below which a token is not drawn: the rarest mistakes of the corpus lie above it
TOP_LOGPROBS = 5
ROW = 96  # tokens of questions that are read beside one another after their scene
BATCH = 1_024  # tokens that are read at once; more are no faster
SPARE = 32  # columns that a table has beyond those in use when it has grown
SCENE, NOBODY = 0, -1  # branches: of tokens that all others of their row see; of cells without a token

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
                _Reading(parts.model, 1).read([_Piece(0, SCENE + 1, 0, [len(parts.names) - 1])])
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
            pieces.append(_Piece(row, SCENE, 0, scene))
            for branch, question in enumerate(questions, SCENE + 1):
                question.row, question.branch = row, branch
                pieces.append(_Piece(row, branch, len(scene), question.question))
        reading = _Reading(model, len(rows))
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
                    pieces.append(_Piece(question.row, question.branch, question.length + step, [token]))
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
        self.model = _GPT2(folder)
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


class _GPT2:
    """The weights of a GPT-2 as transformers saves it, and what they do to a list of tokens, each by itself.

    What tokens do to one another is for `_Reading`. Plain torch, because transformers' own takes seconds to import,
    and reads in rectangles, with padding, a scene and its questions as well as single tokens of answers.

    Attributes:
        end: the token at the end of a text, no part of it.
        last: tokens after which an answer is over, beside ``end``.
    """

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        made = f"{config['model_type']} with {config['activation_function']}"
        if made != "gpt2 with relu":
            raise ValueError(f"it is a {made}, not a gpt2 with relu")
        self.layers, self.heads, self.width = config["n_layer"], config["n_head"], config["n_embd"]
        self.positions, self.end = config["n_positions"], config["eos_token_id"]
        ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
        self.last = frozenset(ends if isinstance(ends, list) else [ends])
        self._epsilon = config["layer_norm_epsilon"]
        weights = load_file(folder / "model.safetensors")
        self._weights = {name.removeprefix("transformer."): w.float() for name, w in weights.items()}

    def embed(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self._weights["wte.weight"][ids] + self._weights["wpe.weight"][positions]

    def project(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Queries, keys and values of a layer, side by side."""
        return self._linear(f"h.{layer}.attn.c_attn", self._norm(f"h.{layer}.ln_1", x))

    def transform(self, layer: int, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """What a layer makes of its input and of what was attended to."""
        x = x + self._linear(f"h.{layer}.attn.c_proj", attended)
        hidden = self._linear(f"h.{layer}.mlp.c_fc", self._norm(f"h.{layer}.ln_2", x)).relu_()
        return x + self._linear(f"h.{layer}.mlp.c_proj", hidden)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(self._norm("ln_f", x), self._weights["wte.weight"])

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(x, (self.width,), weight, bias, self._epsilon)

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self._weights[f"{name}.bias"], x, self._weights[f"{name}.weight"])


# --- reading ------------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """Consecutive tokens of a scene, a question or an answer."""

    row: int
    branch: int
    position: int  # of the first token, in its text
    ids: Sequence[int]


class _Reading:
    """What a GPT-2 has read: scenes and, as branches of each, the questions about it with their answers.

    A token sees its scene and its own branch as far as itself, and no other branch. Keys and values stand in a table:
    a row for each scene, columns for its tokens in the order in which they were read. All but attention is computed
    on lists of tokens, without padding.

    Args:
        model: that reads.
        rows: how many.
    """

    def __init__(self, model: _GPT2, rows: int):
        self._model = model
        self._places = np.arange(rows)  # in the table, of each row
        self._columns = 0  # in use
        self._branches = self._positions = torch.zeros(rows, 0, dtype=torch.long)
        self._memory = torch.zeros(model.layers, rows, 0, 2 * model.width)  # keys and values side by side

    def read(self, pieces: Sequence[_Piece]) -> torch.Tensor:
        """Reads pieces, sorted by row; a row that is left out cannot be read on.

        Returns:
            Logits of the token after each piece that is not of a scene: ``(pieces, vocabulary)``.
        """
        model = self._model
        row, branch, position, texts = zip(*pieces, strict=True)
        lengths = np.array([len(ids) for ids in texts])
        ends = lengths.cumsum()
        rows = self._find(np.array(row)).repeat(lengths)
        branches = torch.from_numpy(np.array(branch).repeat(lengths))
        starts = np.array(position) - (ends - lengths)
        positions = torch.from_numpy(np.arange(ends[-1]) + starts.repeat(lengths))
        ids = torch.tensor(list(itertools.chain.from_iterable(texts)))
        asked = ends[np.array(branch) != SCENE] - 1

        grid = _Grid(rows, len(self._branches))
        new = self._extend(grid, branches, positions)
        mask = self._mask(grid, branches, positions)
        # What the first layer projects depends on token and position alone: it is computed once for each such pair.
        pairs, places = torch.unique(ids * model.positions + positions, return_inverse=True)
        x = model.embed(pairs // model.positions, pairs % model.positions)
        x, projected = x[places], model.project(0, x)[places]
        for layer in range(model.layers):
            if layer > 0:
                projected = model.project(layer, x)
            queries, told = projected.split((model.width, 2 * model.width), dim=1)
            self._memory[layer, :, new] = grid.spread(told)
            if layer == model.layers - 1 and len(asked) < len(ids):
                # Of the last layer nobody sees more than keys and values, but for the tokens that are asked.
                grid = _Grid(rows[asked], len(self._branches))
                mask = self._mask(grid, branches[asked], positions[asked])
                x, queries = x[asked], queries[asked]
            x = model.transform(layer, x, self._attend(layer, grid, queries, mask))
        return model.logits(x)

    def _find(self, rows: np.ndarray) -> np.ndarray:
        """Places of rows in the table, which is rid of the others once they are half of it."""
        kept = np.unique(self._places[rows])
        if 2 * len(kept) <= len(self._branches):
            self._branches, self._positions = self._branches[kept], self._positions[kept]
            self._memory = self._memory[:, kept]
            self._places = np.searchsorted(kept, self._places)
        return self._places[rows]

    def _extend(self, grid: _Grid, branches: torch.Tensor, positions: torch.Tensor) -> slice:
        """New columns of the table, for keys and values of tokens with these branches and positions."""
        new = slice(self._columns, self._columns + grid.shape[1])
        self._columns = new.stop
        if (missing := new.stop - self._memory.shape[2]) > 0:
            more = (0, missing + SPARE)
            self._branches, self._positions = F.pad(self._branches, more), F.pad(self._positions, more)
            self._memory = F.pad(self._memory, (0, 0, *more))
        self._branches[:, new] = grid.spread(branches, NOBODY)
        self._positions[:, new] = grid.spread(positions)
        return new

    def _mask(self, grid: _Grid, branches: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """What attention adds to scores: nothing for what a token sees, or else minus infinity."""
        branch, position = grid.spread(branches, NOBODY)[:, :, None], grid.spread(positions)[:, :, None]
        of, at = self._branches[:, None, : self._columns], self._positions[:, None, : self._columns]
        seen = ((of == SCENE) | (of == branch)) & (at <= position)  # (rows, tokens, tokens they may see)
        return torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None]

    def _attend(self, layer: int, grid: _Grid, queries: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        heads = self._model.heads
        memory = self._memory[layer, :, : self._columns].unflatten(2, (2, heads, -1))
        keys, values = memory.permute(2, 0, 3, 1, 4)  # each (rows, heads, tokens, width of a head)
        queries = grid.spread(queries).unflatten(2, (heads, -1)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return grid.gather(attended.transpose(1, 2).flatten(2))


class _Grid:
    """Tokens of a list, sorted by row, as a table with so many rows: each row's from the left, then empty cells."""

    def __init__(self, rows: np.ndarray, count: int):
        columns = np.arange(len(rows)) - np.searchsorted(rows, rows)
        self.shape = count, int(columns.max()) + 1
        self._cells = torch.from_numpy(rows * self.shape[1] + columns)
        self._full = len(rows) == count * self.shape[1]  # then list and table are the same

    def spread(self, listed: torch.Tensor, empty: int = 0) -> torch.Tensor:
        """``(tokens, ...)`` -> ``(rows, columns, ...)``."""
        if not self._full:
            cells = listed.new_full((self.shape[0] * self.shape[1], *listed.shape[1:]), empty)
            listed = cells.index_copy_(0, self._cells, listed)
        return listed.unflatten(0, self.shape)

    def gather(self, table: torch.Tensor) -> torch.Tensor:
        """``(rows, columns, ...)`` -> ``(tokens, ...)``."""
        listed = table.flatten(0, 1)
        return listed if self._full else listed[self._cells]
