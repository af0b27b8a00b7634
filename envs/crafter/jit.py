"""Numba's ``njit`` with a cache that belongs to exactly the present sources.

Numba notices that a function's own file has changed, but not that another file has from which the function takes rules,
tables or constants: it would go on playing the old rule. Here the cache's folder is named after a hash of all that the
compiled code is made of, so an edited rule is always compiled anew. The folder lies in the first place that can be
written: the user's ``NUMBA_CACHE_DIR``, beside the sources, or the user's own cache.

Changes nothing for other users of Numba in the process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crafter
import numba

HERE = Path(__file__).parent
PREFIX = "crafter-rules-"
KEPT_FOR = 7 * 86_400  # seconds for which the cache of other sources is kept: a process may still be using it


def _sources() -> list[Path]:
    """Files that the compiled code, and the constants in it, are made of."""
    package = [
        HERE / name
        for name in (
            "jit.py",
            "random_numbers.py",
            "worldgen.py",
            "captions.py",
            "knowledge.py",
            "crafter.yaml",
        )
    ]
    return [
        *package,
        *sorted((HERE / "compiled").glob("*.py")),
        Path(crafter.__file__).with_name("data.yaml"),
    ]


def _key() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for path in _sources():
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _places() -> Iterator[Path]:
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR)
    yield HERE / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ellm"


@functools.cache
def cache_folder() -> Path | None:
    """The folder of the compiled code; None if there is no place that can be written."""
    for place in _places():
        folder = place / f"{PREFIX}{_key()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)  # in use, see `_remove_old`
        except (OSError, RuntimeError):  # RuntimeError: no home folder
            continue
        _remove_old(folder)
        return folder
    return None


def _remove_old(present: Path) -> None:
    """Removes caches of other sources that no process has opened for ``KEPT_FOR``."""
    for folder in present.parent.glob(f"{PREFIX}*"):
        try:
            unused = time.time() - folder.stat().st_mtime > KEPT_FOR
        except OSError:  # another process has just removed it
            continue
        if folder != present and unused:
            shutil.rmtree(folder, ignore_errors=True)


def jit(function: Callable | None = None, **options: Any) -> Callable:
    """``numba.njit``, cached in ``cache_folder()``. Used as ``@jit`` or ``@jit(error_model="numpy")``."""
    if function is None:
        return functools.partial(jit, **options)
    folder = cache_folder()
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder or "")
    try:
        return numba.njit(cache=folder is not None, **options)(function)
    finally:
        numba.config.CACHE_DIR = before


def is_compiled() -> bool:
    """True if the cache holds these rules; compiling them takes about half a minute."""
    folder = cache_folder()
    names = ("worldgen._generate-*.nbi", "captions.start-*.nbi", "captions.play-*.nbi")
    return folder is not None and all(any(folder.rglob(name)) for name in names)
