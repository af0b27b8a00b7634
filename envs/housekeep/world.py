"""Housekeep as a world: what ``envs.registry`` hands to the rest of the project. Imports the game itself only when needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.housekeep.tasks import TASKS, home_of_task
from envs.interface import HELD_OUT_SEEDS, Advice, Language, Privileged, Situation, TaskDescription, World

if TYPE_CHECKING:
    import gymnasium as gym
    from stable_baselines3.common.vec_env import VecEnv

# Measured (docs/housekeep.md): goals that name another place come up to .982; goals worded as events have 1.
THRESHOLD = 0.99
# Objects are far from their places: rewards come late, and smaller steps unlearn less of the prior (docs/log.md).
_LEARNER = {
    "agent.on_policy.gamma": 0.99,
    "agent.on_policy.gae_lambda": 0.9,
    "agent.on_policy.rollout": 128,
    "agent.on_policy.learning_rate": 1e-4,
}
# Goals of ever new homes hardly recur: by their rarity all would have the largest weight, and learning then fails
# (docs/log.md).
_SETTINGS = {"reward.threshold": THRESHOLD, "reward.rarity": "none", "suggester.kind": "closed"}


class HousekeepWorld(World):
    """Objects lie where they do not belong; see :class:`envs.housekeep.env.HousekeepEnv`."""

    name = "housekeep"
    title = "Housekeep"
    protocols = ("ellm", "homes")
    captions = ("map", "spatial")
    options: Mapping[str, str] = {
        "placements": "FILE with Housekeep's votes (data.npy) that says what belongs where, in place of the world's own"
    }
    recorded_answers = Path(__file__).with_name("claude.jsonl.gz")
    score = ("misplaced_fixed", "Misplaced objects put right")
    settings: Mapping[str, Mapping[str, Any]] = {
        "default": {**_SETTINGS, **_LEARNER},
        "debug": _SETTINGS,
        "paper": {**_SETTINGS, "reward.success": "effect"},  # here an attempt is what happened
    }

    def make_env(self, **options: Any) -> gym.Env:
        from envs.housekeep.env import HousekeepEnv

        return HousekeepEnv(**options)

    def make_vec(self, n_envs: int, backend: str = "compiled", **options: Any) -> VecEnv:
        if backend != "compiled":
            return super().make_vec(n_envs, backend, **options)
        from envs.housekeep.compiled import CompiledHousekeep

        return CompiledHousekeep(n_envs, **options)

    def check(self, options: Mapping[str, Any], own: Mapping[str, str] | None = None) -> None:
        super().check(options, own)
        home_of_task(options.get("task"), options.get("protocol") or self.protocols[0])
        if options.get("placements") is not None:
            from envs.housekeep.env import known_placements
            from envs.housekeep.homes import fixed_homes, new_home

            try:
                known = known_placements(options["placements"])
            except OSError as error:
                raise ValueError(
                    f"cannot read placements {options['placements']}: {error.strerror}"
                ) from error
            if options.get("protocol") in (None, "ellm"):
                fixed_homes(known)
            else:  # training and held-out objects must each be enough for a home
                new_home(known, 0), new_home(known, HELD_OUT_SEEDS)

    def tasks(self) -> Mapping[str, TaskDescription]:
        return TASKS

    def scores(self, rates: Mapping[str, float], means: Mapping[str, float]) -> dict[str, float]:
        """The episodes' scores in %; the headline metric is the share of misplaced objects that were put right."""
        return {"misplaced_fixed": 0.0, **{name: 100 * mean for name, mean in means.items()}}

    def situation_language(self, protocol: str | None = None) -> Language:
        return self.language(protocol=protocol or "homes")

    def advice(self, **options: Any) -> Advice:
        from envs.housekeep.advice import advice
        from envs.housekeep.env import known_placements

        return advice(known_placements(options.get("placements")))

    def situations(
        self, first_world: int, count: int, seed: int, protocol: str | None = None
    ) -> Iterator[tuple[Situation, Privileged]]:
        from envs.housekeep.env import HousekeepEnv

        env, rng = HousekeepEnv(protocol or "homes"), np.random.default_rng(seed)
        for world_seed in range(first_world, first_world + count):
            env.reset(options={"world_seed": world_seed})
            env.change(rng)
            yield env.situation(), env.privileged()


HOUSEKEEP = HousekeepWorld()
