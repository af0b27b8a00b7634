"""Text, interned: text <-> small integer id <-> frozen SentenceBERT unit vector.

A sentence is encoded once in its life; observations, goals and replay hold ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ellm_agent.text.embedding_bag import PADDING
from ellm_agent.text.sentence_bert import (
    DIMENSIONS,
    sentence_bert,
)


class Growing:
    """Rows of vectors that can be added to without copying all that is there each time."""

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

        Only if one of them has none yet are new phrases encoded. Then all are, as by ``vectors``: what is encoded
        together, which tells in a vector's last bits, depends on the table alone, also after it was loaded.
        """
        there = len(self._vectors.rows) > max(ids, default=0)
        return (self._vectors.rows if there else self.vectors)[list(ids)]

    def cosine(self, a: str, b: str) -> float:
        """Cosine similarity of two phrases."""
        one, other = self.ids((a, b))
        rows = self._vectors.rows if len(self._vectors.rows) > max(one, other) else self.vectors
        return float(rows[one] @ rows[other])

    def save(self, folder: Path) -> None:
        """Writes ``phrases.json`` and ``phrases.safetensors``: all texts, and the vectors that there are so far."""
        save_file({"vectors": np.ascontiguousarray(self._vectors.rows)}, folder / "phrases.safetensors")
        (folder / "phrases.json").write_text(json.dumps(self._texts), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, encode=sentence_bert) -> PhraseTable:
        """Reads what ``save`` wrote.

        Raises:
            ValueError: if the two files do not belong together.
        """
        table = cls(encode)
        texts = json.loads((folder / "phrases.json").read_text(encoding="utf-8"))
        vectors = load_file(folder / "phrases.safetensors")["vectors"]
        texts_only = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        if not texts_only or texts[:1] != [""] or len(set(texts)) != len(texts):
            raise ValueError(f"{folder} holds no list of distinct phrases")
        if vectors.dtype != np.float32 or vectors.shape != (min(len(vectors), len(texts)), DIMENSIONS):
            raise ValueError(f"{folder}: {len(texts)} phrases do not go with vectors {vectors.shape}")
        table.ids(texts)
        table._vectors = Growing()
        table._vectors.extend(vectors)
        return table
