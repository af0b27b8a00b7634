"""Crafter by itself: ``python -m benchmarks.package drawn 5`` prints its speed as JSON.

A process of its own, because Numba is switched off from outside it: the package does not ask for Numba.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import crafter
import numpy as np


class Undrawn(crafter.Env):
    """The package without its two pictures, of which this project needs none."""

    def __init__(self):
        super().__init__()
        self._sem_view = lambda: None

    def _obs(self) -> None:
        """Draws nothing."""


def package_by_itself(drawing: bool, repeat: int) -> dict[str, float]:
    """Steps a second of ``crafter.Env`` under a random policy, resets included, and seconds of a reset."""
    env = crafter.Env() if drawing else Undrawn()
    rng = np.random.default_rng(0)
    env.reset()
    rates, resets = [], []
    for _ in range(repeat):
        frames, seconds = 0, 0.0
        for _ in range(2):  # whole episodes: a reset belongs to each
            started = time.perf_counter()
            env.reset()
            reset = time.perf_counter()
            done = False
            while not done:
                *_, done, _ = env.step(int(rng.integers(env.action_space.n)))
                frames += 1
            resets.append(reset - started)
            seconds += time.perf_counter() - started
        rates.append(frames / seconds)
    return {"rate": statistics.median(rates), "reset": statistics.median(resets)}


if __name__ == "__main__":
    print(json.dumps(package_by_itself(sys.argv[1] == "drawn", int(sys.argv[2]))))
