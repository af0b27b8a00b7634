"""Log-likelihoods of continuations under a language model in this process, run by ``transformers``."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt
from ellm_agent.llm.local import INSTALL, find_gguf, name_of
from ellm_agent.terminal import one_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 64  # continuations read at once


class LikelihoodModel(LanguageModel):
    """Answers prompts of the scored form with a GGUF file's model, whose weights are unpacked to float32.

    Args:
        path: of the file; None: the packaged model.

    Raises:
        UserError: if a package is missing or the file cannot be read.
    """

    counted = ("seconds",)

    def __init__(self, path: Path | None = None):
        gguf = find_gguf(path)
        for package in ("gguf", "accelerate"):
            if importlib.util.find_spec(package) is None:
                raise UserError(f"goal-mode is scored, for which the package {package} is missing: {INSTALL}")
        self.name, self.source = name_of(gguf), "local/likelihood"
        self.description = f"{self.name} in this process"
        self._tokenizer, self._network = _load(gguf)
        self._lock = threading.Lock()

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        started = time.perf_counter()
        with self._lock:
            known = {prompt: self._answer(prompt) for prompt in dict.fromkeys(prompts)}
        self.counts.add(seconds=time.perf_counter() - started)
        return [known[prompt] for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Answer:
        prefix = self._tokens("\n\n".join(filter(None, (prompt.system, prompt.user))))
        continuations = [self._tokens(text) for text in prompt.continuations]
        values = log_likelihoods(self._network, prefix, continuations)
        logprobs = dict(zip(prompt.continuations, values, strict=True))
        likeliest = max(logprobs, key=logprobs.get, default="")
        return Answer(likeliest, logprobs, len(prefix) + sum(map(len, continuations)))

    def _tokens(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False).input_ids


def log_likelihoods(
    network: PreTrainedModel, prefix: Sequence[int], continuations: Sequence[Sequence[int]]
) -> list[float]:
    """log P(continuation | prefix) = sum over its tokens of log P(token | prefix, tokens before), for each; natural.

    The prefix is read once, and the continuations side by side.

    Args:
        network: a causal language model.
        prefix: tokens; at least one.
        continuations: tokens; at least one each.
    """
    with torch.inference_mode():
        read = network(input_ids=torch.tensor([prefix]), use_cache=True, logits_to_keep=1)
        values: list[float] = []
        for start in range(0, len(continuations), BATCH):
            values += _batch(network, read, continuations[start : start + BATCH])
        return values


def _batch(network: PreTrainedModel, read: Any, continuations: Sequence[Sequence[int]]) -> list[float]:
    """The values of some continuations of a prefix that was read."""
    first = torch.log_softmax(read.logits[0, -1].float(), dim=0)  # (vocabulary,)
    lengths = torch.tensor([len(tokens) for tokens in continuations])
    longest = int(lengths.max())
    # Padding is on the right, where nothing before it can see it.
    ids = torch.stack([F.pad(torch.tensor(tokens), (0, longest - len(tokens))) for tokens in continuations])
    total = first[ids[:, 0]]  # (continuations,)
    if longest > 1:
        cache = copy.deepcopy(read.past_key_values)  # the next batch needs it as it is
        cache.batch_repeat_interleave(len(continuations))
        logits = network(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True).logits.float()
        following = torch.log_softmax(logits, dim=2).gather(2, ids[:, 1:, None])[:, :, 0]
        own = torch.arange(1, longest)[None] < lengths[:, None]  # (continuations, longest - 1)
        total = total + (following * own).sum(dim=1)
    return total.tolist()


def _load(gguf: Path) -> tuple[Any, PreTrainedModel]:
    """A GGUF file's tokenizer and network.

    Raises:
        UserError: if ``transformers`` cannot read it.
    """
    import transformers  # imported late: it takes seconds

    with _quietly():
        try:
            # Loading may draw random numbers, which must not affect a run.
            with torch.random.fork_rng(devices=[]):
                tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
                network = transformers.AutoModelForCausalLM.from_pretrained(
                    gguf.parent, gguf_file=gguf.name, dtype=torch.float32
                )
        except Exception as error:  # damaged files, and models that it does not know, raise all kinds
            reason = one_line(f"{type(error).__name__}: {error}")[:300]
            raise UserError(f"llm-gguf is {gguf}, which transformers cannot read: {reason}") from error
    return tokenizer, network.eval()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's warnings and progress bars: errors are reported in one line."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the progress of unpacking, which has no switch
            yield
    finally:
        logging.set_verbosity(verbosity)
