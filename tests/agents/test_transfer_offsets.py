"""Agents pretrained with free wordings of goals: their learned offsets fit into what comes after pretraining."""

import numpy as np
import pytest
import torch

from ellm_agent.build import make_agent, make_suggester, make_worlds
from ellm_agent.config import PRESETS
from ellm_agent.goals.base import TaskGoals
from ellm_agent.runs import checkpoints
from ellm_agent.runs.pretrained import Pretrained
from ellm_agent.text.phrases import PhraseTable
from envs import registry


def pretrained(tmp_path, **options):
    """An agent as pretraining would leave it, without the training."""
    config = PRESETS["debug"].changed(**{"run.frames": 64, "suggester.kind": "open", **options})
    language = registry.get("crafter").language(**config.env.options)
    worlds = make_worlds(config, make_suggester(config, language), PhraseTable(), 2)
    agent = make_agent(config, worlds)
    for (
        head
    ) in agent.policy.advantage_heads:  # as after training: with a prior it starts from nothing but that
        torch.nn.init.normal_(head.weight, std=0.1)
    state = {"policy": agent.policy.state_dict(), "phrases": worlds.phrases.state_dict(), "frames": 64}
    return Pretrained(config, state, tmp_path / "agent.pt")


@pytest.mark.parametrize(
    "options",
    [
        {"agent.goal_conditioned": True},
        {"agent.goal_conditioned": True, "suggester.max_active_goals": 1},
        {"reward.success": "attempt"},
        {"agent.encoder": "sentence", "agent.goal_conditioned": True},
    ],
)
@pytest.mark.parametrize("mode", ["finetune", "guide"])
def test_open_goals_can_be_followed_by_a_task(tmp_path, options, mode):
    trained = pretrained(tmp_path, **options)
    config = trained.config.changed(
        **{
            "env.task": "mine stone",
            "suggester.kind": "task",
            "suggester.max_active_goals": None,
            "reward.success": "effect",
            "transfer": {"mode": mode, "pretrained": tmp_path},
        }
    )
    phrases = checkpoints.load_phrases(trained.state, trained.source)
    worlds = make_worlds(config, TaskGoals(), phrases, 2)
    agent = make_agent(config, worlds, pretrained=trained)
    worlds.seed(0)
    observations = worlds.reset()
    for _ in range(3):
        observations, *_ = worlds.step(agent.predict(observations)[0])
    policy = agent.policy if mode == "finetune" else agent.guide
    seen, nothing = (
        policy.q_net(policy.obs_to_tensor(o)[0]) for o in (observations, np.zeros_like(observations))
    )
    assert not (seen == nothing).all(dim=1).any()  # also phrases that are new since pretraining are read
