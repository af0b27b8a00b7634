"""Options of a run and what the agent makes of them: decay of epsilon, how often gradient steps are taken."""

import pytest

from ellm_agent.build import make_agent, make_suggester, make_worlds
from ellm_agent.config import PRESETS
from ellm_agent.text.phrases import PhraseTable
from envs import registry


def agent(n_envs=2, **options):
    config = PRESETS["debug"].changed(**{"suggester.kind": "oracle", **options})
    language = registry.get("crafter").language(**config.env.options)
    worlds = make_worlds(config, make_suggester(config, language), PhraseTable(), n_envs)
    return make_agent(config, worlds)


@pytest.mark.parametrize(("frames", "at_the_end"), [(1_000, 0.1), (500, 0.55), (4_000, 0.1)])
def test_epsilon_falls_in_as_many_frames_as_told_however_long_the_run_is(frames, at_the_end):
    options = {"epsilon_frames": 1_000, "epsilon_initial": 1.0, "epsilon_final": 0.1}
    made = agent(**{"run.frames": frames} | {f"agent.dqn.{name}": value for name, value in options.items()})
    schedule = made.exploration_schedule  # of the share of the run that is left
    assert schedule(1 - 250 / frames) == pytest.approx(1 - 0.9 / 4)
    assert schedule(0.0) == pytest.approx(at_the_end)


@pytest.mark.parametrize(
    ("n_envs", "train_every", "steps", "updates"),
    [
        (32, 32, 1, 1),
        (1, 32, 32, 1),
        (8, 32, 4, 1),
        (32, 1, 1, 32),
        (63, 32, 1, 2),  # one for 31.5 frames
        (48, 32, 2, 3),
        (5, 32, 13, 2),  # one for 32.5 frames
    ],
)
def test_gradient_steps_are_as_frequent_as_told(n_envs, train_every, steps, updates):
    made = agent(n_envs, **{"run.frames": 64, "agent.dqn.train_every": train_every})
    assert made.train_freq.frequency == steps
    assert made.gradient_steps == updates
    assert steps * n_envs / updates == pytest.approx(train_every, rel=0.05)
