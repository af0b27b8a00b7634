"""Counts the tokens and costs of a language model, and stops at a budget."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped

PAID = ("empty", "refused")  # failures that servers charge for
PERHAPS_PAID = ("timeout", "malformed")  # may be charged for: counted as the most that the question may cost
CHARACTERS_IN_A_TOKEN = 4  # of English, roughly; for servers that do not count


class Price(NamedTuple):
    """US dollars for a million tokens."""

    read: float
    written: float

    def of(self, read: float, written: float) -> float:
        """US dollars for these numbers of tokens."""
        return (self.read * read + self.written * written) / 1e6


# By model name. Prices change: --llm-price-read and --llm-price-written override them.
PRICES = {
    "gpt-4o": Price(2.50, 10.00),
    "gpt-4o-mini": Price(0.15, 0.60),
    "gpt-4.1": Price(2.00, 8.00),
    "gpt-4.1-mini": Price(0.40, 1.60),
    "gpt-4.1-nano": Price(0.10, 0.40),
}


def price_of(model: str, read: float | None = None, written: float | None = None) -> Price | None:
    """The price of a model: as configured, else from the table, else None."""
    pairs = zip((read, written), PRICES.get(model, (None, None)), strict=True)
    price = [known if given is None else given for given, known in pairs]
    return None if None in price else Price(*price)


def tokens(text: str) -> int:
    """Approximate number of tokens of a text."""
    return -(-len(text) // CHARACTERS_IN_A_TOKEN)


class Size(NamedTuple):
    """Tokens of a question."""

    read: int  # estimated
    written: int  # at most


def size(prompt: Prompt) -> Size:
    """The size of a question. In scored form each continuation is a text of its own, and an endpoint writes one token behind it."""
    text = prompt.system + prompt.user
    if prompt.continuations:
        read = sum(tokens(text + continuation) for continuation in prompt.continuations)
        return Size(read, len(prompt.continuations))
    return Size(tokens(text), prompt.max_tokens)


class Metered(Wrapped):
    """A language model whose tokens and costs are counted, and which is not asked any more once a budget is spent.

    The most that a question may cost is reserved before it is asked, so that questions in flight cannot exceed the
    budget. The number of tokens that a server will read is an estimate (``_upper_bound``): a tokenizer that makes
    still more of them can exceed the budget by the difference.

    Args:
        model: answers.
        price: of its tokens; None: not known.
        budget_usd: US dollars.
        budget_tokens: read and written together.

    Raises:
        UserError: for a budget in dollars without a price.
    """

    counted = ("tokens_read", "tokens_written")

    def __init__(
        self,
        model: LanguageModel,
        price: Price | None = None,
        budget_usd: float | None = None,
        budget_tokens: int | None = None,
    ):
        if budget_usd is not None and price is None:
            raise UserError(
                f"no price is known for the model {model.name}: "
                "give --llm-price-read and --llm-price-written, in dollars for a million tokens"
            )
        super().__init__(model)
        self._price, self._usd, self._tokens = price, budget_usd, budget_tokens
        self._lock = threading.Lock()
        self._reserved_read = self._reserved_written = 0

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        affordable = [self._reserve(prompt) for prompt in prompts]
        asked = [prompt for prompt, can in zip(prompts, affordable, strict=True) if can]
        answers = super().answer(asked) if asked else []
        for prompt, answer in zip(asked, answers, strict=True):
            self._book(prompt, answer)
        given, spent = iter(answers), f"the budget for {self.description} is spent"
        return [next(given) if can else LanguageModelError(spent, "over_budget") for can in affordable]

    def metrics(self) -> dict[str, float]:
        metrics = super().metrics()
        if self._price:
            metrics["llm/usd"] = self._price.of(self.counts["tokens_read"], self.counts["tokens_written"])
        return metrics

    def _reserve(self, prompt: Prompt) -> bool:
        read, written = _upper_bound(prompt)
        with self._lock:
            all_read = self.counts["tokens_read"] + self._reserved_read + read
            all_written = self.counts["tokens_written"] + self._reserved_written + written
            if self._tokens is not None and all_read + all_written > self._tokens:
                return False
            if self._usd is not None and self._price.of(all_read, all_written) > self._usd:
                return False
            self._reserved_read += read
            self._reserved_written += written
            return True

    def _book(self, prompt: Prompt, answer: Answer | LanguageModelError) -> None:
        read, written = _upper_bound(prompt)
        with self._lock:
            self._reserved_read -= read
            self._reserved_written -= written
            if isinstance(answer, Answer) or answer.kind in PAID:
                read, written = answer.prompt_tokens, answer.answer_tokens
                if not read:  # the server does not count
                    read, most = size(prompt)
                    written = written or (
                        most if prompt.continuations else tokens(getattr(answer, "text", ""))
                    )
            elif answer.kind not in PERHAPS_PAID:
                read = written = 0
            self.counts.add(tokens_read=read, tokens_written=written)


def _upper_bound(prompt: Prompt) -> Size:
    """The most tokens that a question may take: of those read half as many again as estimated, to be safe."""
    read, written = size(prompt)
    return Size(3 * read // 2, written)
