"""The rules of a home by hand, played through the reference."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs import registry
from envs.housekeep import captions, homes
from envs.housekeep.env import ACTIONS, GRAB, HousekeepEnv
from envs.housekeep.placements import placements
from envs.interface import HELD_OUT_SEEDS
from tests.envs.housekeep.players import act_at, misplaced, right_place, start, tidy, toward, wrong_place

NOOP, WEST, EAST, NORTH, SOUTH = range(5)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("protocol", ["ellm", "homes"])
def test_checkers_pass(protocol):
    check_env(HousekeepEnv(protocol, render_mode="rgb_array"))
    sb3_check_env(HousekeepEnv(protocol))


# --- rules ----------------------------------------------------------------------------------------------------------


def test_a_move_turns_and_goes_if_the_cell_is_free():
    env = start()
    while env.home.grid[env.x - 1, env.y] == homes.FLOOR:
        x = env.x
        env.step(WEST)
        assert (env.x, env.facing) == (x - 1, (-1, 0))
    before = env.x, env.y
    env.step(WEST)
    assert ((env.x, env.y), env.facing) == (before, (-1, 0))
    env.step(NOOP)
    assert ((env.x, env.y), env.facing) == (before, (-1, 0))


def test_a_step_into_a_door_leads_into_the_next_room():
    env = next(e for e in (start("homes", seed) for seed in range(50)) if e.home.doors(e.room))
    x, y, behind = env.home.doors(env.room)[0]
    dx, dy = (
        np.sign(x - homes.ROOM // 2 - env.home.corners[env.room][0]),
        np.sign(y - homes.ROOM // 2 - env.home.corners[env.room][1]),
    )
    env.x, env.y = int(x - dx), int(y - dy)
    assert env.visited == {env.room}
    before = env.situation().caption
    *_, info = env.step(1 + homes.DIRECTIONS.index((dx, dy)))
    assert (env.x, env.y, env.room) == (x + dx, y + dy, behind)
    assert len(env.visited) == 2
    assert len(info["situation"].caption) > len(before)  # what was seen before is remembered there
    assert captions.room_clause(env.room_name(behind)) in env.clauses()


def test_the_map_tells_the_way_to_known_rooms_and_to_the_nearest_unseen_one():
    env = start("homes", caption="map")
    seed = next(s for s in range(100) if len(homes.new_home(env.known, s).rooms) == 7)
    env, plain = (start("homes", seed, caption=caption) for caption in ("map", "spatial"))
    rng, seen = np.random.default_rng(0), set()
    for _ in range(3_000):
        action = int(rng.integers(1, 5))
        env.act(action), plain.act(action)
        told = [clause for clause in env.clauses() if clause.startswith(("door to ", "way to "))]
        assert plain.clauses() == [clause for clause in env.clauses() if not clause.startswith("way to ")]
        signs = dict(clause.split(": ") for clause in told)
        beside = [env.room_name(r) for r in env.home.neighbours[env.room].tolist() if r >= 0]
        known = {r for v in env.visited for r in env.home.neighbours[v].tolist() if r >= 0} - {env.room}
        others = {env.room_name(r) for r in known} - {*beside}
        unseen = {f"way to {captions.UNSEEN}"} if known - env.visited else set()
        assert {*signs} == {f"door to {r}" for r in beside} | {f"way to {r}" for r in others} | unseen
        doors = {signs[f"door to {r}"] for r in beside}
        assert {*signs.values()} == doors
        for room in known - env.visited:  # next door: that is the nearest one
            if env.room_name(room) in beside:
                assert signs[f"way to {captions.UNSEEN}"] in {
                    signs[f"door to {env.room_name(r)}"]
                    for r in known - env.visited
                    if env.room_name(r) in beside
                }
        seen.add(len(env.visited))
    assert seen >= {1, 2, 3, 4, 5}


def test_taking_and_putting_take_two_frames():
    env = start()
    thing = misplaced(env)
    place, name = env.at[thing], env.name(thing)
    while (action := toward(env, place)) is not None:
        env.step(action)
    assert captions.grab_clause(captions.pick_up(name, env.place_name(env.faced_place))) in env.clauses()
    _, reward, *_, info = env.step(GRAB)
    assert (reward, info["events"], env.held, env.reaching) == (0.0, (), -1, True)
    assert captions.REACHING in env.clauses()
    env.step(NOOP)  # gives it up
    env.step(GRAB)
    assert env.held == -1
    _, reward, *_, info = env.step(GRAB)
    event = f"pick up {name} from {env.place_name(place)}"
    assert (reward, info["events"], info["attempt"], env.held) == (1.0, (event,), event, thing)
    assert f"you hold {name}" in env.clauses()
    assert f"You hold {name}." in info["situation"].caption
    other = wrong_place(env, thing)
    _, reward, *_, info = act_at(env, other)
    assert (reward, info["events"]) == (-0.1, (f"place {name} {env.where(other)}",))
    assert env.at[thing] == other


def test_the_object_that_lies_longest_is_taken():
    env = start()
    one, two = (misplaced(env), next(o for o in range(len(env.at)) if env.at[o] != env.at[misplaced(env)]))
    place = env.at[two]
    env.since[two] = -1
    act_at(env, env.at[one])
    act_at(env, place)  # puts it behind what lies there
    assert env.in_reach != one
    taken = []
    for _ in range(20):
        act_at(env, place)
        if env.held >= 0:
            taken.append(env.held)
    assert one in taken[:4]  # so each can be reached


def test_steps_against_a_receptacle_turn_to_its_next_object():
    env = start()
    one = misplaced(env)
    others = [o for o in range(len(env.at)) if o != one]
    for thing in others[:2]:
        env.at[thing] = env.at[one]
    lying = sorted((o for o, at in enumerate(env.at) if at == env.at[one]), key=lambda o: env.since[o])
    assert len(lying) >= 3
    while (action := toward(env, env.at[one])) is not None:
        env.step(action)
    against = 1 + homes.DIRECTIONS.index(env.facing)
    found = [env.in_reach]
    for _ in lying:
        env.step(against)
        found.append(env.in_reach)
    assert found == [*lying, lying[0]]
    env.step(against)
    env.step(GRAB)
    env.step(GRAB)
    assert env.held == lying[1]
    assert env.looking == 0


def test_rewards_are_paid_once():
    """1 for the first pick of a misplaced object and its first right place; -0.1 for what was right or becomes wrong."""
    env = start(episode_length=10_000)
    thing = misplaced(env)
    right, wrong, origin = right_place(env, thing), wrong_place(env, thing), env.at[thing]

    def take():
        while True:
            _, reward, *_ = act_at(env, env.at[thing])
            if env.held == thing:
                return reward
            act_at(env, env.faced_place)

    assert take() == 1.0
    assert act_at(env, wrong)[1] == -0.1
    assert take() == 0.0
    assert act_at(env, right)[1] == 1.0
    assert take() == -0.1
    assert act_at(env, origin)[1] == -0.1
    assert take() == 0.0
    assert act_at(env, right)[1] == 0.0


@pytest.mark.parametrize(
    ("protocol", "seed"), [("ellm", 0), ("ellm", 3), ("homes", 5), ("homes", HELD_OUT_SEEDS + 9)]
)
def test_an_episode_ends_when_all_is_tidy(protocol, seed):
    env = start(protocol, seed)
    total, done = 0.0, False
    while not done:
        _, reward, done, truncated, info = env.step(tidy(env))
        total += reward
        assert not truncated
    assert info["scores"]["rearrange_success"] == info["scores"]["misplaced_fixed"] == 1.0
    n = len(env.home.misplaced)
    assert total >= 2 * n - 0.1 * env.picks
    assert {"all tidy", f"{n} fixed", "1 fixed", "object put right", "misplaced object picked up"} <= set(
        info["unlocked"]
    )
    assert set(info["unlocked"]) <= set(env.language.achievements)
    assert env.held == -1


def test_time_runs_out_after_1000_frames():
    env = start()
    for _ in range(999):
        assert env.step(NOOP)[2:4] == (False, False)
    *_, terminated, truncated, info = env.step(NOOP)
    assert (terminated, truncated) == (False, True)
    assert info["unlocked"] == ()
    n, wrong = len(env.at), len(env.home.misplaced)
    assert info["scores"] == {
        "rearrange_success": (n - wrong) / n,
        "misplaced_fixed": 0.0,
        "pick_success": 0.0,
        "place_success": 0.0,
    }


def test_coming_into_a_room_for_the_first_time_is_an_event():
    env = start("homes", next(s for s in range(100) if len(homes.new_home(placements(), s).rooms) == 3))
    rng, events, visited = np.random.default_rng(0), [], [env.room]
    for _ in range(4_000):
        happened = env.act(int(rng.integers(1, 5))).events
        assert len(happened) == (env.room not in visited)
        if happened:
            visited.append(env.room)
            events += happened
    assert len(visited) == 3
    assert events == [captions.explore(env.room_name(room)) for room in visited[1:]]


def test_a_world_seed_is_an_episode_in_any_process():
    code = (
        "from envs.housekeep.env import HousekeepEnv; env = HousekeepEnv('homes');"
        "print(env.reset(options={'world_seed': 12})[1]['situation'].caption, env.clauses(), env.home.at)"
    )
    env = start("homes", 12)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{env.situation().caption} {env.clauses()} {env.home.at}\n"


# --- the world ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "elm"}, "protocol is 'elm'; did you mean 'ellm'?"),
        ({"caption": "paper"}, "caption is 'paper'; choose one of map, spatial"),
        ({"task": "tidy"}, "task is 'tidy'; did you mean 'tidy up'?"),
        ({"episode_length": 0}, "episode_length is 0; it must be at least 1 frame"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared)
        HousekeepEnv(**options)
    assert str(error.value) == message


def test_the_world_is_registered():
    world = registry.get("housekeep")
    world.check({"protocol": "homes", "caption": "spatial"})
    with pytest.raises(ValueError, match=r"^protocol is 'homs'; did you mean 'homes'\?$"):
        world.check({"protocol": "homs"})
    scores = world.scores({}, {"misplaced_fixed": 0.25, "rearrange_success": 0.5})
    assert (scores["misplaced_fixed"], scores["rearrange_success"]) == (25.0, 50.0)
    assert world.scores({}, {}) == {"misplaced_fixed": 0.0}
    situations = list(world.situations(HELD_OUT_SEEDS, 20, seed=1))
    assert situations == list(world.situations(HELD_OUT_SEEDS, 20, seed=1))
    assert any("You hold nothing" not in s.caption for s, _ in situations)


def test_pictures():
    env = start("homes", 2, render_mode="rgb_array")
    first = env.render()
    assert (first.shape, first.dtype) == ((450, 450, 3), np.uint8)
    assert (first == env.render()).all()
    for action in (EAST, WEST, NORTH, SOUTH):
        env.step(action)
    assert (first != env.render()).any()
    assert start().render() is None


def test_episodes_resume():
    env, rng = start("homes", 4), np.random.default_rng(0)
    for _ in range(200):
        observation, *_, info = env.step(int(rng.integers(len(ACTIONS))))
    other = HousekeepEnv("homes")
    again, resumed = other.resume_episode(json.loads(json.dumps(env.episode())))
    assert (again == observation).all()
    assert resumed["situation"] == info["situation"]
