"""Crafter as a world: what ``envs.registry`` hands to the rest of the project. Imports the game itself only when needed."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.crafter.tasks import tasks
from envs.interface import Advice, Privileged, Situation, TaskDescription, World

if TYPE_CHECKING:
    import gymnasium as gym
    from stable_baselines3.common.vec_env import VecEnv


class CrafterWorld(World):
    """Crafter (Hafner 2022) in words; see :class:`envs.crafter.env.CrafterTextEnv`."""

    name = "crafter"
    title = "Crafter"
    protocols = ("crafter", "ellm")
    captions = ("full", "spatial", "paper")
    action_spaces = ("native", "verb-noun")
    score = ("crafter_score", "Crafter score")
    has_bundled_model = True
    recorded_answers = Path(__file__).with_name("smollm2.jsonl.gz")
    published = (
        ("random", "none", "1M", "1.6 ± 0.0", "2.28 unlocks"),
        ("RND", "none", "1M", "2.0 ± 0.1", "0.7 ± 1.3"),
        ("Plan2Explore", "none", "1M", "2.1 ± 0.1", "2.1 ± 1.5"),
        ("ELLM", "none; language model", "5M", "not reported", "6.0 ± 0.4 (400-step episodes)"),
        ("Rainbow", "environment's", "1M", "4.3 ± 0.2", "6.0 ± 1.3"),
        ("PPO", "environment's", "1M", "4.6 ± 0.3", "4.2 ± 1.2"),
        ("DreamerV3", "environment's", "1M", "14.5 ± 1.6", "11.7 ± 1.9"),
        ("PPO-ResNet", "environment's", "1M", "15.6 ± 1.6", "10.3 ± 0.5"),
        ("AdaRefiner", "environment's; language model", "1M", "15.8 ± 1.4", "12.3 ± 1.3"),
        ("Achievement Distillation", "environment's", "1M", "21.8 ± 1.4", "12.6 ± 0.3"),
        ("ITC (second-hand)", "environment's", "1M", "35.6", "not reported"),
        ("EMERALD (second-hand)", "environment's", "10M", "58.1", "not reported"),
        ("human experts", "–", "–", "50.5 ± 6.8", "13.9 unlocks"),
    )
    published_note = (
        "Published methods observe pixels, which are dark at night and black during sleep. The agents here read captions "
        "that are made from the simulator's state and are limited by neither: the numbers stand side by side for "
        "orientation, not as a contest."
    )

    def make_env(self, **options: Any) -> gym.Env:
        from envs.crafter.env import CrafterTextEnv

        return CrafterTextEnv(**options)

    def make_vec(self, n_envs: int, backend: str = "compiled", **options: Any) -> VecEnv:
        if backend != "compiled":
            return super().make_vec(n_envs, backend, **options)
        from envs.crafter.compiled import CompiledCrafter

        return CompiledCrafter(n_envs, **options)

    def usual_action_space(self, protocol: str) -> str:
        from envs.crafter.knowledge import knowledge

        return knowledge().protocols[protocol].actions

    def tasks(self) -> Mapping[str, TaskDescription]:
        return {name: TaskDescription(name, task.spec, task.steps) for name, task in tasks().by_name.items()}

    def needs(self, event: str) -> Sequence[str]:
        task = tasks().by_name.get(event)
        return task.after if task else ()

    def scores(self, rates: Mapping[str, float], means: Mapping[str, float]) -> dict[str, float]:
        return {"crafter_score": crafter_score(list(rates.values()))}

    def situations(
        self, first_world: int, count: int, seed: int, protocol: str | None = None
    ) -> Iterator[tuple[Situation, Privileged]]:
        from envs.crafter.scenes import scenes

        return scenes(first_world, count, seed, protocol)

    @functools.cache  # noqa: B019 (there is one world)
    def advice(self, **options: Any) -> Advice:
        from envs.crafter.advice import read_advice

        return read_advice()

    def draw(self, env: gym.Env) -> np.ndarray:
        """Without the night's noise, which flickers in animations and makes their files large."""
        env.game.remove_grain()
        return env.render()

    def compiles_first(self) -> bool:
        from envs.crafter.compiled import is_compiled

        return not is_compiled()


def crafter_score(rates: Sequence[float]) -> float:
    """exp(mean over achievements of ln(1 + s)) - 1, s in %  (Hafner 2022, section 3.3).

    Args:
        rates: success rate of each achievement, in [0, 1].

    Returns:
        The score in %, in [0, 100].
    """
    return math.expm1(float(np.mean([math.log1p(100 * rate) for rate in rates])))


CRAFTER = CrafterWorld()
