"""References for the benchmarks: a plain pipeline, the package, the machine."""

from __future__ import annotations

import contextlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from envs.crafter.captions import to_sentence
from envs.crafter.env import CrafterTextEnv


def package_backend(n_envs: int) -> VecEnv:
    """The package's game with captions and events, as ``--backend package`` plays it."""
    return DummyVecEnv([CrafterTextEnv] * n_envs)


def vectorised_rate(worlds: VecEnv, steps: int) -> Callable[[], float]:
    """Measures frames a second of worlds under a random policy, resets included."""
    worlds.seed(0)
    worlds.reset()
    rng = np.random.default_rng(0)

    def rate() -> float:
        actions = rng.integers(worlds.action_space.n, size=(steps, worlds.num_envs))
        started = time.perf_counter()
        for chosen in actions:
            worlds.step(chosen)
        return steps * worlds.num_envs / (time.perf_counter() - started)

    rate()
    return rate


# --- a plain pipeline ---------------------------------------------------------------------------------------


class EncodedCrafter(gym.Env):
    """Crafter drawing as it does by default; its caption encoded by SentenceBERT at each step; rewarded for similarity."""

    observation_space = gym.spaces.Box(-1, 1, (384,), np.float32)

    def __init__(self, threshold: float = 0.78):
        from ellm_agent.text.sentence_bert import sentence_bert

        self._encode, self._threshold = sentence_bert, threshold
        self._game = CrafterTextEnv(caption="paper", render_mode="rgb_array", size=64)
        self.action_space = self._game.action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        _, info = self._game.reset(seed=seed)
        return self._observe(info), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        goals = self._goals
        _, _, terminated, truncated, info = self._game.step(int(action))
        reward = 0.0
        if info["events"] and goals:
            vectors = self._encode([*info["events"], *goals])
            events, wanted = np.split(vectors, [len(info["events"])])
            closest = float((events @ wanted.T).max())
            reward = closest if closest > self._threshold else 0.0
        return self._observe(info), reward, terminated, truncated, {}

    def _observe(self, info: dict) -> np.ndarray:
        self._game.render()
        self._goals = info["privileged"].possible
        return self._encode([to_sentence([info["situation"].caption])])[0]


def sb3_pipeline(frames: int) -> float:
    """Frames a second of SB3's DQN, as it comes, on ``EncodedCrafter``."""
    agent = DQN("MlpPolicy", EncodedCrafter(), learning_starts=100, buffer_size=10_000, seed=0, device="cpu")
    agent.learn(200)
    started = time.perf_counter()
    agent.learn(frames, reset_num_timesteps=False)
    return frames / (time.perf_counter() - started)


# --- the machine -------------------------------------------------------------------------------------------------


def peak_gflops(n: int = 1024) -> float:
    """GFLOP/s of one thread in a large matrix product."""
    a, b = torch.randn(n, n), torch.randn(n, n)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - started)
    return 2 * n**3 / statistics.median(times) / 1e9


def bandwidth(megabytes: int = 256) -> float:
    """GB/s at which one thread reads from memory."""
    numbers = torch.ones(megabytes * 2**18)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - started)
    return numbers.nbytes / statistics.median(times) / 1e9


def processor() -> str:
    """The processor's name, if the system has it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def first_frame(command: list[str]) -> float:
    """Seconds from a command to the first row of its metrics; the run is then stopped."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command, "--out", str(run), "--log-every", "1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while process.poll() is None:
                metrics = run / "metrics.jsonl"
                if metrics.is_file() and metrics.stat().st_size:
                    return time.perf_counter() - started
                time.sleep(0.02)
            raise RuntimeError(f"{' '.join(command)} ended before its first frame")
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A process beside this one that keeps one core busy, as an open browser tab may."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
