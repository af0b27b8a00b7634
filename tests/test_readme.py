"""The README's own code runs, from a folder outside the project; the commands are in tests/config/test_schema.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.helpers.processes import ROOT


def python_blocks(name):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), flags=re.M | re.S)


def test_the_readmes_script_runs_anywhere(tmp_path):
    (block,) = python_blocks("README.md")
    assert "learn(100_000)" in block
    path = tmp_path / "mine.py"
    path.write_text(block.replace("100_000", "120") + "print(agent.num_timesteps)\n")
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "120\n"
    assert [p.name for p in tmp_path.iterdir()] == ["mine.py"]


def test_the_architecture_shows_the_same_script():
    assert python_blocks("docs/architecture.md") == python_blocks("README.md")
