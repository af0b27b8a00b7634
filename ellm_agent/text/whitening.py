"""Whitening of phrase vectors, and the vectors that text encoders read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ellm_agent.text.embedding_bag import by_blocks
from ellm_agent.text.phrases import Growing, PhraseTable
from ellm_agent.text.sentence_bert import (
    DIMENSIONS,
)


def whitening(vectors: np.ndarray, strength: float = 1e-3) -> tuple[np.ndarray, np.ndarray]:
    """Mean and matrix that whiten a set of vectors.

    ``(v - mean) @ matrix`` has mean zero and, up to ``strength``, covariance I/384, so that vectors
    keep a length of about 1. Neighbouring clauses ("tree: 1 west", "tree: 2 west") have nearly the
    same SentenceBERT vector; whitening spreads them.

    Args:
        vectors: ``(n, d)``, the closed vocabulary.
        strength: added to each eigenvalue, as a share of the largest. Directions in which the
            vocabulary hardly varies are noise, and phrases from outside it would be blown up there.

    Returns:
        mean ``(d,)`` and matrix ``(d, d)``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # however many there are, sums must be rounded in the same way
    try:
        doubles = torch.from_numpy(vectors.astype(np.float64))
        mean = doubles.mean(dim=0)
        values, basis = torch.linalg.eigh(torch.cov((doubles - mean).T))
        scale = (values.clamp(min=0) + strength * values.max()).rsqrt()
        matrix = (basis * scale) @ basis.T / math.sqrt(vectors.shape[1])
    finally:
        torch.set_num_threads(threads)
    return mean.float().numpy(), matrix.float().numpy()


class PhraseFeatures:
    """The frozen vector of each phrase as a text encoder reads it: raw or whitened.

    The whitening transform is fixed by the closed vocabulary. Phrases that arrive later (freely worded goals) pass
    through the same transform and are shortened to the longest vector of the vocabulary: in directions in which the
    vocabulary hardly varies they would be blown up.

    Args:
        phrases: the table.
        vocabulary: ids of the closed vocabulary.
        whiten: whether to whiten.
    """

    def __init__(self, phrases: PhraseTable, vocabulary: Sequence[int], whiten: bool):
        self._phrases = phrases
        closed = phrases.vectors_of(vocabulary)
        transform = np.zeros(DIMENSIONS, np.float32), np.eye(DIMENSIONS, dtype=np.float32)
        self._transform = [torch.from_numpy(part) for part in (whitening(closed) if whiten else transform)]
        self._longest = float(self._transformed(torch.from_numpy(closed)).norm(dim=1).max())
        self._rows = Growing()
        self._rows.extend(np.zeros((1, DIMENSIONS), np.float32))  # padding stays zero
        self._on: dict[torch.device, torch.Tensor] = {}

    @property
    def tensor(self) -> torch.Tensor:
        """``(len(phrases), 384)`` float32 on the CPU; row 0 (padding) is zero."""
        known = len(self._rows.rows)
        if known < len(self._phrases):
            new = by_blocks(self._transformed, torch.from_numpy(self._phrases.vectors), known).numpy()
            lengths = np.linalg.norm(new, axis=1, keepdims=True)
            self._rows.extend(new * np.minimum(1, self._longest / np.maximum(lengths, 1e-9)))
            self._on.clear()
        return torch.from_numpy(self._rows.rows)  # shares the memory

    def on(self, device: torch.device) -> torch.Tensor:
        """The same on a device."""
        rows = self.tensor
        if device.type == "cpu":
            return rows
        if device not in self._on:
            self._on[device] = rows.to(device)
        return self._on[device]

    def _transformed(self, vectors: torch.Tensor) -> torch.Tensor:
        mean, matrix = self._transform
        return (vectors - mean) @ matrix
