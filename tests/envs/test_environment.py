"""The environment: its interface, its rules, its determinism."""

import dataclasses
import json
import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from crafter import constants, objects, worldgen
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import envs  # noqa: F401  (registers)
from envs.crafter.actions import ACTION_SPACES, attempted, carried_out, faced_noun
from envs.crafter.env import CrafterTextEnv, _Player, _World
from envs.crafter.knowledge import knowledge
from envs.crafter.worldgen import generate_world
from tests.helpers.states import make_state

IDS = ("ellm/Crafter-v0", "ellm/CrafterVerbNoun-v0")


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checkers_pass(env_id):
    env = gym.make(env_id, render_mode="rgb_array")
    check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)
    assert env.unwrapped.observation_space.contains(env.reset(seed=0)[0])


def test_action_spaces_have_the_documented_size():
    assert len(ACTION_SPACES["native"]) == 17
    assert [a.native for a in ACTION_SPACES["native"]] == constants.actions
    pairs = ACTION_SPACES["verb-noun"]
    assert len(pairs) == 139
    assert len({action.name for action in pairs}) == 139
    assert sum(action.native != "noop" for action in pairs if action.noun) == 23


def test_world_generation_equals_the_packages():
    rules = knowledge().protocols["crafter"]
    theirs, ours = (_World((64, 64), constants.materials, (12, 12)) for _ in range(2))
    for seed in (0, 1, 17, 2**30 + 5):
        for world, generate in ((theirs, worldgen.generate_world), (ours, generate_world)):
            world.reset(seed=seed)
            player = _Player(world, (32, 32), rules)
            world.add(player)
            generate(world, player)
        assert (theirs._mat_map == ours._mat_map).all()
        assert (theirs._obj_map == ours._obj_map).all()
        assert [type(o) for o in theirs._objects] == [type(o) for o in ours._objects]
        assert list(theirs._chunks) == list(ours._chunks)
        assert theirs.random.uniform() == ours.random.uniform()


_PLAY = """
import hashlib, sys, numpy as np
from envs.crafter.env import CrafterTextEnv
draw = sys.argv[1] == "draw"
digest = hashlib.sha256()
for protocol in ("crafter", "ellm"):
    env = CrafterTextEnv(protocol, render_mode="rgb_array" if draw else None, size=90)
    rng = np.random.default_rng(3)
    obs, info = env.reset(seed=11)
    for _ in range(700):
        digest.update(obs.tobytes() + repr(sorted(info.items())).encode())
        if draw:
            env.render()
        obs, reward, terminated, truncated, info = env.step(int(rng.integers(env.action_space.n)))
        digest.update(f"{reward} {terminated} {truncated}".encode())
        if terminated or truncated:
            obs, info = env.reset()
print(digest.hexdigest())
"""


def test_same_seed_same_episode_in_every_process():
    def play(mode: str, hash_seed: str) -> str:
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", _PLAY, mode], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    first = play("blind", "0")
    assert len(first) == 64
    assert play("blind", "12345") == first
    assert play("draw", "random") == first


def test_world_seed_and_actions_determine_an_episode():
    env = CrafterTextEnv()
    actions = np.random.default_rng(0).integers(17, size=120)

    def play():
        obs, info = env.reset(options={"world_seed": 77})
        assert info["world_seed"] == 77
        return [obs.tolist(), *(env.step(int(a))[0].tolist() for a in actions)]

    env.reset(seed=5)
    first = play()
    env.reset(seed=9)
    assert play() == first


def test_seeds_draw_training_worlds_below_the_held_out_ones():
    env = CrafterTextEnv()
    seeds = [env.reset(seed=3 if i == 0 else None)[1]["world_seed"] for i in range(5)]
    assert len(set(seeds)) == 5
    assert max(seeds) < 2**30


def test_truncation_and_termination_are_distinct():
    env = CrafterTextEnv(episode_length=3)
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]

    env = CrafterTextEnv(episode_length=3)
    env.reset(seed=0)
    env.step(0)
    env.step(0)
    env.game._player.health = 0  # dies in the very frame in which time runs out
    *_, terminated, truncated, info = env.step(0)
    assert (terminated, truncated) == (True, False)
    assert "unlocked" in info


def _facing(env, thing):
    """Puts a thing in front of the player and returns it."""
    game = env.game
    world, player = game._world, game._player
    target = (int(player.pos[0]) + player.facing[0], int(player.pos[1]) + player.facing[1])
    for dx in range(-2, 3):  # an empty meadow around, so that nothing interferes
        for dy in range(-2, 3):
            cell = (int(player.pos[0]) + dx, int(player.pos[1]) + dy)
            world[cell] = "grass"
            other = world[cell][1]
            if other is not None and other is not player:
                world.remove(other)
    if isinstance(thing, str):
        world[target] = thing
    else:
        world.add(thing(world, target))
    env.describe()
    return world[target][1]


def _act(env, name):
    """Does the action of that name; returns its events and attempt."""
    index = [action.name for action in env.actions].index(name)
    info = env.step(index)[-1]
    return info["events"], info["attempt"]


def test_events_of_real_play_in_the_ellm_protocol():
    env = CrafterTextEnv("ellm")
    env.reset(seed=1)
    player = env.game._player
    _facing(env, "tree")
    assert _act(env, "chop tree") == (("chop tree",), "chop tree")
    assert player.inventory["wood"] == 1
    _facing(env, "tree")
    assert _act(env, "mine tree") == ((), "mine tree")  # faced: an attempt, but nothing happens
    assert _act(env, "chop cow") == ((), None)
    _facing(env, "grass")
    assert _act(env, "make crafting table") == (("place crafting table",), "place crafting table")
    assert player.inventory["wood"] == 0
    cow = _facing(env, objects.Cow)
    assert cow.health == 3
    assert _act(env, "attack cow")[0] == ("eat cow",)  # one hit, and the synonym counts as one goal
    player.inventory["energy"] = 5
    assert _act(env, "sleep") == (("sleep",), "sleep")


def test_creatures_and_tables_cost_the_usual_in_the_crafter_protocol():
    env = CrafterTextEnv("crafter")
    env.reset(seed=1)
    cow = _facing(env, objects.Cow)
    assert _act(env, "do")[0] == ()
    assert cow.health == 2
    player = env.game._player
    player.inventory["wood"] = 1
    _facing(env, "grass")
    assert _act(env, "place table")[0] == ()
    player.inventory["wood"] = 3
    _facing(env, "grass")
    assert _act(env, "place table")[0] == ("place crafting table",)
    assert player.inventory["wood"] == 1
    assert constants.place["table"]["uses"]["wood"] == 2


def test_failed_cheap_table_costs_nothing():
    env = CrafterTextEnv("ellm")
    env.reset(seed=1)
    env.game._player.inventory["wood"] = 1
    _facing(env, "water")
    assert _act(env, "place crafting table")[0] == ()
    assert env.game._player.inventory["wood"] == 1


def test_reward_without_health():
    env = CrafterTextEnv("ellm")
    env.reset(seed=1)
    env.game._player.health -= 3
    assert env.step(0)[1] == 0.0
    _facing(env, "tree")
    index = [action.name for action in env.actions].index("chop tree")
    assert env.step(index)[1] == 1.0
    _facing(env, "tree")
    assert env.step(index)[1] == 0.0  # only the first time

    env = CrafterTextEnv("crafter")
    env.reset(seed=1)
    env.game._player.health -= 3
    assert env.step(0)[1] == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("action", "state", "phrase"),
    [
        ("do", make_state(things={(0, 1): "tree"}), "chop tree"),
        ("do", make_state(things={(0, 1): "cow"}), "eat cow"),
        ("do", make_state(things={(0, 1): "sand"}), None),
        ("place stone", make_state(inventory={"stone": 1}), "place stone"),
        ("place stone", make_state(), None),
        ("place plant", make_state(inventory={"sapling": 1}), "place plant"),
        ("make wood pickaxe", make_state(), None),
        ("make wood pickaxe", make_state(inventory={"wood_pickaxe": 1}), "make wood pickaxe"),
        ("move left", make_state(), None),
        ("noop", make_state(), None),
    ],
)
def test_attempt_definition_with_native_actions(action, state, phrase):
    chosen = next(a for a in ACTION_SPACES["native"] if a.name == action)
    assert attempted(chosen, faced_noun(state.faced), state.held, ()) == phrase


def test_what_happened_is_always_an_attempt():
    make = next(a for a in ACTION_SPACES["native"] if a.name == "make wood pickaxe")
    assert attempted(make, "grass", (), ("make wood pickaxe",)) == "make wood pickaxe"


def test_verb_noun_actions_need_their_noun():
    chop = next(a for a in ACTION_SPACES["verb-noun"] if a.name == "chop tree")
    eat = next(a for a in ACTION_SPACES["verb-noun"] if a.name == "eat plant")
    assert carried_out(chop, "tree") == "do"
    assert carried_out(chop, "stone") == "noop"
    assert carried_out(eat, faced_noun("ripe plant")) == "do"


def test_captions_fit_and_pictures_are_drawn_only_on_demand(monkeypatch):
    env = CrafterTextEnv(render_mode="rgb_array", size=90)
    drawn = []
    original = type(env.game).render
    monkeypatch.setattr(type(env.game), "render", lambda self: drawn.append(1) or original(self))
    env.reset(seed=0)
    for _ in range(20):
        env.step(0)
    assert drawn == []
    assert env.render().shape == (90, 90, 3)
    assert drawn == [1]


@pytest.mark.parametrize(
    "arguments",
    [{"protocol": "x"}, {"caption": "x"}, {"action_space": "x"}, {"episode_length": 0}, {"render_mode": "x"}],
)
def test_bad_arguments_are_named(arguments):
    (value,) = arguments.values()
    with pytest.raises(ValueError, match=str(value)):
        CrafterTextEnv(**arguments)


def test_info_is_json_like():
    env = CrafterTextEnv()
    _, info = env.reset(seed=0)
    json.dumps([dataclasses.asdict(info[key]) for key in ("situation", "privileged")])
    assert set(info) == {"situation", "privileged", "world_seed"}
    assert set(env.step(0)[-1]) == {"situation", "privileged", "world_seed", "events", "attempt"}
