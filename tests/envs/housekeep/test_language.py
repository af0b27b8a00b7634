"""What follows from the caption alone: candidates, the oracle's goals, and the meanings of actions."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest
import torch

from ellm_agent.agents.action_prior import SUPPORTING, ActionPrior
from ellm_agent.text.phrases import PhraseTable
from envs.housekeep import captions, scenes, vocabulary
from envs.housekeep.env import ACTIONS, HousekeepEnv
from envs.housekeep.placements import placements
from envs.interface import HELD_OUT_SEEDS, Statement
from tests.envs.housekeep.players import choose

CAPTION = "You have seen kitchen fridge, kitchen sink. apple is in kitchen sink. soap is in kitchen fridge."


@pytest.fixture(scope="module")
def reader():
    return scenes.Reader(placements())


def test_examples_in_docstrings():
    for module in (captions, scenes):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def test_a_caption_is_read_by_hand(reader):
    empty = f"{CAPTION} You hold nothing."
    assert reader.candidates(empty) == (
        "pick up apple from kitchen sink",
        "pick up soap from kitchen fridge",
    )
    apple, soap = Statement("apple", "in kitchen sink"), Statement("soap", "in kitchen fridge")
    assert reader.statements(empty) == (apple, soap)
    assert reader.goals(empty, {apple: False, soap: True}.get) == ("pick up apple from kitchen sink",)
    assert reader.goals(empty, {}.get) == ()  # nobody knows


def test_a_held_object_goes_where_the_judge_says_yes_by_hand(reader):
    held = "You have seen kitchen fridge, kitchen sink. You hold apple."
    assert reader.candidates(held) == ("place apple in kitchen fridge", "place apple in kitchen sink")
    sink, fridge = Statement("apple", "in kitchen sink"), Statement("apple", "in kitchen fridge")
    assert set(reader.statements(held)) == {sink, fridge}
    assert reader.goals(held, {sink: False, fridge: True}.get) == ("place apple in kitchen fridge",)
    assert reader.goals(held, {sink: True, fridge: True}.get) == reader.candidates(held)
    assert reader.goals(held, {sink: False}.get) == ()  # the fridge is not known yet


@pytest.mark.parametrize(
    "text", ["", "Who are you?", "You have seen nowhere. You hold x from y. a is in b.", "You hold "]
)
def test_other_texts_have_no_goals(reader, text):
    assert reader.goals(text, lambda _: True) == reader.candidates(text) == ()


@pytest.mark.parametrize("protocol", ["ellm", "homes"])
def test_whoever_reads_the_caption_and_knows_all_places_suggests_what_the_oracle_does(protocol):
    env, known = HousekeepEnv(protocol, episode_length=150), placements()
    judgements = env.language.judgements
    right = {
        Statement(thing, known.where(p)): bool(known.right[o, p])
        for o, thing in enumerate(known.objects)
        for p in range(len(known.places))
    }
    assert set(judgements.all) <= set(right)
    seen = set()
    for policy, world_seed in itertools.product(("busy", "careless"), (3, HELD_OUT_SEEDS)):
        rng, done = np.random.default_rng(world_seed), False
        _, info = env.reset(options={"world_seed": world_seed})
        while not done:
            caption, facts = info["situation"].caption, info["privileged"]
            assert judgements.goals(caption, right.get) == facts.possible
            assert set(judgements.of(caption)) <= set(judgements.all)
            candidates = env.language.candidates(caption)
            assert set(facts.possible) | set(facts.bad) <= set(candidates)
            assert not set(facts.possible) & set(facts.bad)
            assert len(candidates) <= env.language.most_candidates
            _, _, terminated, truncated, info = env.step(choose(env, policy, rng))
            assert set(info["events"]) <= set(candidates)  # nothing else can happen
            done = terminated or truncated
            seen.update(facts.possible)
    assert {goal.split()[0] for goal in seen} == {"pick", "place"} | (
        {"explore"} if protocol == "homes" else set()
    )


# --- meanings of actions ----------------------------------------------------------------------------------------------


def features(clauses, goals, protocol="ellm"):
    """The features of the action prior that are not 0."""
    language, phrases = vocabulary.words(placements(), protocol).language, PhraseTable()
    prior = ActionPrior(phrases, language, "goal: ", None, len(ACTIONS))
    ids = phrases.ids([*clauses, *(f"goal: {goal}" for goal in goals)])
    row = prior.features(torch.tensor([[*ids, 0]]))[0]
    return {ACTIONS[a]: float(row[a]) for a in np.flatnonzero(row.numpy())}


def test_actions_mean_what_the_caption_says():
    env = HousekeepEnv("ellm")
    env.reset(options={"world_seed": 0})
    thing = env.home.misplaced[0]
    name, place = env.name(thing), env.place_name(env.at[thing])
    pick = captions.pick_up(name, place)
    assert features([captions.grab_clause(pick)], [pick]) == {"grab or release": 1}
    assert features([captions.where_clause(place, -3, 1)], [pick]) == {
        "west": SUPPORTING,
        "south": SUPPORTING,
    }
    assert features([captions.where_clause(place, -3, 1)], []) == {}
    other = next(p for p in range(len(env.home.places)) if p != env.at[thing])
    put = captions.put(name, env.where(other))
    assert features([captions.grab_clause(put)], [put]) == {"grab or release": 1}
    assert features([captions.grab_clause(pick)], [put]) == {}


def test_a_step_against_a_wall_or_another_receptacle_brings_nothing_closer():
    goal, fridge = "pick up apple from kitchen fridge", captions.where_clause("kitchen fridge", -2, 1)
    beside = "west of you: {}".format

    def found(*clauses):
        return features([fridge, *clauses], [goal], "homes")

    assert (
        found(beside("floor"))
        == found(beside("door to bathroom"))
        == {"west": SUPPORTING, "south": SUPPORTING}
    )
    assert found(beside("wall")) == found(beside("kitchen sink")) == {"south": SUPPORTING}
    assert found(beside("wall"), "south of you: kitchen sink") == {}
    near = [captions.where_clause("kitchen fridge", -1, 0), beside("kitchen fridge")]
    assert features(near, [goal], "homes") == {"west": SUPPORTING}  # turns to it


def test_doors_lead_to_rooms():
    goal = captions.put("apple", "in kitchen fridge")
    door = captions.where_clause(captions.door("kitchen"), 0, -3)
    assert features([door], [goal], "homes") == {"north": SUPPORTING}
    assert features([captions.where_clause(captions.door("bathroom"), 0, -3)], [goal], "homes") == {}


@pytest.mark.parametrize("protocol", ["ellm", "homes"])
def test_the_language_is_consistent(protocol):
    language = HousekeepEnv(protocol).language
    assert len(set(language.vocabulary)) == len(language.vocabulary)
    assert len(set(language.goals)) == len(language.goals)
    sample = language.goals[:: max(1, len(language.goals) // 500)]
    assert [language.canonical(goal) for goal in sample] == list(sample)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Place the apple in the kitchen fridge.", "place apple in kitchen fridge"),
        ("put apple inside kitchen fridge", "place apple in kitchen fridge"),
        ("Put the apple inside of the kitchen fridge", "place apple in kitchen fridge"),
        ("go into the kitchen", "explore kitchen"),
        ("Look in the kitchen", "explore kitchen"),
        ("Take the milk from a living room sofa", "pick up milk from living room sofa"),
        ("pick up toy car from child's room bed", "pick up toy car from child's room bed"),
        ("put the set-top box onto the tv stand", "place set-top box on tv stand"),
    ],
)
def test_goals_have_one_spelling(said, meant):
    assert captions.canonical(said) == meant


def test_clauses_of_a_caption():
    env = HousekeepEnv("homes")
    env.reset(options={"world_seed": 3})
    clauses = scenes.clauses_of(env.situation().caption)
    assert {
        f"You have seen {env.place_name(p)}" for p in scenes.seen_places(env.home, env.visited)
    } <= clauses
    assert "You hold nothing" in clauses
