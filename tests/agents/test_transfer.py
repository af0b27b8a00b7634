"""What a run takes over from a pretrained agent: settings, networks, actions."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from ellm_agent.agents.transfer import load_pretrained_networks
from ellm_agent.build import make_agent, make_guide, make_player
from ellm_agent.config import files as config_files
from ellm_agent.config.downstream import downstream_config, from_scratch_config
from ellm_agent.config.presets import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import BUILT_ALIKE, copy_pretrained, find_pretrained
from tests.helpers.transfers import equal, learn, learning, parameters, scenes, world_of

# --- settings -------------------------------------------------------------------------------------------------------


def test_fine_tuning_has_the_papers_settings(tmp_path):
    config = downstream_config(tmp_path, PRESETS["paper"], "mine stone", "finetune")
    assert config.frames == 1_000_000
    assert config.dqn.learning_rate == 2e-5
    assert PRESETS["paper"].dqn.learning_rate == 6.25e-5
    assert (config.dqn.epsilon_initial, config.dqn.epsilon_final) == (0.5, 0.01)
    assert config.ppo.learning_rate == 2e-5
    assert (config.transfer.pretrained, config.transfer.transfer) == (tmp_path, "finetune")
    assert (config.environment.task, config.environment.pays) == ("mine stone", "last")
    assert (config.goals.goal_mode, config.goals.extrinsic_weight, config.goals.success) == (
        "task",
        1,
        "effect",
    )
    assert config.out is None
    # A soft policy's entropy must not outweigh the task.
    soft = downstream_config(tmp_path, PRESETS["default"], "mine stone", "finetune")
    assert (soft.agent.target, soft.goals.extrinsic_weight) == ("munchausen", 10)
    # Whatever decides what it reads and does stays as it was.
    before, now = config_files.flatten(PRESETS["paper"]), config_files.flatten(config)
    assert all(now[name] == before[name] for name in BUILT_ALIKE)


def test_guiding_has_the_papers_settings(tmp_path):
    paper = PRESETS["paper"]
    for algo in ("dqn", "ppo"):
        theirs = dataclasses.replace(paper, agent=dataclasses.replace(paper.agent, algo=algo))
        config = downstream_config(tmp_path, theirs, "mine stone", "guide")
        assert config.frames == 2_000_000
        assert config.agent.algo == "dqn"
        assert config.transfer.guide_share == 0.5
        assert config.dqn.learning_rate == paper.dqn.learning_rate
        dqn = config.dqn
        assert (dqn.epsilon_initial, dqn.epsilon_final, dqn.epsilon_frames) == (1.0, 0.01, 1_000_000)
    assert downstream_config(tmp_path, PRESETS["debug"], "sleep", "guide").dqn.epsilon_final == 0.01


def test_a_control_differs_in_what_is_taken_over_alone(tmp_path):
    theirs = PRESETS["paper"]
    scratch = from_scratch_config(tmp_path, theirs, "sleep", "finetune")
    assert scratch == downstream_config(tmp_path, theirs, "sleep", None)
    assert (scratch.frames, scratch.transfer.pretrained) == (1_000_000, None)
    assert (scratch.dqn, scratch.ppo, scratch.agent) == (theirs.dqn, theirs.ppo, theirs.agent)
    ppo = dataclasses.replace(theirs, agent=dataclasses.replace(theirs.agent, algo="ppo"))
    alone = from_scratch_config(tmp_path, ppo, "sleep", "guide")
    guided = downstream_config(tmp_path, ppo, "sleep", "guide")
    before, now = config_files.flatten(guided), config_files.flatten(alone)
    assert {name for name in now if now[name] != before[name]} == {"transfer.pretrained"}
    assert alone.transfer.pretrained is None
    assert alone.agent.algo == "dqn"


def test_what_was_learned_without_goals_loses_its_bonus(tmp_path):
    theirs = dataclasses.replace(
        PRESETS["debug"], novelty=dataclasses.replace(PRESETS["debug"].novelty, bonus="rnd")
    )
    assert downstream_config(tmp_path, theirs, "sleep", "finetune").novelty.bonus is None


@pytest.mark.parametrize(
    ("how", "section", "changes", "message"),
    [
        ("finetune", "environment", {"caption": "paper"}, "caption is paper, but the agent .* has spatial"),
        ("finetune", "environment", {"protocol": "ellm"}, "protocol is ellm, but the agent .* has crafter"),
        ("finetune", "environment", {"action_space": "verb-noun"}, "action-space is verb-noun, but"),
        ("finetune", "goals", {"goal_conditioned": False}, "goal-conditioned is False, but .* has True"),
        ("finetune", "agent", {"hidden": 32}, "hidden is 32, but the agent .* has 16"),
        ("finetune", "agent", {"algo": "ppo"}, "algo is ppo, but the agent .* has dqn"),
        ("finetune", "agent", {"encoder": "sentence"}, "encoder is sentence, but .* has clauses"),
        ("finetune", "agent", {"clause_vectors": "raw"}, "clause-vectors is raw, but .* has adapted"),
        ("guide", "environment", {"caption": "paper"}, "caption is paper, but the agent .* has spatial"),
        ("guide", "environment", {"protocol": "ellm"}, "protocol is ellm, but"),
        ("guide", "goals", {"goal_conditioned": False}, "goal-conditioned is False, but"),
        ("guide", "agent", {"encoder": "sentence"}, "encoder is sentence, but"),
    ],
)
def test_an_agent_that_is_another_is_refused(pretrained, how, section, changes, message):
    config = downstream_config(pretrained(), Run.open(pretrained()).config, "sleep", how)
    part = dataclasses.replace(getattr(config, section), **changes)
    with pytest.raises(UserError, match=message) as refused:
        find_pretrained(dataclasses.replace(config, **{section: part}))
    assert str(pretrained()) in str(refused.value)
    assert find_pretrained(config).parent == pretrained() / "checkpoints"


def test_an_agent_that_is_the_same_in_other_words_is_taken(pretrained, tmp_path):
    config = learning(pretrained(), tmp_path / "run")
    world, agent = config.environment, config.agent
    assert (world.action_space, agent.clause_vectors) == (None, None)
    world = dataclasses.replace(world, action_space="native")
    agent = dataclasses.replace(agent, clause_vectors="adapted")
    assert find_pretrained(dataclasses.replace(config, environment=world, agent=agent))


def test_a_guide_may_be_built_otherwise(pretrained):
    config = downstream_config(pretrained("ppo"), Run.open(pretrained("ppo")).config, "sleep", "guide")
    agent = dataclasses.replace(config.agent, hidden=8, target="double", clause_vectors="raw")
    assert find_pretrained(dataclasses.replace(config, agent=agent)) is not None


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
    worlds = world_of(config, ours.pretrained)
    agent = make_agent(config, worlds)
    fresh = {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}
    load_pretrained_networks(agent, ours.pretrained, "all")
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

    player = make_player(run.config, checkpoints.latest(run.checkpoints), worlds)
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
    still = {"learning_starts": 10_000, "target_every": 10_000}
    learn(learning(pretrained(), tmp_path / "run", dqn=still))
    after, before = parameters(tmp_path / "run"), parameters(pretrained())
    assert [name for name in equal(before["policy"], after["policy"])[1] if ".value." not in name] == []
    assert after["policy.optimizer"]["state"] == {}
    learn(learning(pretrained(), tmp_path / "scratch", how=None, dqn=still))
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
    """A fresh DQN with a guide, in 16 real worlds."""
    config = learning(pretrained(algo), tmp_path / "run", "guide", transfer={"guide_share": share}, dqn=dqn)
    config = dataclasses.replace(
        config,
        frames=960,
        agent=dataclasses.replace(config.agent, target=target),
        environment=dataclasses.replace(config.environment, n_envs=16),
    )
    run = Run.create(config)
    copy_pretrained(find_pretrained(config), run)
    worlds = world_of(config, run.pretrained, 16)
    guide = make_guide(config, run.pretrained, worlds)
    agent = make_agent(config, worlds)
    agent.epsilon, agent.guide, agent.guide_share = True, guide, config.transfer.guide_share
    return agent, worlds


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
        assert (agent.predict(seen)[0] == shown).mean() < 0.3
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
