"""Numba's ``njit`` with a cache that belongs to exactly the present sources.

Numba notices that a function's own file has changed, but not that another file has from which the function takes rules,
tables or constants: it would go on playing the old rule. Here the cache's folder is named after a hash of all that the
compiled code is made of, so an edited rule is always compiled anew. The folder lies in the first place that can be
written: the user's ``NUMBA_CACHE_DIR``, beside the sources, or the user's own cache.

Changes nothing for other users of Numba in the process.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crafter
import numba

HERE = Path(__file__).parent
PREFIX = "crafter-rules-"
KEPT_FOR = 7 * 86_400  # seconds for which the cache of other sources is kept: a process may still be using it


def _name() -> str:
    """Name of the folder: a hash of all files that the compiled code, and the constants in it, are made of."""
    digest = hashlib.sha256(numba.__version__.encode())
    data = Path(crafter.__file__).with_name("data.yaml")
    for path in (*sorted(HERE.rglob("*.py")), HERE / "crafter.yaml", data):
        digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return PREFIX + digest.hexdigest()[:16]


@functools.cache
def cache_folder() -> Path | None:
    """The folder of the compiled code; None if there is no place that can be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ellm"
    for place in filter(None, (numba.config.CACHE_DIR, HERE / "__pycache__", home)):
        try:
            folder = Path(place).expanduser() / _name()
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)  # in use
        except (OSError, RuntimeError):  # RuntimeError: no home folder
            continue
        for other in folder.parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):  # another process has just removed it
                if time.time() - other.stat().st_mtime > KEPT_FOR:
                    shutil.rmtree(other)
        return folder
    return None


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
    names = ("worldgen._generate-*.nbi", "rules.start_world-*.nbi", "captions.play-*.nbi")
    return folder is not None and all(any(folder.rglob(name)) for name in names)
