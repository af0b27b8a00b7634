"""Captions, events and possible goals of hand-made states."""

import pytest
from crafter import constants
from hypothesis import given
from hypothesis import strategies as st

from envs.crafter import captions
from envs.crafter.knowledge import canonical, knowledge
from tests.helpers.states import K, make_state

THINGS = st.sampled_from(K.things)
CELLS = st.tuples(st.integers(-4, 4), st.integers(-3, 3)).filter(lambda cell: cell != (0, 0))
STATES = st.builds(
    make_state,
    things=st.dictionaries(CELLS, THINGS, max_size=20),
    facing=st.sampled_from([(-1, 0), (1, 0), (0, -1), (0, 1)]),
    inventory=st.dictionaries(st.sampled_from(K.items), st.integers(0, 9)),
    asleep=st.booleans(),
    daylight=st.floats(0, 1),
    last_action=st.sampled_from(constants.actions),
)


def test_paper_caption_has_the_papers_form():
    state = make_state(
        things={(0, 1): "tree", (2, 0): "cow", (-3, 2): "sand", (4, -3): "arrow", (1, 1): "ripe plant"},
        inventory={"wood": 3, "wood_pickaxe": 1, "food": 2, "energy": 3, "drink": 4},
    )
    assert captions.to_sentence(captions.paper_clauses(state)) == (
        "You see cow, grass, plant, tree. You are targeting tree. "
        "You have in your inventory wood, wood pickaxe. You feel hungry, sleepy."
    )


def test_paper_caption_does_not_target_what_it_leaves_out():
    assert "You are targeting sand" not in captions.paper_clauses(make_state(things={(0, 1): "sand"}))


def test_language_models_are_told_amounts_ripeness_and_sleep():
    state = make_state(
        things={(0, 1): "ripe plant", (2, 0): "plant", (-3, 2): "sand"},
        inventory={"wood": 1, "stone": 5, "coal": 3, "stone_pickaxe": 1, "food": 2, "energy": 8},
        asleep=True,
    )
    assert captions.to_sentence(captions.detailed_clauses(state)) == (
        "You see grass, plant, ripe plant. You are targeting ripe plant. You have in your inventory wood: 1, "
        "stone: 4 or more, coal, stone pickaxe. You feel hungry, a little tired. You are asleep."
    )
    rested = make_state(inventory={"wood": 3, "stone": 3})
    assert captions.to_sentence(captions.detailed_clauses(rested)) == (
        "You see grass. You are targeting grass. You have in your inventory wood: 2 or more, stone: 3."
    )


@given(STATES)
def test_the_papers_caption_is_the_language_models_without_details(state):
    detailed = captions.detailed_clauses(state)
    vocabulary = captions.detailed_vocabulary()
    assert list(detailed) == [clause for clause in vocabulary if clause in detailed]
    text = captions.to_sentence(detailed)
    assert captions.clauses_of(text) == set(detailed)
    assert captions.names_only(text) == captions.to_sentence(captions.paper_clauses(state))


def test_spatial_caption_tells_the_nearest_of_each_thing():
    state = make_state(
        things={(-2, -1): "tree", (3, 1): "tree", (1, 0): "water", (0, 1): "stone"},
        inventory={"wood": 2, "food": 3, "drink": 6},
        daylight=0.2,
        asleep=True,
    )
    clauses = captions.spatial_clauses(state)
    assert "tree: 2 west, 1 north" in clauses
    assert "tree: 3 east, 1 south" not in clauses
    assert "water: 1 east" in clauses
    assert {"east of you: water", "south of you: stone", "west of you: grass"} <= set(clauses)
    assert "you face stone" in clauses
    assert {"health: ok", "food: low", "drink: middle", "energy: ok", "wood: 2"} <= set(clauses)
    assert {"it is dark", "you are asleep"} <= set(clauses)
    assert not any(clause.startswith("stone: ") and "south" not in clause for clause in clauses)


@given(STATES)
def test_clauses_come_from_the_closed_vocabularies(state):
    spatial, paper = captions.spatial_clauses(state), captions.paper_clauses(state)
    assert set(spatial) <= set(captions.spatial_vocabulary())
    assert set(paper) <= set(captions.paper_vocabulary())
    assert len(set(spatial)) == len(spatial)
    for style in captions.CAPTIONS.values():
        clauses = style.clauses(state)
        assert set(clauses) <= set(style.vocabulary())
        assert len(clauses) <= style.most_clauses


def test_detailed_caption_tells_more_than_the_spatial_one():
    state = make_state(
        things={(0, 1): "stone"},
        facing=(0, -1),
        inventory={"wood": 2, "food": 3, "drink": 6},
        daylight=0.37,
        last_action="place_table",
    )
    detailed, spatial = captions.full_clauses(state), captions.spatial_clauses(state)
    assert set(spatial) - set(detailed) == {"health: ok", "food: low", "drink: middle", "energy: ok"}
    assert set(detailed) - set(spatial) == {
        "health: 9 of 9",
        "food: 3 of 9",
        "drink: 6 of 9",
        "energy: 9 of 9",
        "you look north",
        "daylight: 3 of 10",
        "just now: place table",
    }


@pytest.mark.parametrize("achievement", K.achievements)
def test_every_achievement_is_an_event(achievement):
    before, after = make_state(), make_state(counts={achievement: 1})
    events = captions.describe_transition(before, after)
    assert len(events) == 1
    assert events[0] in K.goals
    assert captions.describe_transition(after, after) == ()


def test_wood_gained_is_chop_tree_and_sleep_is_an_event():
    gained = make_state(counts={"collect_wood": 3}), make_state(counts={"collect_wood": 4})
    assert captions.describe_transition(*gained) == ("chop tree",)
    assert captions.describe_transition(make_state(), make_state(asleep=True)) == ("sleep",)
    assert captions.describe_transition(make_state(asleep=True), make_state(asleep=True)) == ()
    assert captions.describe_transition(make_state(), make_state()) == ()


def test_all_of_several_events_are_reported():
    before = make_state(asleep=True)
    after = make_state(counts={"wake_up": 1, "collect_drink": 1, "defeat_zombie": 1})
    assert captions.describe_transition(before, after) == ("drink water", "attack zombie", "wake up")


@pytest.mark.parametrize(
    ("goal", "state", "possible"),
    [
        ("chop tree", make_state(things={(3, 3): "tree"}), True),
        ("chop tree", make_state(), False),
        ("mine stone", make_state(things={(1, 0): "stone"}, inventory={"wood_pickaxe": 1}), True),
        ("mine stone", make_state(things={(1, 0): "stone"}), False),
        ("mine iron", make_state(things={(1, 0): "iron"}, inventory={"wood_pickaxe": 1}), False),
        ("mine iron", make_state(things={(1, 0): "iron"}, inventory={"stone_pickaxe": 1}), True),
        ("place crafting table", make_state(inventory={"wood": 2}), True),
        ("place crafting table", make_state(inventory={"wood": 1}), False),
        ("make wood sword", make_state(things={(1, 1): "crafting table"}, inventory={"wood": 1}), True),
        ("make wood sword", make_state(inventory={"wood": 1}), False),
        (
            "make iron pickaxe",
            make_state(
                things={(1, 1): "crafting table", (0, 1): "furnace"},
                inventory={"wood": 1, "coal": 1, "iron": 1},
            ),
            True,
        ),
        ("eat plant", make_state(things={(1, 0): "plant"}), False),
        ("eat plant", make_state(things={(1, 0): "ripe plant"}), True),
        ("sleep", make_state(), False),
        ("sleep", make_state(inventory={"energy": 8}), True),
        ("wake up", make_state(asleep=True), True),
        ("wake up", make_state(), False),
    ],
)
def test_oracle_knows_prerequisites(goal, state, possible):
    assert (goal in captions.possible_goals(state, table_wood=2)) == possible


def test_table_is_cheaper_in_the_ellm_protocol():
    state = make_state(inventory={"wood": 1})
    assert "place crafting table" in captions.possible_goals(state, table_wood=1)


def test_knowledge_agrees_with_the_package():
    """Prices and tools in crafter.yaml are those of the package's data.yaml."""
    goals = knowledge().goals
    for name, entry in constants.make.items():
        goal = goals["make " + name.replace("_", " ")]
        assert dict(goal.has) == entry["uses"]
        assert {n.replace("crafting ", "") for n in goal.sees} == set(entry["nearby"])
    verbs = {"tree": "chop", "grass": "chop", "water": "drink"}
    for material, entry in constants.collect.items():
        goal = goals[f"{verbs.get(material, 'mine')} {material}"]
        assert dict(goal.has) == entry["require"]
        assert goal.sees == {material}
    for name, entry in constants.place.items():
        goal = goals["place " + {"table": "crafting table"}.get(name, name)]
        assert dict(goal.has) == entry["uses"]
    assert set(knowledge().phrase_of) == set(constants.achievements)
    assert knowledge().protocols["crafter"].table_wood == constants.place["table"]["uses"]["wood"]


@pytest.mark.parametrize(
    ("inventory", "counts", "needed"),
    [
        # Recipes require 8 wood in all: 2 for the table, 1 for each of six tools.
        ({"wood": 7}, {}, {"chop tree", "mine stone", "mine coal", "mine iron"}),
        ({"wood": 8}, {}, {"mine stone", "mine coal", "mine iron"}),
        ({"wood": 5}, {"place_table": 1, "make_wood_pickaxe": 1}, {"mine stone", "mine coal", "mine iron"}),
        ({"wood": 4}, {"place_table": 1, "make_wood_pickaxe": 1, "collect_wood": 7}, {"chop tree", "mine stone", "mine coal", "mine iron"}),
        # Collected as often as all recipes together require: no more is needed.
        ({"wood": 4}, {"place_table": 1, "make_wood_pickaxe": 1, "collect_wood": 8}, {"mine stone", "mine coal", "mine iron"}),
        # 7 stones: 4 for a furnace, 1 to place, 1 for each of two tools. One coal and one iron for each iron tool.
        ({"wood": 9, "stone": 7, "coal": 2, "iron": 1}, {}, {"mine iron"}),
        ({"wood": 9, "stone": 7, "coal": 2, "iron": 1}, {"make_iron_sword": 1}, set()),
    ],
)  # fmt: skip
def test_needed_goals_by_hand(inventory, counts, needed):
    things = {(1, 0): "crafting table", (2, 0): "furnace"}
    state = make_state(things=things, inventory=inventory, counts=counts)
    assert set(captions.needed_goals(state, table_wood=2)) == needed


IRON = {"wood": 1, "coal": 1, "iron": 1}


@pytest.mark.parametrize(
    ("things", "inventory", "counts", "needed"),
    [
        ({}, IRON, {}, {"place crafting table", "place furnace"}),
        ({(1, 0): "furnace"}, IRON, {}, {"place crafting table"}),
        ({(1, 0): "crafting table"}, IRON, {}, {"place furnace"}),
        ({}, {"wood": 1}, {}, {"place crafting table"}),  # for wood tools
        (
            {},
            {"wood": 1},
            {"make_wood_pickaxe": 1, "make_wood_sword": 1},
            set(),
        ),  # others need more than wood
        ({}, IRON, {"place_furnace": 2}, {"place crafting table"}),  # as often as there are tools of iron
        ({}, {"coal": 1, "iron": 1}, {}, set()),
    ],
)
def test_things_are_needed_where_all_else_is_at_hand(things, inventory, counts, needed):
    state = make_state(things=things, inventory=inventory, counts=counts)
    found = captions.needed_goals(state, table_wood=2)
    assert set(found) & {"place crafting table", "place furnace"} == needed


EARLIER = {
    "place_table": 6,
    "place_furnace": 2,
    "collect_wood": 20,
    "collect_stone": 20,
    "collect_coal": 5,
    "collect_iron": 2,
}
EARLIER |= dict.fromkeys(
    ["make_wood_pickaxe", "make_wood_sword", "make_stone_pickaxe", "make_stone_sword", "place_stone"], 1
)
SWORD_LEFT = EARLIER | {"make_iron_pickaxe": 1}


@pytest.mark.parametrize(
    ("things", "inventory", "needed"),
    [
        # The sword takes 1 wood, 1 coal, 1 iron; a table 2 wood, a furnace 4 stone.
        ((), {"iron": 1}, {"chop tree", "mine stone", "mine coal"}),
        ((), {"iron": 1, "wood": 2, "stone": 4, "coal": 1}, {"chop tree"}),
        ((), {"iron": 1, "wood": 3, "stone": 3, "coal": 1}, {"mine stone", "place crafting table"}),
        (["crafting table"], {"iron": 1, "wood": 1, "stone": 3, "coal": 1}, {"mine stone"}),
        (["crafting table"], {"iron": 1, "wood": 1, "stone": 4, "coal": 1}, {"place furnace"}),
        (["furnace"], {"iron": 1, "wood": 1, "coal": 1}, {"chop tree"}),
        (["crafting table", "furnace"], {"iron": 1, "wood": 1, "coal": 1}, set()),
        (["crafting table", "furnace"], {"iron": 1}, {"chop tree", "mine coal"}),
    ],
)  # fmt: skip
def test_who_holds_iron_needs_all_else_for_the_tool(things, inventory, needed):
    """However often it was got before: all was got as often as the recipes together require."""
    state = make_state(
        things={(i + 1, 0): thing for i, thing in enumerate(things)}, inventory=inventory, counts=SWORD_LEFT
    )
    assert set(captions.needed_goals(state, table_wood=2)) == needed


def test_iron_is_no_reason_where_both_tools_are_made():
    state = make_state(inventory={"iron": 1}, counts=SWORD_LEFT | {"make_iron_sword": 1})
    assert captions.needed_goals(state, table_wood=2) == ()


def test_canonical_spelling():
    assert canonical(" Attack the COW! ") == "eat cow"
    assert canonical("make a crafting-table") == "place crafting table"
    assert canonical("collect a sapling") == "chop grass"
    assert canonical("drink water") == "drink water"


def test_darkness_and_sleep_do_not_limit_captions():
    """Pictures are noisy at night and black during sleep; captions, which are compared with them, are not."""
    things = {(0, 1): "tree", (-4, 3): "zombie", (4, -3): "diamond"}
    awake = make_state(things=things)
    asleep = make_state(things=things, daylight=0.0, asleep=True)
    assert captions.paper_clauses(asleep) == captions.paper_clauses(awake)
    clauses = captions.spatial_clauses(asleep)
    assert clauses == (*captions.spatial_clauses(awake), "it is dark", "you are asleep")
    assert {"zombie: 4 west, 3 south", "diamond: 4 east, 3 north", "you face tree"} <= set(clauses)
