"""The compiled worlds against the package's, in lockstep: every field, every frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from crafter import constants, objects
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.crafter.compiled import CompiledCrafter, words
from envs.crafter.compiled import rules as compiled_rules
from envs.crafter.compiled import world as rules
from envs.crafter.env import CrafterTextEnv
from envs.crafter.knowledge import knowledge
from tests.helpers.lockstep import (
    JITTED,
    KINDS,
    POLICIES,
    assert_same_step,
    assert_same_world,
    endow,
    lockstep,
)


@pytest.mark.parametrize("protocol", ["crafter", "ellm"])
@pytest.mark.parametrize("policy", POLICIES)
def test_lockstep_with_the_package(protocol, policy):
    frames = [lockstep(protocol, policy, seed, frames=350) for seed in range(2)]
    assert sum(frames) > 100


# Scenes in which each rule must act: what lies in front, what is held, what is done, which counter moves.
TABLE_NEAR = {(1, 1): "table", (-1, 1): "furnace"}
SCENES = [
    ("tree", {}, "do", "collect_wood"),
    ("stone", {"wood_pickaxe": 1}, "do", "collect_stone"),
    ("coal", {"wood_pickaxe": 1}, "do", "collect_coal"),
    ("iron", {"stone_pickaxe": 1}, "do", "collect_iron"),
    ("diamond", {"iron_pickaxe": 1}, "do", "collect_diamond"),
    ("water", {"drink": 3}, "do", "collect_drink"),
    ("grass", {}, "do", "collect_sapling"),
    ("zombie", {}, "do", "defeat_zombie"),
    ("zombie", {"wood_sword": 1}, "do", "defeat_zombie"),
    ("zombie", {"stone_sword": 1}, "do", "defeat_zombie"),
    ("skeleton", {"iron_sword": 1}, "do", "defeat_skeleton"),
    ("cow", {"food": 2}, "do", "eat_cow"),
    ("ripe plant", {"food": 2}, "do", "eat_plant"),
    ("lava", {"stone": 2}, "place_stone", "place_stone"),
    ("sand", {"wood": 3}, "place_table", "place_table"),
    ("path", {"stone": 5}, "place_furnace", "place_furnace"),
    ("grass", {"sapling": 1}, "place_plant", "place_plant"),
    ("grass", {"wood": 1}, "make_wood_pickaxe", "make_wood_pickaxe"),
    ("grass", {"wood": 1}, "make_wood_sword", "make_wood_sword"),
    ("grass", {"wood": 1, "stone": 1}, "make_stone_pickaxe", "make_stone_pickaxe"),
    ("grass", {"wood": 1, "stone": 1}, "make_stone_sword", "make_stone_sword"),
    ("grass", {"wood": 1, "coal": 1, "iron": 1}, "make_iron_pickaxe", "make_iron_pickaxe"),
    ("grass", {"wood": 1, "coal": 1, "iron": 1}, "make_iron_sword", "make_iron_sword"),
    ("grass", {"energy": 8}, "sleep", "wake_up"),
]
LIVING = {
    "zombie": (objects.Zombie, 5),
    "skeleton": (objects.Skeleton, 3),
    "cow": (objects.Cow, 3),
    "ripe plant": (objects.Plant, 1),
}


def set_cell(theirs, ours, dx, dy, thing):
    """Puts the same thing beside both players."""
    world, player = theirs.game._world, theirs.game._player
    w = ours.records[0]
    x, y = int(player.pos[0]) + dx, int(player.pos[1]) + dy
    other = world[x, y][1]
    if other is not None:
        world.remove(other)
        JITTED["remove"](ours.records, int(w["occupant"][x, y]) - 1)
    ground = "grass" if thing in LIVING else thing
    world[x, y] = ground
    w["material"][x, y] = rules.MATERIALS.index(ground)
    if thing in LIVING:
        cls, health = LIVING[thing]
        new = cls(world, (x, y), player) if thing in ("zombie", "skeleton") else cls(world, (x, y))
        world.add(new)
        slot = JITTED["add"](ours.records, next(n for c, n in KINDS.items() if c is cls), x, y, health)
        if thing == "ripe plant":
            new.grown = w["timer"][slot] = 301


def play_scene(theirs, ours, front, held, action, frames):
    """Sets a scene in both, acts in both, compares at each frame; returns how often each counter moved."""
    obs, _ = theirs.reset(options={"world_seed": 4})
    ours.set_options({"world_seed": 4})
    ours.reset()
    player = theirs.game._player
    for dx in range(-2, 3):
        for dy in range(-2, 3):
            if (dx, dy) != (0, 0):
                set_cell(theirs, ours, dx, dy, TABLE_NEAR.get((dx, dy), "grass"))
    set_cell(theirs, ours, *player.facing, front)
    index = constants.actions.index(action)
    for _ in range(frames):
        endow(theirs.game, ours.records[0], {**held, "health": 9})
        theirs.describe()
        ours.describe(0)
        obs, _, terminated, _, info = theirs.step(index)
        our_obs, _, _, our_infos = ours.step(np.array([index]))
        assert not terminated
        assert_same_world(theirs.game, ours.records[0])
        assert (obs == our_obs[0]).all()
        assert our_infos[0]["events"] == info["events"]
        assert our_infos[0]["attempt"] == info["attempt"]
        if front in LIVING and not info["events"] and theirs.state.faced == "grass":
            set_cell(theirs, ours, *player.facing, front)  # it walked away
    return dict(player.achievements)


@pytest.mark.parametrize(("front", "held", "action", "achievement"), SCENES)
def test_every_rule_in_lockstep(front, held, action, achievement):
    theirs, ours = CrafterTextEnv(), CompiledCrafter(1)
    if achievement == "wake_up":
        held = {}
        theirs.reset(options={"world_seed": 4})
        moved = _sleep_scene(theirs, ours)
    else:
        moved = play_scene(theirs, ours, front, held, action, frames=25)
    assert moved[achievement] > 0


def test_the_same_goals_are_possible_and_needed():
    """Whatever is held, was done before, and stands beside the player."""
    theirs, ours = CrafterTextEnv(), CompiledCrafter(1)
    theirs.reset(options={"world_seed": 4})
    ours.set_options({"world_seed": 4})
    ours.reset()
    rng, found = np.random.default_rng(0), set()
    for _ in range(300):
        for cell, thing in TABLE_NEAR.items():
            set_cell(theirs, ours, *cell, thing if rng.random() < 0.5 else "grass")
        held = {item: int(rng.integers(5)) for item in ("wood", "stone", "coal", "iron")}
        endow(theirs.game, ours.records[0], held)
        for i, name in enumerate(constants.achievements):
            count = int(rng.choice([0, 1, 9]))
            theirs.game._player.achievements[name] = ours.records[0]["counts"][i] = count
        theirs.describe()
        expected, (_, got) = theirs.privileged(), ours.describe(0)
        assert got["privileged"] == expected
        found.update(expected.needed)
    assert found == set(knowledge().yields)


def _sleep_scene(theirs, ours):
    """Tired, surrounded by stone, asleep until rested."""
    ours.set_options({"world_seed": 4})
    ours.reset()
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        set_cell(theirs, ours, dx, dy, "stone")
    endow(theirs.game, ours.records[0], {"energy": 8})
    sleep = constants.actions.index("sleep")
    for _ in range(40):
        theirs.step(sleep)
        ours.step(np.array([sleep]))
        assert_same_world(theirs.game, ours.records[0])
    return dict(theirs.game._player.achievements)


def test_scenes_cover_all_achievements():
    assert {achievement for *_, achievement in SCENES} == set(constants.achievements)


@pytest.mark.parametrize("edge", [(0, 30), (63, 30), (30, 0), (30, 63), (0, 0)])
def test_edges_of_the_world_in_lockstep(edge):
    """In the first row and column the package finds nothing nearby; beyond the edge there is nothing."""
    theirs, ours = CrafterTextEnv(), CompiledCrafter(1)
    theirs.reset(options={"world_seed": 4})
    ours.set_options({"world_seed": 4})
    ours.reset()
    game, w = theirs.game, ours.records[0]
    for x in range(max(edge[0] - 2, 0), min(edge[0] + 3, 64)):
        for y in range(max(edge[1] - 2, 0), min(edge[1] + 3, 64)):
            other = game._world[x, y][1]
            if other is not None:
                game._world.remove(other)
                JITTED["remove"](ours.records, int(w["occupant"][x, y]) - 1)
            material = "table" if (x + y) % 3 == 0 and (x, y) != edge else "grass"
            game._world[x, y] = material
            w["material"][x, y] = rules.MATERIALS.index(material)
    game._world.move(game._player, edge)
    JITTED["move_to"](ours.records, *edge)
    for action in (
        "make_wood_pickaxe",
        "move_left",
        "do",
        "move_up",
        "do",
        "place_stone",
        "move_right",
        "move_down",
    ):
        endow(game, w, {"wood": 5, "stone": 5, "health": 9})
        theirs.describe()
        ours.describe(0)
        index = constants.actions.index(action)
        obs, *_ = theirs.step(index)
        assert (ours.step(np.array([index]))[0][0] == obs).all()
        assert_same_world(game, w)


@pytest.mark.parametrize(
    "arguments",
    [
        {"protocol": "crafter", "episode_length": 60},
        {"protocol": "ellm", "caption": "paper"},
        {"protocol": "crafter", "caption": "full"},
        {"protocol": "crafter", "action_space": "verb-noun"},
    ],
)
def test_vectorised_worlds_equal_the_packages(arguments):
    """Over episode ends, with seeds drawn by the environments themselves."""
    theirs = DummyVecEnv([lambda: CrafterTextEnv(**arguments)] * 3)
    ours = CompiledCrafter(3, **arguments)
    for worlds in (theirs, ours):
        worlds.seed(11)
    assert (theirs.reset() == ours.reset()).all()
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(450):
        actions = rng.integers(theirs.action_space.n, size=3)
        expected, got = theirs.step(actions), ours.step(actions)
        for a, b in zip(expected[:3], got[:3], strict=True):
            assert (a == b).all()
            assert a.dtype == b.dtype
        for a, b, done in zip(expected[3], got[3], expected[2], strict=True):
            ended += done
            if done:
                assert (a.pop("terminal_observation") == b.pop("terminal_observation")).all()
            assert a == b
        assert theirs.reset_infos == ours.reset_infos
    assert ended >= 3


def beside_a_plant(worlds, age, at=(1, 0)):
    """Puts a plant of so many frames beside the player of the first world."""
    w = worlds.records[0]
    x, y, slot = w["x"][0] + at[0], w["y"][0] + at[1], int(w["objects"])
    w["material"][x, y] = rules.MATERIALS.index("grass")
    w["kind"][slot], w["health"][slot], w["timer"][slot] = rules.PLANT, 1, age
    w["x"][slot], w["y"][slot] = x, y
    w["objects"], w["occupant"][x, y] = slot + 1, slot + 1


@pytest.mark.parametrize("ages", [(10,), (500,), (10, 500)])
def test_the_papers_agent_observes_names_only(ages):
    """Ripe or not, a plant is one clause; what language models are told beyond the paper's caption is left out."""
    worlds = CompiledCrafter(1, caption="paper")
    worlds.set_options({"world_seed": 5})
    worlds.reset()
    for age, at in zip(ages, ((1, 0), (-1, 0))[: len(ages)], strict=True):
        beside_a_plant(worlds, age, at)
    worlds.records["sleeping"] = True
    worlds.records["facing"][0] = (1, 0)
    for item, count in {"wood": 3, "stone": 2, "energy": 8}.items():
        worlds.records["inventory"][0, rules.ITEMS.index(item)] = count
    observation, info = worlds.describe(0)
    language = worlds.language
    observed = language.to_sentence([language.vocabulary[i] for i in observation if i])
    assert observed == language.names_only(info["situation"].caption)
    assert observed.endswith("You are targeting plant. You have in your inventory wood, stone.")
    assert observed.count("plant") == 2  # seen and targeted
    assert info["situation"].caption.endswith("You feel a little tired. You are asleep.")


def test_a_ripe_plant_is_eaten_by_the_action_of_its_noun():
    worlds = CompiledCrafter(1, action_space="verb-noun")
    worlds.set_options({"world_seed": 5})
    worlds.reset()
    beside_a_plant(worlds, 500)
    worlds.records["facing"][0] = (1, 0)
    worlds.describe(0)
    actions = CrafterTextEnv(action_space="verb-noun").actions
    eat = next(i for i, action in enumerate(actions) if action.name == "eat plant")
    *_, (info,) = worlds.step(np.array([eat]))
    assert info["events"] == ("eat plant",)
    assert info["attempt"] == "eat plant"


def test_generator_equals_numpys():
    ours = CompiledCrafter(1)
    w = ours.records[0]
    reference = np.random.RandomState(123)
    _, key, position, *_ = reference.get_state()
    w["mt"][:] = key
    ours.records["mt_position"][0] = position
    for n in [1, 2, 4, 7, 100, 144] * 200:
        assert _uniform(ours.records) == reference.uniform()
        assert _randint(ours.records, n) == reference.randint(0, n)


def _uniform(worlds):
    return JITTED["uniform"](worlds)


def _randint(worlds, n):
    return JITTED["randint"](worlds, n)


def test_daylight_equals_the_packages():
    game = CrafterTextEnv().game
    game.start(0)
    for step in [0, 1, 29, 300, 301, 4567, 9999, 10_001, 25_000]:
        game._step = step
        game._update_time()
        assert compiled_rules.daylight(step) == pytest.approx(game._world.daylight, abs=1e-15)


def test_objects_survive_compaction():
    """Object slots are given back in long episodes; the world stays the same."""
    assert lockstep("crafter", "camper", seed=5, frames=1500) > 1000


def test_rules_come_from_the_packages_data():
    tree = rules.MATERIALS.index("tree")
    assert rules.COLLECT[tree, 1] == rules.ITEMS.index("wood")
    action = constants.actions.index("make_iron_pickaxe")
    assert rules.MAKE[action, 3 + rules.ITEMS.index("iron")] == constants.make["iron_pickaxe"]["uses"]["iron"]


@pytest.mark.parametrize("protocol", ["crafter", "ellm"])
def test_episodes_are_resumed_by_either_backend(protocol):
    """From the state of either, as JSON, either goes on with the same frames, also into the next episodes."""

    def make(backend):
        if backend == "compiled":
            return CompiledCrafter(3, protocol=protocol)
        return DummyVecEnv([lambda: CrafterTextEnv(protocol=protocol)] * 3)

    for one in ("compiled", "package"):
        first = make(one)
        first.seed(3)
        first.reset()
        rng = np.random.default_rng(0)
        for _ in range(450):  # more than an episode
            actions = rng.integers(first.action_space.n, size=3)
            observation, *_ = first.step(actions)
        state = json.loads(json.dumps(first.env_method("episode")))
        assert any(len(episode["actions"]) > 0 for episode in state)
        others = [make("compiled"), make("package")]
        for other in others:
            other.reset()
            for i, episode in enumerate(state):
                ((scene, info),) = other.env_method("resume_episode", episode, indices=i)
                assert scene.tolist() == observation[i].tolist()
                assert info["world_seed"] == episode["world_seed"]
            assert other.env_method("episode") == state
        for _ in range(300):
            actions = rng.integers(first.action_space.n, size=3)
            wanted = first.step(actions)
            for other in others:
                assert_same_step(wanted, other.step(actions))


@pytest.mark.parametrize("backend", ["compiled", "package"])
def test_what_is_no_episode_is_refused(backend):
    worlds = CompiledCrafter(1) if backend == "compiled" else DummyVecEnv([lambda: CrafterTextEnv()])
    worlds.reset()
    (good,) = worlds.env_method("episode")
    for part in (
        {"world_seed": -1},
        {"world_seed": "7"},
        {"world_seed": 2**40},
        {"actions": [17]},
        {"actions": [-1]},
        {"actions": [1.5]},
        {"actions": None},
        {"actions": [0] * 10_000},  # which ends before, by death or by time
        {"random": {}},
    ):
        with pytest.raises((KeyError, TypeError, ValueError)):
            worlds.env_method("resume_episode", good | part, indices=0)
    with pytest.raises((KeyError, TypeError)):
        worlds.env_method("resume_episode", {}, indices=0)


def test_the_texts_that_are_kept_are_bounded():
    for text in (words.situation, words.privileged, words.event_phrases, words.attempt):
        assert text.cache_parameters()["maxsize"] <= 2**14
