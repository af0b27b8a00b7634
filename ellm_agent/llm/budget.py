"""What asking costs, and where to stop."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped

PAID = ("empty", "refused")  # failures that servers charge for
PERHAPS_PAID = ("timeout", "malformed")  # and those that they may: counted as all that the question may cost
CHARACTERS_IN_A_TOKEN = 4  # of English, roughly; for servers that do not count
# US dollars for a million tokens, read and written, by model name. Prices change: --llm-price-read and
# --llm-price-written say what is true today.
PRICES = {
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
}


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    read: float
    written: float

    def of(self, read: float, written: float) -> float:
        """US dollars for so many tokens."""
        return (self.read * read + self.written * written) / 1e6


def price_of(model: str, read: float | None = None, written: float | None = None) -> Price | None:
    """The price of a model: as told, else from the table, else None."""
    known = PRICES.get(model, (None, None))
    read, written = known[0] if read is None else read, known[1] if written is None else written
    return None if read is None or written is None else Price(read, written)


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // CHARACTERS_IN_A_TOKEN)


class Metered(Wrapped):
    """A language model whose tokens and costs are counted, and which is asked no more once a budget is spent.

    What a question may cost at most is set aside before it is asked, so that a budget is not exceeded by those under
    way. How many tokens a server will read is an estimate, though (`_most`): one whose tokenizer writes still more of
    them can exceed the budget by as many.

    Args:
        model: answers.
        price: of its tokens; None: not known.
        budget_usd: US dollars.
        budget_tokens: read and written together.

    Raises:
        UserError: for a budget in dollars without a price.
    """

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
        self._price = price
        self._usd, self._tokens = budget_usd, budget_tokens
        self._lock = threading.Lock()
        self._read = self._written = 0
        self._aside_read = self._aside_written = 0

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        affordable = [self._set_aside(prompt) for prompt in prompts]
        asked = [prompt for prompt, can in zip(prompts, affordable, strict=True) if can]
        answers = iter(super().answer(asked) if asked else ())
        told: list[Answer | LanguageModelError] = []
        for prompt, can in zip(prompts, affordable, strict=True):
            if can:
                answer = next(answers)
                self._book(prompt, answer)
                told.append(answer)
            else:
                told.append(LanguageModelError(f"the budget for {self.description} is spent", "over_budget"))
        return told

    def metrics(self) -> dict[str, float]:
        spent = {"llm/tokens_read": float(self._read), "llm/tokens_written": float(self._written)}
        if self._price:
            spent["llm/usd"] = self._price.of(self._read, self._written)
        return super().metrics() | spent

    def state(self) -> dict[str, float]:
        with self._lock:
            return super().state() | {"budget_read": self._read, "budget_written": self._written}

    def restore(self, state: Mapping[str, float]) -> None:
        super().restore(state)
        with self._lock:
            self._read, self._written = state.get("budget_read", 0), state.get("budget_written", 0)

    def _set_aside(self, prompt: Prompt) -> bool:
        read, written = _most(prompt)
        with self._lock:
            all_read = self._read + self._aside_read + read
            all_written = self._written + self._aside_written + written
            if self._tokens is not None and all_read + all_written > self._tokens:
                return False
            if self._usd is not None and self._price.of(all_read, all_written) > self._usd:
                return False
            self._aside_read += read
            self._aside_written += written
            return True

    def _book(self, prompt: Prompt, answer: Answer | LanguageModelError) -> None:
        read, written = _most(prompt)
        with self._lock:
            self._aside_read -= read
            self._aside_written -= written
            if isinstance(answer, Answer) or answer.kind in PAID:
                read = answer.prompt_tokens or tokens(prompt.system + prompt.user)
                written = answer.answer_tokens or tokens(getattr(answer, "text", ""))
            elif answer.kind not in PERHAPS_PAID:
                read = written = 0
            self._read += read
            self._written += written


def _most(prompt: Prompt) -> tuple[int, int]:
    """Tokens that a question may take at most, read and written; half as many again as is usual, to be safe."""
    return 3 * tokens(prompt.system + prompt.user) // 2, prompt.max_tokens
