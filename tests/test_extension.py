"""A user's suggester, reward and world, in modules of their own: each is trained, and no file of the project is touched."""

from __future__ import annotations

import importlib
import json
import textwrap

import numpy as np
import pytest

from ellm_agent.build import build, make_agent, make_suggester, make_worlds
from ellm_agent.config import PRESETS
from ellm_agent.experiment import run_experiment
from ellm_agent.runs.folder import Run
from ellm_agent.text.phrases import PhraseTable
from ellm_agent.training import train
from ellm_agent.wrappers.added_reward import AddedReward
from envs import registry
from tests.experiments.test_run import rows

SUGGESTER = """
    from ellm_agent.goals.base import GoalSuggester

    class Thirsty(GoalSuggester):
        description = "thirsty: water if there is any, or else wood"

        def suggest(self, situations):
            return [("drink water",) if "water" in s.caption else ("chop tree",) for s in situations]
"""

REWARD = """
    import numpy as np
    from ellm_agent.rewards.base import TransitionReward

    class Restless(TransitionReward):
        def reward(self, transitions):
            return np.float32(transitions.actions != 0)

        def metrics(self):
            return {"bonus/mean": 0.5}
"""

WORLD = """
    from envs.interface import Language, Privileged, World
    from envs.text_env import Outcome, TextEnv

    LANGUAGE = Language(
        vocabulary=("", *(f"you stand at door {n}" for n in range(4)), "it is yours"),
        to_sentence=". ".join, goals=("open door",), achievements=("open door",),
    )

    class Corridor(TextEnv):
        def start_episode(self, world_seed):
            self.door, self.cell = world_seed % 4, 0

        def act(self, action):
            self.cell = min(self.cell + action, 3)
            opened = action == 0 and self.cell == self.door
            return Outcome(terminated=opened, events=("open door",) if opened else ())

        def clauses(self):
            return (f"you stand at door {self.cell}", *(("it is yours",) if self.cell == self.door else ()))

    class CorridorWorld(World):
        name, title = "corridor", "Corridor"

        def make_env(self, episode_length=None, **options):
            return Corridor(LANGUAGE, ("open", "walk"), max_clauses=2, episode_length=episode_length or 10)

    CORRIDOR = CorridorWorld()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the user's and imports it."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        return importlib.import_module(name)

    return write


@pytest.fixture
def config(tmp_path):
    return PRESETS["debug"].changed(
        **{
            "run.frames": 400,
            "run.out": tmp_path / "run",
            "run.eval_episodes": 2,
            "run.log_every": 200,
            "run.tensorboard": False,
            "env.episode_length": 40,
            "agent.algo": "ppo",
            "agent.on_policy.rollout": 25,
            "agent.on_policy.batch_size": 100,
            "agent.hidden": 8,
        }
    )


def test_a_suggester(module, config):
    suggester = module("my_suggester", SUGGESTER).Thirsty()
    run = Run.create(config)
    trained = train(build(run, suggester), run)
    assert trained.parts.agent.num_timesteps == 400
    assert trained.parts.agent._n_updates > 0
    assert {g for goals in trained.parts.worlds.goals for g in goals} <= {"drink water", "chop tree"}
    assert trained.parts.worlds.counts.wordings.keys() <= {"drink water", "chop tree"}
    assert sum(trained.parts.worlds.counts.wordings.values()) >= 400
    assert rows(run.folder, "metrics")[-1]["frames"] == 400
    assert rows(run.folder, "evaluations")[-1]["episodes"] == 2


def test_a_reward(module, config):
    reward = module("my_reward", REWARD).Restless()
    config = config.changed(**{"suggester.kind": "oracle"})
    language = registry.get("crafter").language(**config.env.options)
    worlds = make_worlds(config, make_suggester(config, language), PhraseTable(), n_envs=4)
    bonus = AddedReward(worlds, reward, weight=0.5)
    agent = make_agent(config, worlds, bonus)
    moves, finished = [], []

    def keep(local, _):
        moves.append(local["rewards"] - 0.5 * (local["actions"] != 0).ravel())
        finished.extend(info["finished"] for info in local["infos"] if "finished" in info)
        return True

    agent.learn(400, callback=keep)
    assert agent._n_updates > 0
    goals = np.stack(moves)
    assert goals.min() > -1e-6  # what is left is the reward for goals
    assert finished
    assert all(0 < e.intrinsic_return <= 0.5 * e.length + 23 for e in finished)


def test_a_world(module, config, monkeypatch):
    module("my_world", WORLD)
    monkeypatch.setattr(registry, "WORLDS", dict(registry.WORLDS))
    registry.register("corridor", "my_world:CORRIDOR")
    try:
        config = config.changed(
            **{"env.name": "corridor", "env.episode_length": None, "suggester.kind": "novelty"}
        )
        run = run_experiment(config)
        assert rows(run.folder, "metrics")[-1]["train/n_updates"] > 0
        summary = json.loads((run.folder / "summary.json").read_text())
        episodes = rows(run.folder, "episodes")
        opened = [row["unlocked"] == ["open door"] for row in episodes]
        assert any(opened)
        assert [row["intrinsic_return"] for row in episodes] == opened  # 1 for the goal, once
        assert summary["unlocked"] == pytest.approx(100 * np.mean(opened))
        assert (run.folder / "report.html").is_file()
        assert summary["name"] == "corridor-default-novelty-ppo-seed0"
    finally:
        registry.get.cache_clear()
