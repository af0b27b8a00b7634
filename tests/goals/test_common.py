"""The commonest goals of a world can happen under each of its protocols."""

import pytest

from ellm_agent.build import make_suggester
from ellm_agent.config import PRESETS
from ellm_agent.config import files as config_files
from envs import registry
from envs.interface import Situation


@pytest.mark.parametrize(
    ("world", "protocol"), [("crafter", "crafter"), ("housekeep", "ellm"), ("housekeep", "homes")]
)
def test_common_goals_are_goals_of_the_protocol(world, protocol):
    config = config_files.in_world(PRESETS["default"], world)
    config = config.changed(**{"suggester": {"kind": "common"}, "env.protocol": protocol})
    language = registry.get(world).language(**config.env.options)
    (goals,) = make_suggester(config, language).suggest([Situation("")])
    assert len(goals) == 5
    assert set(goals) <= set(language.goals)


@pytest.mark.parametrize("world", ["crafter", "housekeep"])
def test_a_protocol_that_is_not_named_is_the_worlds_first(world):
    config = config_files.in_world(PRESETS["default"], world).changed(suggester={"kind": "common"})
    language = registry.get(world).language(**config.env.options)
    named = config.changed(**{"env.protocol": registry.get(world).protocols[0]})
    assert make_suggester(config, language).description == make_suggester(named, language).description
