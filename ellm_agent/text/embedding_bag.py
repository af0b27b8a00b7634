"""Sums of phrase vectors: how an encoder turns the phrases of an observation into one vector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import njit
from torch.nn import functional as F

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


class _SumOnCPU(torch.autograd.Function):
    """``sum_of_rows`` on the CPU: twice as fast there as ``embedding_bag``, a sixth of a whole run of DQN."""

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
        table: ``(n, d)`` float32.
        ids: ``(batch, slots)`` integers; 0 is padding, and ids beyond the table add nothing.
        twice: whether second derivatives are needed (TRPO): slower.

    Returns:
        ``(batch, d)`` float32, differentiable in ``table``.
    """
    if table.device.type == "cpu" and not twice:
        return _SumOnCPU.apply(table, ids.int().contiguous())
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
