"""Sums of phrase vectors: how an encoder turns the phrases of an observation into one vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

PADDING = 0  # id that adds nothing


def sum_of_rows(table: torch.Tensor, ids: torch.Tensor, twice: bool = False) -> torch.Tensor:
    """Sum of the table's rows for each row of ids.

    Args:
        table: ``(n, d)`` float32.
        ids: ``(batch, slots)`` integers; 0 is padding, and ids beyond the table add nothing.
        twice: whether second derivatives are needed (TRPO), which PyTorch's ``embedding_bag`` does not have.

    Returns:
        ``(batch, d)`` float32, differentiable in ``table``.
    """
    ids = torch.where(ids < len(table), ids, PADDING).int()
    if not twice:
        return F.embedding_bag(ids, table, mode="sum", padding_idx=PADDING)
    present = ids != PADDING
    rows = torch.arange(len(ids), device=ids.device).repeat_interleave(present.sum(dim=1))
    return table.new_zeros(len(ids), table.shape[1]).index_add(0, rows, table[ids[present]])


def by_blocks(
    function: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, known: int, block: int = 64
) -> torch.Tensor:
    """``function(rows[known:])`` for a function of single rows, in blocks that always have the same place and shape.

    A matrix product rounds a row differently in another block. Computed in this way, a row's last bits do not depend on
    how many rows came at once: a resumed run, which computes all of them at once, has the same bits.
    """
    first = known - known % block
    parts = []
    for start in range(first, len(rows), block):
        part = rows[start : start + block]
        padded = torch.cat([part, part.new_zeros(block - len(part), *part.shape[1:])])
        parts.append(function(padded)[: len(part)])
    return torch.cat(parts)[known - first :]
