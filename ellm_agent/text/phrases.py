"""Text, interned: text <-> small integer id <-> frozen SentenceBERT unit vector.

A sentence is encoded once in its life; observations, goals and replay hold ids.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ellm_agent.text.embedding_bag import PADDING
from ellm_agent.text.sentence_bert import (
    DIMENSIONS,
    sentence_bert,
)

BLOCK = 128  # texts that are encoded together
BLOCKS = 256  # that are remembered: 50 MB


class Growing:
    """Rows of vectors that grow without a copy of all rows each time."""

    def __init__(self):
        self._storage = np.zeros((0, DIMENSIONS), np.float32)
        self.rows = self._storage  # (n, 384), the rows so far

    def extend(self, new: np.ndarray) -> None:
        """Adds rows."""
        used, needed = len(self.rows), len(self.rows) + len(new)
        if needed > len(self._storage):
            self._storage = np.resize(self._storage, (max(needed, 2 * len(self._storage)), DIMENSIONS))
        self._storage[used:needed] = new
        self.rows = self._storage[:needed]


class Blocks:
    """Vectors of a closed vocabulary that is too large to be encoded beforehand.

    When a text is first needed, a block of neighbours is encoded with it: a quarter of the time of each alone, and
    neighbours in a vocabulary are often met together. Blocks are fixed, so a vector depends on the vocabulary alone.

    Args:
        texts: the vocabulary.
        encode: texts -> ``(n, 384)`` float32 unit vectors.
    """

    def __init__(self, texts: Sequence[str], encode=sentence_bert):
        self._texts, self._encode = texts, encode
        self._index = {text: i for i, text in enumerate(texts)}
        self._block = functools.lru_cache(BLOCKS)(self._encode_block)

    def __contains__(self, text: str) -> bool:
        return text in self._index

    def vector(self, text: str) -> np.ndarray:
        """The vector of a text of the vocabulary, ``(384,)``."""
        block, row = divmod(self._index[text], BLOCK)
        return self._block(block)[row]

    def _encode_block(self, block: int) -> np.ndarray:
        return self._encode(self._texts[block * BLOCK : (block + 1) * BLOCK])


class PhraseTable:
    """Gives each distinct phrase an id (in order of arrival) and its unit vector.

    Vectors are computed in batches when first asked for. Id 0 is the empty phrase, with vector zero.

    Args:
        encode: texts -> ``(n, 384)`` float32 unit vectors.
    """

    def __init__(self, encode=sentence_bert):
        self._encode = encode
        self._texts: list[str] = [""]
        self._ids: dict[str, int] = {"": PADDING}
        self._vectors = Growing()
        self._vectors.extend(np.zeros((1, DIMENSIONS), np.float32))

    def __len__(self) -> int:
        return len(self._texts)

    def id(self, text: str) -> int:
        """The phrase's id; a new phrase gets the next one."""
        known = self._ids.get(text)
        if known is None:
            known = self._ids[text] = len(self._texts)
            self._texts.append(text)
        return known

    def ids(self, texts: Iterable[str]) -> list[int]:
        """Ids of several phrases."""
        return [self.id(text) for text in texts]

    def meet(self, texts: Iterable[str], blocks: Blocks | None = None) -> list[int]:
        """Ids of phrases, like ``ids``. A new one gets its vector at once: from the blocks of a vocabulary, or computed alone.
        So it does not depend on the run, and is found on disk in the next one. For vocabularies that are too large to be known
        beforehand.
        """
        found = []
        for text in texts:
            if text not in self._ids:
                _ = self.vectors  # of all phrases before it
                known = blocks is not None and text in blocks
                self._vectors.extend(blocks.vector(text)[None] if known else self._encode([text]))
            found.append(self.id(text))
        return found

    def blocks(self, texts: Sequence[str]) -> Blocks:
        """A vocabulary for ``meet``."""
        return Blocks(texts, self._encode)

    def text(self, phrase: int) -> str:
        """The text of an id."""
        return self._texts[phrase]

    @property
    def vectors(self) -> np.ndarray:
        """Unit vectors of all phrases, ``(len(self), 384)`` float32; encodes the new ones first."""
        missing = self._texts[len(self._vectors.rows) :]
        if missing:
            self._vectors.extend(self._encode(missing))
        return self._vectors.rows

    def vectors_of(self, ids: Sequence[int]) -> np.ndarray:
        """Unit vectors of some phrases, ``(len(ids), 384)`` float32.

        If one of them has no vector yet, all new phrases are encoded. So the batches, which decide about a vector's last
        bits, depend on the table alone, also after it was loaded.
        """
        encoded = len(self._vectors.rows) > max(ids, default=0)
        return (self._vectors.rows if encoded else self.vectors)[list(ids)]

    def state_dict(self) -> dict[str, Any]:
        """All texts, and the vectors computed so far."""
        return {"texts": list(self._texts), "vectors": torch.from_numpy(self._vectors.rows.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over what ``state_dict`` gave, in place of the present content.

        Raises:
            ValueError: if texts and vectors do not belong together.
        """
        texts, vectors = state["texts"], state["vectors"].numpy()
        if (
            texts[:1] != [""]
            or not all(isinstance(text, str) for text in texts)
            or len(set(texts)) != len(texts)
        ):
            raise ValueError("the state holds no list of distinct phrases")
        if vectors.dtype != np.float32 or vectors.shape != (min(len(vectors), len(texts)), DIMENSIONS):
            raise ValueError(f"{len(texts)} phrases do not go with vectors {vectors.shape}")
        self._texts, self._ids = [], {}
        self.ids(texts)
        self._vectors = Growing()
        self._vectors.extend(vectors)
