"""The bundled model: a small causal language model that answers the same prompts as a large one, offline.

Run by ``transformers``. ``docs/bundled_model.md`` is its model card. Knows nothing of how it is trained.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional as F

from ellm_agent.errors import UserError
from ellm_agent.llm import value_heads
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.terminal import one_line
from prompts import open_ended

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FOLDER = Path(__file__).with_name("bundled_model")
TEMPERATURE = 1.0  # at which it makes as many mistakes as its corpus
MIN_PROBABILITY = (
    1e-4  # less likely tokens are not sampled: the rarest mistakes of the corpus are more likely
)
TOP_LOGPROBS = 5
BATCH = 256  # questions answered at once


class BundledModel(LanguageModel):
    """A causal language model in a folder, run in this process. An answer depends on its prompt alone, sampled or not.

    It reads only the last paragraph of a prompt, caption and question, as in its training corpus. Each caption of a
    batch is read once, whatever is asked about it.

    Args:
        folder: of the model, as ``experiments/train_suggester.py`` writes it.

    Raises:
        UserError: if the folder has no model; by ``load``, or else the first ``answer``, if it cannot be read.
    """

    default_temperature = TEMPERATURE
    counted = ("seconds",)

    def __init__(self, folder: Path = FOLDER):
        try:
            weights = hashlib.sha256((folder / "model.safetensors").read_bytes())
            for name in (
                value_heads.WEIGHTS,
                value_heads.SETTINGS,
            ):  # the same weights can be decoded in other ways
                if (folder / name).exists():
                    weights.update((folder / name).read_bytes())
        except OSError as error:
            raise UserError(
                f"{folder} holds no model; train one with experiments/train_suggester.py"
            ) from error
        self.name = f"bundled-{weights.hexdigest()[:8]}"
        shipped = "the bundled model, a small GPT-2 made for this game (not a pretrained LLM)"
        self.description = shipped if folder == FOLDER else f"the language model in {folder}"
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def likely_goals(self) -> Sequence[str]:
        """Goals that are tokens of their own: nearly all that it suggests. Of a model whose tokens are phrases: what its goals
        begin with.
        """
        bullets = (name for name in self._tokens if name.startswith("\n") and not name.endswith(" "))
        return tuple(dict.fromkeys(goal for name in bullets for goal in open_ended.parse(name)))

    def load(self) -> None:
        """Reads the model's files now, not at the first question.

        Raises:
            UserError: if they cannot be read, or do not fit one another.
        """
        with self._lock:
            _ = self._network

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        started = time.perf_counter()
        with self._lock, torch.inference_mode():
            questions = self._tokenize(prompts)
            # Batches of similar lengths, with questions about the same caption side by side.
            order = sorted(questions, key=lambda question: (len(question.caption), question.caption))
            for start in range(0, len(order), BATCH):
                self._generate(order[start : start + BATCH])
            texts = self._tokenizer.decode_batch([q.written for q in questions], skip_special_tokens=False)
            self.counts.add(seconds=time.perf_counter() - started)
        return [
            Answer(text.strip(), question.logprobs, question.length, len(question.written))
            for question, text in zip(questions, texts, strict=True)
        ]

    # --- the model's files ----------------------------------------------------------------------------------

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        with self._reading():
            return Tokenizer.from_file(str(self._folder / "tokenizer.json"))

    @functools.cached_property
    def _tokens(self) -> list[str]:
        """The text of each token."""
        ids = [[token] for token in range(self._tokenizer.get_vocab_size())]
        return self._tokenizer.decode_batch(ids, skip_special_tokens=False)

    @functools.cached_property
    def _network(self) -> PreTrainedModel:
        vocabulary = self._tokenizer.get_vocab_size()
        with self._reading():
            return load_network(self._folder, vocabulary)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # damaged files raise all kinds
            reason = one_line(f"{type(error).__name__}: {error}")[:300]
            raise UserError(
                f"{self._folder} holds no model that can be read ({reason}); train one with"
                " experiments/train_suggester.py"
            ) from error

    # --- answering ------------------------------------------------------------------------------------------

    def _tokenize(self, prompts: Sequence[Prompt]) -> list[_Question]:
        room = self._network.config.max_position_embeddings
        # Lone surrogates, which UTF-8 cannot encode, are read as question marks.
        texts = [p.user.strip().split("\n\n")[-1].encode(errors="replace").decode() for p in prompts]
        parts = [text.rpartition("\n") for text in texts]
        encode = functools.partial(self._tokenizer.encode_batch_fast, add_special_tokens=False)
        captions = encode([caption for caption, _, _ in parts])
        asked = encode([f"\n{question}" for _, _, question in parts])
        return [
            _Question(
                prompt=prompt,
                caption=tuple(caption.ids[-(room // 2) :]),
                question=question.ids[-(room // 4) :],
                seed=_seed(prompt.temperature, text) if prompt.temperature else b"",
            )
            for prompt, text, caption, question in zip(prompts, texts, captions, asked, strict=True)
        ]

    def _generate(self, questions: Sequence[_Question]) -> None:
        """Writes the answers to a batch of questions, all side by side, token by token."""
        network, config = self._network, self._network.config
        last = network.generation_config.eos_token_id  # tokens after which an answer is over
        last = {*last} if isinstance(last, list) else {last}
        rows = {caption: row for row, caption in enumerate(dict.fromkeys(q.caption for q in questions))}
        # Padding is on the left, masked; attention goes by column, and positions are counted without it.
        ids, mask = _padded(list(rows))
        cache = _read(network, ids, mask, None).past_key_values
        row_of = torch.tensor([rows[question.caption] for question in questions])
        cache.batch_select_indices(row_of)
        ids, own = _padded([question.question for question in questions])
        mask = torch.cat([mask[row_of], own], dim=1)  # (questions, columns)
        active = list(questions)
        for step in range(config.max_position_embeddings):
            logits = _read(network, ids, mask, cache).logits[:, -1]  # (questions, vocabulary)
            if step == 0:
                self._note_logprobs(active, logits)
            tokens = _choose(logits, active, step)
            going = []
            for row, (question, token) in enumerate(zip(active, tokens, strict=True)):
                if token == config.eos_token_id:
                    continue
                question.written.append(token)
                longest = min(question.prompt.max_tokens, config.max_position_embeddings - question.length)
                if step + 1 < longest and token not in last:
                    going.append(row)
            if not going:
                return
            ids = torch.tensor([[tokens[row]] for row in going])
            if len(going) < len(active):
                active, mask = [active[row] for row in going], mask[going]
                cache.batch_select_indices(torch.tensor(going))
            mask = F.pad(mask, (0, 1), value=1)

    def _note_logprobs(self, questions: Sequence[_Question], logits: torch.Tensor) -> None:
        top = torch.log_softmax(logits, dim=1).topk(TOP_LOGPROBS, dim=1)
        for question, values, tokens in zip(
            questions, top.values.tolist(), top.indices.tolist(), strict=True
        ):
            if question.prompt.logprobs:
                names = (self._tokens[token] for token in tokens)
                question.logprobs = {name: min(value, 0.0) for name, value in zip(names, values, strict=True)}


@dataclass
class _Question:
    """A prompt while it is answered."""

    prompt: Prompt
    caption: tuple[int, ...]  # tokens
    question: list[int]  # tokens after the caption
    seed: bytes  # of the answer's random numbers; empty for the likeliest answer
    written: list[int] = field(default_factory=list)  # tokens of the answer
    logprobs: dict[str, float] = field(default_factory=dict)  # of the likeliest first tokens

    @property
    def length(self) -> int:
        """Tokens before the answer."""
        return len(self.caption) + len(self.question)


def load_network(folder: Path, vocabulary: int, heads: bool = True) -> PreTrainedModel:
    """Reads a causal language model.

    Args:
        folder: of the model.
        vocabulary: tokens that it must know.
        heads: whether it decodes with the value heads in the folder, if there are any.

    Raises:
        Exception: of any kind, if its files are damaged or do not fit one another.
    """
    import transformers  # imported late: it takes seconds
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # errors are reported in one line
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(
            devices=[]
        ):  # loading may draw random numbers, which must not affect a run
            network, report = transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
        ends = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    finally:
        logging.set_verbosity(verbosity)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            raise ValueError(f"{kind.replace('_', ' ')}: {sorted(map(str, report[kind]))[0]}")
    if network.config.vocab_size < vocabulary:
        raise ValueError(f"{vocabulary} tokens, but weights for {network.config.vocab_size}")
    if ends is None:
        raise ValueError("generation_config.json has no eos_token_id")
    if heads:
        value_heads.attach(network, folder)
    return network.eval()


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids with padding on the left, and a mask that is 1 for tokens; both ``(rows, longest)``."""
    longest = max(1, *map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _read(network: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> Any:
    """Reads more tokens (``ids``, each row's last columns of ``mask``) after those in the cache."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)  # without padding
    return network(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions[:, -ids.shape[1] :],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )


def _seed(temperature: float, text: str) -> bytes:
    return hashlib.blake2b(f"{temperature}\n{text}".encode()).digest()


def _uniform(seed: bytes, step: int) -> float:
    """A number in [0, 1) that depends on question and step alone, however questions are batched."""
    digest = hashlib.blake2b(seed + step.to_bytes(4, "little"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def _choose(logits: torch.Tensor, questions: Sequence[_Question], step: int) -> list[int]:
    """A token for each question: the likeliest, or one sampled by the inverse of the cumulative distribution."""
    tokens = logits.argmax(dim=1)  # logits: (questions, vocabulary)
    sampled = [row for row, question in enumerate(questions) if question.seed]
    if sampled:
        temperatures = torch.tensor([[max(questions[row].prompt.temperature, 1e-6)] for row in sampled])
        uniforms = torch.tensor(
            [[_uniform(questions[row].seed, step)] for row in sampled], dtype=torch.float64
        )
        probabilities = torch.softmax(logits[sampled].double() / temperatures, dim=1)
        cumulative = F.threshold(probabilities, MIN_PROBABILITY, 0.0).cumsum(dim=1)
        chosen = torch.searchsorted(cumulative, uniforms * cumulative[:, -1:], right=True).squeeze(1)
        tokens[sampled] = chosen.clamp(max=logits.shape[1] - 1)
    return tokens.tolist()
