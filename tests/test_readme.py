"""The README's own code runs, from a folder outside the project; the commands are in tests/config/test_schema.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.helpers.processes import ROOT


def python_blocks(name):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), flags=re.M | re.S)


def run_script(script, folder):
    """What the script prints in a folder that holds nothing else."""
    path = folder / "mine.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, path],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert [p.name for p in folder.iterdir()] == ["mine.py"]
    return done.stdout


def test_the_readmes_script_runs_anywhere(tmp_path):
    (block,) = python_blocks("README.md")
    assert "learn(100_000)" in block
    script = block.replace("100_000", "120") + "print(agent.num_timesteps)\n"
    assert run_script(script, tmp_path) == "120\n"


def test_the_faqs_reward_runs_in_the_readmes_script(tmp_path):
    (block,) = python_blocks("README.md")
    (reward,) = (part for part in python_blocks("docs/faq.md") if "(TransitionReward)" in part)
    worlds, agent = block.split("agent = ")
    agent = agent.replace("worlds, policy_kwargs", "rewarded, policy_kwargs").replace("100_000", "400")
    script = f"{worlds}{reward}agent = {agent}print(sorted(rewarded.reward.seen))\n"
    assert "chop" in run_script(script, tmp_path)


def test_the_script_stands_once():
    """docs/architecture.md points to it."""
    assert python_blocks("README.md")[-1] not in python_blocks("docs/architecture.md")
    assert "(../README.md#extend)" in (ROOT / "docs/architecture.md").read_text()
