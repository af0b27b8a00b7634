"""The action prior: its features by hand, and what it lets a policy start with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ellm_agent.agents.action_prior import SUPPORTING, ActionPrior
from ellm_agent.build import build, make_suggester
from ellm_agent.config.presets import PRESETS
from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.runs.folder import Run
from ellm_agent.text.phrases import PhraseTable
from envs import registry
from envs.crafter.actions import ACTION_SPACES
from envs.crafter.env import CrafterTextEnv

PREFIX = "goal: "
NATIVE = [action.name for action in ACTION_SPACES["native"]]
VERB_NOUN = [action.name for action in ACTION_SPACES["verb-noun"]]


def prior_of(language, actions: int, similar=None) -> tuple[ActionPrior, PhraseTable]:
    phrases = PhraseTable()
    similar = similar or (lambda meaning, goal: meaning == language.canonical(goal))
    return ActionPrior(phrases, language, PREFIX, similar, actions), phrases


def features(language, names, clauses, goals, **options) -> dict[str, float]:
    """The features that are not 0, by the action's name."""
    prior, phrases = prior_of(language, len(names), **options)
    ids = phrases.ids([*clauses, *(PREFIX + goal for goal in goals)])
    row = prior.features(torch.tensor([[*ids, 0, 0]]))[0]
    assert row.shape == (len(names),)
    return {names[a]: round(float(row[a]), 4) for a in np.flatnonzero(row.numpy())}


CAPTION = ("you face tree", "tree: 1 east", "water: 2 west, 1 north", "cow: 3 south", "wood: 2")
HALF = round(SUPPORTING, 4)


@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        ([], {}),
        (["chop tree"], {"do": 1, "move right": HALF}),
        (["drink water"], {"move left": HALF, "move up": HALF}),
        (["eat cow"], {"move down": HALF}),
        (["sleep", "eat cow"], {"sleep": 1, "move down": HALF}),
        (["place crafting table"], {"place table": 1}),
        (["make crafting table"], {"place table": 1}),  # a synonym
        (["make wood pickaxe"], {}),  # no crafting table in view
        (["wake up"], {}),
        (["mine diamond"], {}),  # not in view
    ],
)
def test_features_of_native_actions_by_hand(goals, expected):
    assert features(CrafterTextEnv().language, NATIVE, CAPTION, goals) == expected


@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        (["chop tree"], {"chop tree": 1, "move right": HALF}),
        (["eat cow"], {"move down": HALF}),
        (["place crafting table"], {"place crafting table": 1, "make crafting table": 1}),
        (["sleep"], {"sleep": 1}),
    ],
)
def test_features_of_verb_noun_actions_by_hand(goals, expected):
    language = CrafterTextEnv(action_space="verb-noun").language
    assert features(language, VERB_NOUN, CAPTION, goals) == expected


def test_an_action_that_leads_nowhere_means_nothing_but_what_is_left():
    language = CrafterTextEnv().language
    left, up = NATIVE.index("move left"), NATIVE.index("move up")
    blocked = {"west of you: stone": (left, "go to stone"), "north of you: lava": (up, "")}
    language = dataclasses.replace(language, blocked=blocked)

    def found(*clauses, goal="drink water"):
        return features(language, NATIVE, ("water: 2 west, 1 north", *clauses), [goal])

    assert found() == {"move left": HALF, "move up": HALF}
    assert found("west of you: stone") == {"move up": HALF}
    assert found("west of you: stone", "north of you: lava") == {}
    assert found("stone: 1 west", "west of you: stone", goal="mine stone") == {
        "move left": HALF
    }  # it is the goal
    assert found("north of you: stone") == {"move left": HALF, "move up": HALF}  # not among these


def test_two_synonyms_for_one_thing_both_count():
    language = CrafterTextEnv(action_space="verb-noun").language
    assert features(language, VERB_NOUN, ["you face cow"], ["eat cow"]) == {"eat cow": 1, "attack cow": 1}


def test_recipes_lead_to_what_they_need_nearby():
    caption = ("crafting table: 1 north", "furnace: 2 east")
    language = CrafterTextEnv().language
    found = features(language, NATIVE, caption, ["make iron sword"])
    assert found == {"move up": HALF, "move right": HALF}


@pytest.mark.parametrize(
    ("place", "goal", "makes"),
    [
        ("crafting table: 1 west, 1 north", "make wood sword", True),
        ("crafting table: 2 west", "make wood sword", False),
        ("furnace: 1 south", "make iron sword", True),
        ("crafting table: 1 west", "make iron sword", False),  # it also needs a furnace
    ],
)
def test_making_means_something_beside_the_table(place, goal, makes):
    found = features(CrafterTextEnv().language, NATIVE, [place], [goal])
    assert (found.get(goal) == 1) == makes


def test_an_unripe_plant_is_no_food():
    language = CrafterTextEnv().language
    assert features(language, NATIVE, ["you face plant"], ["eat plant"]) == {}
    assert features(language, NATIVE, ["you face ripe plant"], ["eat plant"]) == {"do": 1}


def test_the_papers_caption_tells_what_is_targeted_and_not_where_things_are():
    language = CrafterTextEnv(caption="paper").language
    caption = ("You see tree", "You see water", "You are targeting tree")
    assert features(language, NATIVE, caption, ["chop tree", "drink water"]) == {"do": 1}


def test_other_wordings_match_as_they_do_for_the_reward():
    language = CrafterTextEnv().language
    similar = GoalSimilarity(0.78, language.canonical).satisfies
    found = features(language, NATIVE, CAPTION, ["chop a tree", "drink some water"], similar=similar)
    assert found == {"do": 1, "move right": HALF, "move left": HALF, "move up": HALF}


def test_without_an_actions_meaning_its_feature_is_gone():
    language = CrafterTextEnv().language
    do, goals = NATIVE.index("do"), ["chop tree", "sleep"]
    hidden = {
        clause: tuple(pair for pair in pairs if pair[0] != do)
        for clause, pairs in language.action_meanings.items()
    }
    assert "do" in features(language, NATIVE, CAPTION, goals)
    without = dataclasses.replace(language, action_meanings=hidden)
    assert features(without, NATIVE, CAPTION, goals) == {"sleep": 1, "move right": HALF}


def test_the_prior_sees_nothing_but_the_observed_phrases():
    """Meanings belong to clauses of the vocabulary, and achieved events, whatever they name, count for nothing."""
    for caption in ("spatial", "full", "paper"):
        for action_space in ("native", "verb-noun"):
            language = CrafterTextEnv(caption=caption, action_space=action_space).language
            assert set(language.action_meanings) <= set(language.vocabulary)
    language = CrafterTextEnv().language
    prior, phrases = prior_of(language, len(NATIVE))
    ids = phrases.ids(["achieved: chop tree", "you face tree", "tree: 1 east"])
    assert not prior.features(torch.tensor([ids])).any()


def test_features_stay_right_as_the_table_grows():
    language = CrafterTextEnv().language
    prior, phrases = prior_of(language, len(NATIVE))
    first = phrases.ids(["you face tree", PREFIX + "sleep"])
    assert prior.features(torch.tensor([first]))[0].nonzero().flatten().tolist() == [NATIVE.index("sleep")]
    later = phrases.ids(["you face water", PREFIX + "drink water"])
    rows = prior.features(torch.tensor([first, later]))
    assert rows[0].nonzero().flatten().tolist() == [NATIVE.index("sleep")]
    assert rows[1].nonzero().flatten().tolist() == [NATIVE.index("do")]


@pytest.fixture(scope="module")
def parts_of(tmp_path_factory):
    def make(**options):
        config = PRESETS["debug"].changed(**{"suggester.kind": "oracle", **options})
        run = Run.create(config.changed(**{"run.out": tmp_path_factory.mktemp("run") / "run"}))
        language = registry.get("crafter").language(**config.env.options)
        return build(run, make_suggester(config, language))

    return make


@pytest.mark.parametrize("algo", ["ppo", "trpo", "dqn"])
def test_a_new_agent_prefers_what_its_goals_name(parts_of, algo):
    """exp(strength) = 7.4 times as likely at strength 2 (up to the small random weights of the other features)."""
    parts = parts_of(**{"agent.algo": algo, "agent.action_prior": 2.0})
    observations = parts.worlds.reset()
    rows = torch.as_tensor(observations)
    policy = parts.agent.policy
    extractor = policy.q_net.features_extractor if algo == "dqn" else policy.features_extractor
    named = extractor(rows)[:, -17:].detach()
    assert (named > 0).any()
    with torch.no_grad():
        if algo == "dqn":
            logits = policy.q_net(rows) / parts.agent.temperature
        else:
            logits = policy.get_distribution(rows).distribution.logits
    row, action = np.argwhere(named.numpy() > 0)[0]
    other = int(np.flatnonzero(named[row].numpy() == 0)[0])
    gap = float(logits[row, action] - logits[row, other])
    assert gap == pytest.approx(2.0 * float(named[row, action]), abs=0.3)


@pytest.mark.parametrize(("changes", "temperature"), [({}, 0.1), ({"agent.target": "double"}, 0.03)])
def test_a_dqn_starts_from_the_prior_in_units_of_its_temperature(parts_of, changes, temperature):
    """9 logits, the default strength."""
    parts = parts_of(**changes, **{"agent.algo": "dqn"})
    rows, q_net = torch.as_tensor(parts.worlds.reset()), parts.agent.policy.q_net
    with torch.no_grad():
        q_values, named = q_net(rows), q_net.features_extractor(rows)[:, -17:]
    row, action = np.argwhere(named.numpy() > 0)[0]
    other = int(np.flatnonzero(named[row].numpy() == 0)[0])
    gap = float(q_values[row, action] - q_values[row, other]) / temperature
    assert gap == pytest.approx(9 * float(named[row, action]), abs=2.5)


def test_known_goals_need_no_sentence_bert(parts_of, monkeypatch):
    """All that the prior compares is encoded in batches, which are on disk after the first run."""

    def refused(texts):
        raise AssertionError(f"{texts} were encoded")

    parts_of()
    monkeypatch.setattr("ellm_agent.text.sentence_bert._encode", refused)
    parts = parts_of()
    parts.agent.predict(parts.worlds.reset())


def test_the_paper_agent_has_no_prior():
    assert PRESETS["paper"].agent.prior_strength == 0
    assert PRESETS["default"].agent.prior_strength > 0


@pytest.mark.parametrize(
    "options",
    [{"agent.goal_conditioned": False}, {"agent.encoder": "sentence", "agent.clause_vectors": None}],
)
def test_a_prior_needs_goals_clause_by_clause(options):
    with pytest.raises(ValueError, match=r"action-prior is 1.0; it needs an agent that observes its goals"):
        PRESETS["default"].changed(**options, **{"agent.action_prior": 1.0})
    assert PRESETS["default"].changed(**options).agent.prior_strength == 0
