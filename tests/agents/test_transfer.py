"""What a run takes over from a pretrained agent: networks, actions. Its settings: tests/config/test_downstream.py."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from ellm_agent.build import make_agent, make_player
from ellm_agent.config.downstream import downstream_config
from ellm_agent.config.presets import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import copy_pretrained, find_pretrained, load_pretrained, trained_agent
from tests.helpers.transfers import equal, learn, learning, parameters, scenes, worlds_of

# --- which agents are taken over ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "changes", "message"),
    [
        ("finetune", {"env.caption": "paper"}, "caption is paper, but the agent .* has full"),
        ("finetune", {"env.protocol": "ellm"}, "protocol is ellm, but the agent .* has crafter"),
        ("finetune", {"env.action_space": "verb-noun"}, "action-space is verb-noun, but"),
        ("finetune", {"agent.goal_conditioned": False}, "goal-conditioned is False, but .* has True"),
        ("finetune", {"agent.hidden": 32}, "hidden is 32, but the agent .* has 16"),
        ("finetune", {"agent.algo": "ppo"}, "algo is ppo, but the agent .* has dqn"),
        ("finetune", {"agent.encoder": "sentence"}, "encoder is sentence, but .* has clauses"),
        ("finetune", {"agent.clause_vectors": "raw"}, "clause-vectors is raw, but .* has adapted"),
        ("guide", {"env.caption": "paper"}, "caption is paper, but the agent .* has full"),
        ("guide", {"env.protocol": "ellm"}, "protocol is ellm, but"),
        ("guide", {"agent.goal_conditioned": False}, "goal-conditioned is False, but"),
        ("guide", {"agent.encoder": "sentence"}, "encoder is sentence, but"),
    ],
)
def test_another_kind_of_agent_is_refused(pretrained, how, changes, message):
    config = downstream_config(pretrained(), Run.open(pretrained()).config, "sleep", how)
    with pytest.raises(UserError, match=message) as refused:
        find_pretrained(config.changed(**changes))
    assert str(pretrained()) in str(refused.value)
    assert find_pretrained(config).source.parent == pretrained() / "checkpoints"


def test_the_same_agent_in_other_words_is_taken(pretrained, tmp_path):
    config = learning(pretrained(), tmp_path / "run")
    assert (config.env.action_space, config.agent.clause_vectors) == (None, None)
    assert find_pretrained(
        config.changed(**{"env.action_space": "native", "agent.clause_vectors": "adapted"})
    )


def test_a_guide_may_have_other_networks(pretrained):
    config = downstream_config(pretrained("ppo"), Run.open(pretrained("ppo")).config, "sleep", "guide")
    other = {"agent.hidden": 8, "agent.target": "double", "agent.clause_vectors": "raw"}
    assert find_pretrained(config.changed(**other)) is not None


def test_a_run_without_anything_learned_is_refused(pretrained, tmp_path):
    early, by_chance = tmp_path / "early", tmp_path / "random"
    shutil.copytree(pretrained(), early)
    shutil.rmtree(early / "checkpoints")
    with pytest.raises(UserError, match="early holds no checkpoint yet; let the run end first"):
        find_pretrained(downstream_config(early, Run.open(early).config, "sleep", "finetune"))
    shutil.copytree(pretrained(), by_chance)
    path = by_chance / "config.yaml"
    path.write_text(path.read_text().replace("algo: dqn", "algo: random"))
    for how in ("finetune", "guide"):
        with pytest.raises(UserError, match="random holds random actions; nothing was learned there"):
            find_pretrained(downstream_config(by_chance, Run.open(by_chance).config, "sleep", how))
    for part in (early, early / "none"):
        (part / "config.yaml").unlink(missing_ok=True)
        config = downstream_config(part, PRESETS["debug"], "sleep", "finetune")
        with pytest.raises(UserError, match="is not a "):
            find_pretrained(config)
    config = downstream_config(pretrained(), Run.open(pretrained()).config, "sleep", None)
    assert find_pretrained(config) is None


# --- fine-tuning ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_fine_tuning_starts_with_the_pretrained_networks(pretrained, tmp_path, algo):
    """Also with what is better than what, but not with what states were worth; its optimiser remembers nothing."""
    run = Run.open(pretrained(algo))
    config = learning(pretrained(algo), tmp_path / "run")
    ours = Run.create(config)
    copy_pretrained(find_pretrained(config), ours)
    copied = load_pretrained(ours)
    worlds = worlds_of(config, copied)
    fresh = make_agent(config, worlds).policy.state_dict()
    agent = make_agent(config, worlds, pretrained=copied)
    theirs = parameters(pretrained(algo))
    taken, other = equal(agent.policy.state_dict(), theirs["policy"])
    values = ["q_net.value", "q_net_target.value"] if algo == "dqn" else ["value_net"]
    assert sorted(other) == sorted(f"{value}.{part}" for value in values for part in ("weight", "bias"))
    assert not any(agent.policy.state_dict()[name].any() for name in other)
    assert len(taken) == len(theirs["policy"]) - len(other)
    assert equal(fresh, theirs["policy"])[1]  # they had learned something
    optimisers = {name: part for name, part in theirs.items() if "optimizer" in name}
    for name, state in optimisers.items():
        assert state["state"]
        assert agent.get_parameters()[name]["state"] == {}
    assert all(p.requires_grad for p in agent.policy.parameters())
    (group,) = agent.policy.optimizer.param_groups
    assert group["lr"] == 2e-5

    player = make_player(run.config, trained_agent(run), worlds)
    seen = torch.as_tensor(scenes(worlds))
    with torch.no_grad():
        if algo == "dqn":
            ours, theirs = (q_net(seen) for q_net in (agent.q_net, player.q_net))
            better = [values - values.mean(dim=1, keepdim=True) for values in (ours, theirs)]
            assert torch.allclose(*better, atol=1e-6)
            assert torch.allclose(ours.mean(dim=1), torch.zeros(len(ours)), atol=1e-6)
        else:
            ours, theirs = (p.policy.get_distribution(seen).distribution.logits for p in (agent, player))
            assert torch.equal(ours, theirs)
            assert not agent.policy.predict_values(seen).any()


def test_a_run_that_never_updates_ends_with_what_it_took_over(pretrained, tmp_path):
    """The same through the whole of a run."""
    still = {"agent.dqn.learning_starts": 10_000, "agent.dqn.target_every": 10_000}
    learn(learning(pretrained(), tmp_path / "run", **still))
    after, before = parameters(tmp_path / "run"), parameters(pretrained())
    assert [name for name in equal(before["policy"], after["policy"])[1] if ".value." not in name] == []
    assert after["policy.optimizer"]["state"] == {}
    learn(learning(pretrained(), tmp_path / "scratch", how=None, **still))
    assert equal(before["policy"], parameters(tmp_path / "scratch")["policy"], "weight")[1]
    assert not (tmp_path / "scratch" / "pretrained").exists()


@pytest.mark.parametrize(("algo", "layers"), [("dqn", "head"), ("ppo", "head"), ("dqn", "all")])
def test_a_head_learns_on_an_encoder_that_stays(pretrained, tmp_path, algo, layers):
    before = parameters(pretrained(algo))["policy"]
    network = "q_net." if algo == "dqn" else ""
    heads = [name for name in before if name.startswith(network) and "features_extractor" not in name]
    heads = [name for name in heads if name.endswith("weight") and "target" not in name]
    assert len(heads) == 2  # value and advantage; value and action
    learn(learning(pretrained(algo), tmp_path / "run", task="survival", layers=layers))
    after = parameters(tmp_path / "run")["policy"]
    stayed, moved = equal(before, after, f"{network}features_extractor")
    assert stayed if layers == "head" else moved
    assert (moved == []) == (layers == "head"), moved
    assert not any(torch.equal(before[name], after[name]) for name in heads)


# --- guiding --------------------------------------------------------------------------------------------------------


def guided(pretrained, tmp_path, algo="dqn", share=0.5, target="double", **dqn):
    """A new DQN with a guide, in 16 real worlds."""
    changes = {
        "run.frames": 960,
        "env.n_envs": 16,
        "agent.target": target,
        "transfer.guide_share": share,
        **{f"agent.dqn.{name}": value for name, value in dqn.items()},
    }
    config = learning(pretrained(algo), tmp_path / "run", "guide", **changes)
    run = Run.create(config)
    copy_pretrained(find_pretrained(config), run)
    copied = load_pretrained(run)
    worlds = worlds_of(config, copied, 16)
    return make_agent(config, worlds, pretrained=copied), worlds


@pytest.mark.parametrize("target", ["double", "munchausen"])
def test_random_actions_are_the_guides_by_its_share(pretrained, tmp_path, target):
    """The guide, a double DQN, is greedy: what it would do is known."""
    agent, worlds = guided(pretrained, tmp_path, target=target)
    seen = scenes(worlds, 125)  # 2,000
    shown, _ = agent.guide.predict(seen, deterministic=True)
    agent.exploration_rate, agent.guide_share = 1.0, 1.0
    assert (agent.predict(seen)[0] == shown).all()

    agent.guide_share = 0.0
    np.random.seed(3)
    chosen, _ = agent.predict(seen)
    np.random.seed(3)
    np.random.rand(len(seen))  # the coins for epsilon
    assert (chosen == np.random.randint(17, size=len(seen))).all()

    agent.guide_share = 0.5
    np.random.seed(3)
    chosen, _ = agent.predict(seen)
    assert (chosen == shown).mean() == pytest.approx(0.5 + 0.5 / 17, abs=0.03)

    agent.exploration_rate, agent.guide_share = 0.0, 1.0  # no random actions: none of the guide's
    if target == "double":
        own = agent.predict(seen, deterministic=True)[0]
        assert (agent.predict(seen)[0] == own).all()
        assert (own != shown).any()
    else:
        assert (agent.predict(seen)[0] == shown).mean() < 0.5  # not all: both start from the same prior
    agent.exploration_rate = 1.0
    assert (
        agent.predict(seen, deterministic=True)[0] == agent.policy.predict(seen, deterministic=True)[0]
    ).all()


@pytest.mark.parametrize(("share", "wanted"), [(1.0, 1.0), (0.5, 0.5 + 0.5 / 17), (0.0, 1 / 17)])
def test_the_guide_also_acts_before_learning_starts(pretrained, tmp_path, share, wanted):
    """The actions in the replay, up to frame 480 and after it, are the guide's by its share."""
    agent, _ = guided(
        pretrained, tmp_path, share=share, learning_starts=480, epsilon_initial=1.0, epsilon_final=1.0
    )
    agent.learn(960)
    replay, half = agent.replay_buffer, 30
    assert replay.pos == 2 * half
    assert agent._n_updates > 0
    seen = np.stack([[replay.observations[step, i] for i in range(16)] for step in range(2 * half)])
    shown, _ = agent.guide.predict(seen.reshape(-1, seen.shape[-1]), deterministic=True)
    same = replay.actions[: 2 * half].reshape(2 * half, 16) == shown.reshape(2 * half, 16)
    for part in (same[:half], same[half:]):
        assert part.mean() == pytest.approx(wanted, abs=0 if share == 1 else 0.08)


def test_a_ppo_agent_can_guide(pretrained, tmp_path):
    """It samples: with its share at 1, actions come from its distribution."""
    agent, worlds = guided(pretrained, tmp_path, "ppo", share=1.0)
    before = {name: tensor.clone() for name, tensor in agent.guide.state_dict().items()}
    assert equal(parameters(pretrained("ppo"))["policy"], before)[1] == []
    agent.exploration_rate = 1.0
    seen = np.repeat(scenes(worlds, 1)[:1], 5_000, axis=0)
    with torch.no_grad():
        wanted = agent.guide.get_distribution(torch.as_tensor(seen[:1])).distribution.probs[0].numpy()
    drawn = np.bincount(agent.predict(seen)[0], minlength=17) / len(seen)
    assert drawn == pytest.approx(wanted, abs=0.03)
    agent.learn(320)
    assert agent._n_updates > 0
    assert equal(before, agent.guide.state_dict())[1] == []  # it learns nothing more
