"""The compiled rules that are played are those of the sources: Numba's cache is never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENVS = Path(__file__).parents[2] / "envs"
# `daylight` in rules.py holds a table of world.py, which Numba takes for a constant of the compiled function.
PLAY = """
import numba
from envs.crafter.compiled.rules import daylight
from envs.crafter.jit import is_compiled
print(daylight(30), sum(daylight.stats.cache_hits.values()), is_compiled(), repr(numba.config.CACHE_DIR))
"""
FOLDER = "from envs.crafter import jit; print(jit.cache_folder())"


def python(code, folder, **environment):
    env = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    env |= {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "home"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.fixture
def copy(tmp_path):
    """A copy of the sources, not compiled yet."""
    shutil.copytree(ENVS, tmp_path / "envs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "envs" / "crafter" / "compiled" / "__init__.py").write_text("")  # rules only: starts faster
    return tmp_path


def edit(copy, old, new):
    path = copy / "envs" / "crafter" / "compiled" / "world.py"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_an_edited_rule_is_played(copy):
    rule = "table[step] = 1 - np.abs("
    first = python(PLAY, copy)
    value = float(first[0])
    assert first[1:] == ["0", "False", "''"]  # nothing was compiled before; Numba's own settings stay
    assert python(PLAY, copy) == [first[0], "1", "False", "''"]  # now it comes from the cache
    edit(copy, rule, "table[step] = 2 - np.abs(")
    assert float(python(PLAY, copy)[0]) == pytest.approx(value + 1)
    edit(copy, "table[step] = 2 - np.abs(", rule)
    assert python(PLAY, copy) == [first[0], "1", "False", "''"]  # the first cache is still there


def test_the_tests_own_rules_are_compiled():
    from envs.crafter.compiled import CompiledCrafter, is_compiled

    CompiledCrafter(1).reset()
    assert is_compiled()


def test_the_cache_lies_where_it_can_be_written(copy):
    """In the user's folder for Numba, else beside the sources, else in the user's cache, else nowhere."""
    pycache = copy / "envs" / "crafter" / "__pycache__"
    shutil.rmtree(pycache, ignore_errors=True)
    (beside,) = python(FOLDER, copy)
    (asked,) = python(FOLDER, copy, NUMBA_CACHE_DIR=str(copy / "numba"))
    assert (Path(beside).parent, Path(asked).parent) == (pycache, copy / "numba")
    shutil.rmtree(pycache)
    pycache.touch()  # no folder can be made there, as in an installation that is read-only
    (home,) = python(FOLDER, copy)
    assert Path(home).parent == copy / "home" / "ellm"
    assert Path(home).name == Path(beside).name
    shutil.rmtree(copy / "home")
    (copy / "home").touch()
    assert python(PLAY, copy)[1:] == ["0", "False", "''"]  # plays, compiled anew each time
    assert python(FOLDER, copy) == ["None"]


def test_caches_of_old_sources_are_removed(copy):
    (present,) = map(Path, python(FOLDER, copy))
    old, recent = present.with_name("crafter-rules-old"), present.with_name("crafter-rules-recent")
    for folder in (old, recent):
        folder.mkdir()
        (folder / "rules.nbi").touch()
    long_ago = time.time() - 8 * 86_400
    for folder in (old, present):
        os.utime(folder, (long_ago, long_ago))
    python(FOLDER, copy)
    assert (old.exists(), recent.exists(), present.exists()) == (False, True, True)
