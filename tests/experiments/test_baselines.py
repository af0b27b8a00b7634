"""Each baseline runs by itself, is the same training call with one part swapped, and observes what the others observe."""

import numpy as np
import pytest

from ellm_agent import build
from ellm_agent.build import make_agent, make_bonus, make_worlds
from ellm_agent.config import methods
from ellm_agent.config.files import flatten, load
from ellm_agent.config.presets import PRESETS
from ellm_agent.goals.base import NoGoals
from ellm_agent.text.phrases import PhraseTable
from tests.helpers.processes import ROOT, script

SCRIPTS = sorted(path.stem for path in (ROOT / "experiments" / "baselines").glob("*.py"))
TINY = [
    "--preset",
    "debug",
    "--frames",
    "240",
    "--eval-every",
    "240",
    "--eval-episodes",
    "1",
    "--replays",
    "0",
]
TINY += ["--episode-length", "30", "--no-tensorboard", "--dqn.learning-starts", "100"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_baseline_runs_by_itself(name, tmp_path):
    algo = (
        [] if name == "random_actions" else ["--algo", "ppo" if name in ("icm", "apt", "scratch") else "dqn"]
    )
    drawn = ["--report"] if name in ("random_actions", "rnd") else ["--no-report"]
    done = script(f"baselines/{name}.py", *TINY, *algo, *drawn, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    saved = flatten(load(tmp_path / "run" / "config.yaml"))
    expected = methods.METHODS[name.removesuffix("_actions")]
    assert {option: saved[option] for option in expected} == expected
    assert (tmp_path / "run" / "summary.json").is_file()
    assert (tmp_path / "run" / "report.html").is_file() == ("--report" in drawn)


def test_methods_differ_in_a_part_only():
    default = flatten(PRESETS["default"])
    for name in methods.METHODS:
        changed = {k for k, v in flatten(methods.apply(name, PRESETS["default"])).items() if v != default[k]}
        assert changed <= methods.METHODS[name].keys(), name
        assert changed or name == "open"  # the default
        assert changed <= {
            "suggester.kind",
            "suggester.learned_filter",
            "suggester.oracle_recall",
            "suggester.oracle_precision",
            "suggester.llm.kind",
            "suggester.llm.answers",
            "suggester.llm.caption",
            "reward.success",
            "reward.goal_weight",
            "reward.extrinsic_weight",
            "reward.novelty.kind",
            "reward.novelty.weight",
            "reward.novelty.learning_rate",
            "reward.novelty.alpha",
            "reward.preference.labels",
            "reward.preference.queries",
            "agent.algo",
            "agent.action_prior",
            "agent.dqn.learning_rate",
            "agent.on_policy.learning_rate",
        }


def test_noveld_has_the_alpha_that_it_is_given(monkeypatch):
    config, given = methods.apply("noveld", PRESETS["debug"]), {}
    noveld = build.NOVELTY_MODELS["noveld"]
    monkeypatch.setitem(
        build.NOVELTY_MODELS, "noveld", lambda *sizes, **own: given.update(own) or noveld(*sizes, **own)
    )
    make_bonus(config, make_worlds(config, NoGoals(), PhraseTable(), 1))
    assert given == {"alpha": 0.5}


def test_random_draws_all_actions_alike():
    config = methods.apply("random", PRESETS["debug"])
    worlds = make_worlds(config, NoGoals(), PhraseTable(), 4)
    agent = make_agent(config, worlds, make_bonus(config, worlds))
    observations = worlds.reset()
    chosen = np.concatenate([agent.predict(observations)[0] for _ in range(2_000)])
    counts = np.bincount(chosen, minlength=worlds.action_space.n)
    expected = len(chosen) / worlds.action_space.n
    assert abs(counts - expected).max() < 5 * expected**0.5


def test_without_goals_every_event_is_observed_as_achieved():
    """So agents without goals observe what agents with goals do."""
    config = methods.apply("rnd", PRESETS["debug"])
    worlds = make_worlds(config, NoGoals(), PhraseTable(), 4)
    worlds.reset()
    rng, events = np.random.default_rng(0), [[] for _ in range(4)]
    for _ in range(150):
        observations, rewards, dones, infos = worlds.step(rng.integers(worlds.action_space.n, size=4))
        assert (rewards == 0).all()
        for i, info in enumerate(infos):
            events[i] = [] if dones[i] else list(dict.fromkeys([*events[i], *info["events"]]))
            ids = observations[i][worlds.fields["achieved"]]
            assert [worlds.phrases.text(k) for k in ids if k] == [f"achieved: {event}" for event in events[i]]
    assert sum(map(len, events)) > 0
