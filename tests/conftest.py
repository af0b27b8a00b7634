"""Shared parts of the tests. Nothing here reaches a network or needs a key."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing

# Two workers and the scripts that they start share the cores: threads that wait for each other cost more than they save.
# Read when NumPy is imported.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
# A suite that was started in the background may ignore these, and so would all programs that its tests start and stop.
for _signal in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)


HOUSEKEEP = """
from envs.housekeep.compiled import CompiledHousekeep
worlds = CompiledHousekeep(1)
worlds.reset()
worlds.step([0])
"""


def pytest_sessionstart(session):
    """Compiles both worlds once, side by side, before the workers and the scripts that they start would each do so."""
    from envs.crafter.compiled import CompiledCrafter, is_compiled

    if not hasattr(session.config, "workerinput") and not is_compiled():
        beside = subprocess.Popen([sys.executable, "-c", HOUSEKEEP], cwd=session.config.rootpath)
        worlds = CompiledCrafter(1)
        worlds.reset()
        worlds.step(np.zeros(1, int))
        beside.wait()


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch):
    """No test may find a real language model through the environment."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def refused(monkeypatch, capsys):
    """Calls a script's main in this process, with arguments; the line with which it ends, with status 2."""

    def call(name, arguments, main, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main(*words)
        said = capsys.readouterr()
        assert ended.value.code == 2
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        return said.err[len("error: ") : -1]

    return call


@pytest.fixture(scope="session")
def _browser(tmp_path_factory):
    from tests.helpers.browser import CHROMIUM, browser

    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def chromium(_browser):
    """A page in a headless Chromium; skips the test where there is none."""
    _browser.open("about:blank")
    _browser.messages.clear()
    return _browser


@pytest.fixture
def cache_path(tmp_path):
    return tmp_path / "folder" / "answers.sqlite"


@pytest.fixture
def cache(cache_path):
    """A new record of answers."""
    from ellm_agent.llm.cache import AnswerCache

    with closing(AnswerCache(cache_path)) as opened:
        yield opened


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """Finished run folders, by algorithm, made when they are first asked for; they must stay as they are."""
    from tests.helpers.processes import script
    from tests.helpers.transfers import KINDS, SMALL

    made = {}

    def make(algo="dqn"):
        if algo not in made:
            made[algo] = tmp_path_factory.mktemp("pretrained") / algo
            done = script("run_crafter.py", *SMALL, *KINDS[algo], "--out", made[algo])
            assert done.returncode == 0, done.stderr
        return made[algo]

    return make


@pytest.fixture
def table():
    """A phrase table whose vectors are chosen by hand: ``table.known["text"] = vector``."""
    from ellm_agent.text.phrases import PhraseTable
    from ellm_agent.text.sentence_bert import DIMENSIONS

    known: dict[str, list[float]] = {}

    def encode(texts):
        vectors = np.zeros((len(texts), DIMENSIONS), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            numbers = known.get(text, [0.0])
            row[: len(numbers)] = numbers
        return vectors

    phrases = PhraseTable(encode)
    phrases.known, phrases.encode = known, encode
    return phrases


@pytest.fixture
def explore(table):
    """Makes the exploration wrapper around a tiny world, with vectors chosen by hand."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    from ellm_agent.goals.base import OracleSuggester
    from ellm_agent.rewards.goal_similarity import GoalSimilarity
    from ellm_agent.wrappers.goal_exploration import GoalExploration
    from tests.helpers.counting import Counting

    table.known.update({"chop tree": [1.0], "drink water": [0.0, 1.0], "drink tree": [0.0, 0.0, 1.0]})

    def make(suggester=None, n_envs=1, truncates=False, **options):
        worlds = DummyVecEnv([lambda: Counting(truncates)] * n_envs)
        reward = GoalSimilarity(0.5, encode=table.encode)
        return GoalExploration(worlds, suggester or OracleSuggester(), reward, table, **options)

    return make
