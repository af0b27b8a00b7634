"""Sampling from causal language models, many rows side by side, with a cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from transformers import PreTrainedModel

Adjust = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (hidden, logits) -> logits


class Decoder:
    """Reads rows of tokens, and gives the logits of what comes next.

    Args:
        model: a causal language model.
        adjust: (hidden states ``(rows, width)``, logits ``(rows, vocabulary)``) -> logits; None: as they are.
    """

    def __init__(self, model: PreTrainedModel, adjust: Adjust | None = None):
        self._model, self._adjust = model, adjust
        self._cache = None
        self._mask: torch.Tensor | None = None

    @torch.no_grad()
    def read(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Reads more tokens of each row.

        Args:
            ids: ``(rows, columns)``.
            mask: 0 where it is padding, which may only be on the left of the first tokens; None: no padding.

        Returns:
            Logits of the next token, ``(rows, vocabulary)``.
        """
        mask = torch.ones_like(ids) if mask is None else mask
        self._mask = mask if self._mask is None else torch.cat([self._mask, mask], dim=1)
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        body = self._model.base_model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = body.past_key_values
        hidden = body.last_hidden_state[:, -1]
        logits = self._model.get_output_embeddings()(hidden)
        return self._adjust(hidden, logits) if self._adjust else logits

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with some of the rows."""
        self._cache.batch_select_indices(rows)
        self._mask = self._mask[rows]


def choose(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
    """A token for each row, ``(rows,)``: sampled, or the likeliest at temperature 0."""
    if not temperature:
        return logits.argmax(dim=1)
    probabilities = torch.softmax(logits / temperature, dim=1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


def sample(
    model: PreTrainedModel,
    questions: Sequence[Sequence[int]],
    longest: int,
    ends: Collection[int],
    generator: torch.Generator,
    temperature: float = 1.0,
    adjust: Adjust | None = None,
) -> list[list[int]]:
    """Answers to questions, in token ids.

    Args:
        model: that answers.
        questions: token ids; none may be empty.
        longest: tokens of an answer, at most.
        ends: tokens after which an answer is over; they are part of it.
        generator: of the samples.
        temperature: of sampling; 0: the likeliest tokens.
        adjust: see ``Decoder``.
    """
    width = max(map(len, questions))
    ids = torch.tensor([[0] * (width - len(q)) + list(q) for q in questions])
    mask = torch.tensor([[0] * (width - len(q)) + [1] * len(q) for q in questions])
    decoder = Decoder(model, adjust)
    logits = decoder.read(ids, mask)
    answers: list[list[int]] = [[] for _ in questions]
    active = list(range(len(questions)))
    for _ in range(longest):
        tokens = choose(logits, temperature, generator)
        for row, token in zip(active, tokens.tolist(), strict=True):
            answers[row].append(token)
        going = [i for i, token in enumerate(tokens.tolist()) if token not in ends]
        if not going or len(answers[active[going[0]]]) == longest:
            break
        if len(going) < len(active):
            active = [active[i] for i in going]
            kept = torch.tensor(going)
            decoder.keep(kept)
            tokens = tokens[kept]
        logits = decoder.read(tokens[:, None])
    return answers
