"""Sums of table rows: what a text encoder does to the phrases that it reads, forward and backward.

PyTorch's ``embedding_bag`` does the same; for a few hundred short bags over a table of a few thousand rows, what it
prepares (lists without padding, and sorted ids for the gradient) takes several times as long as the sums themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import njit

PADDING = 0  # id that adds nothing


@njit(cache=True, nogil=True)
def _add_rows(table, ids, out):
    """``out[r] += table[id]`` for the ids of row r; padding and ids beyond the table add nothing."""
    for r in range(ids.shape[0]):
        for s in range(ids.shape[1]):
            k = ids[r, s]
            if PADDING < k < table.shape[0]:
                for d in range(table.shape[1]):
                    out[r, d] += table[k, d]


@njit(cache=True, nogil=True)
def _add_to_rows(gradient, ids, out):
    """``out[id] += gradient[r]`` for the ids of row r: the transpose of ``_add_rows``."""
    for r in range(ids.shape[0]):
        for s in range(ids.shape[1]):
            k = ids[r, s]
            if PADDING < k < out.shape[0]:
                for d in range(out.shape[1]):
                    out[k, d] += gradient[r, d]


class _SumOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        ctx.ids, ctx.shape = ids, table.shape
        out = np.zeros((len(ids), table.shape[1]), np.float32)
        _add_rows(table.detach().numpy(), ids.numpy(), out)
        return torch.from_numpy(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        out = np.zeros(ctx.shape, np.float32)
        _add_to_rows(gradient.contiguous().numpy(), ctx.ids.numpy(), out)
        return torch.from_numpy(out), None


def sum_of_rows(table: torch.Tensor, ids: torch.Tensor, twice: bool = False) -> torch.Tensor:
    """Sum of the table's rows for each row of ids.

    Args:
        table: ``(n, d)`` float32, on the CPU.
        ids: ``(batch, slots)`` integers; 0 is padding, and ids beyond the table add nothing.
        twice: whether second derivatives are needed (TRPO): slower.

    Returns:
        ``(batch, d)`` float32, differentiable in ``table``.
    """
    if twice:
        present = (ids != PADDING) & (ids < len(table))
        rows = torch.arange(len(ids)).repeat_interleave(present.sum(dim=1))
        return table.new_zeros(len(ids), table.shape[1]).index_add(0, rows, table[ids[present].long()])
    return _SumOfRows.apply(table, ids.to(torch.int32).contiguous())


def by_blocks(
    function: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, known: int, block: int = 64
) -> torch.Tensor:
    """``function(rows[known:])`` for a function of single rows, in blocks that always have the same place and shape.

    A matrix product rounds a row differently in another block. Computed in this way, a row's last bits do not depend on
    how many came at once: a run that goes on from a checkpoint, which has all of them at once, must not differ.
    """
    first = known - known % block
    parts = []
    for start in range(first, len(rows), block):
        part = rows[start : start + block]
        padded = torch.cat([part, part.new_zeros(block - len(part), *part.shape[1:])])
        parts.append(function(padded)[: len(part)])
    return torch.cat(parts)[known - first :]
