"""What the oracle suggests in a home, and which events are rewarded."""

from __future__ import annotations

import numpy as np

from envs.housekeep import captions, homes, scenes
from envs.housekeep.env import HousekeepEnv
from envs.housekeep.placements import placements
from tests.envs.housekeep.players import act_at, misplaced, right_place, start, wrong_place


def test_the_oracle_suggests_what_is_seen_and_wrong():
    env = start("homes", 7)
    while len(env.visited) < len(env.home.rooms):
        goals = env.privileged().possible
        assert all(goal in env.language.goals for goal in goals)
        seen = {env.place_name(p) for p in scenes.seen_places(env.home, env.visited)}
        wrong = [o for o in env.home.misplaced if env.place_name(env.at[o]) in seen]
        assert goals == tuple(f"pick up {env.name(o)} from {env.place_name(env.at[o])}" for o in wrong)
        env.visited.add(min(set(range(len(env.home.rooms))) - env.visited))


def test_without_a_goal_for_what_it_has_seen_the_oracle_explores():
    env = start("homes", next(s for s in range(100) if len(homes.new_home(placements(), s).rooms) == 5))
    names = [env.room_name(room) for room in range(5)]

    def suggested():
        return set(env.privileged().possible)

    # Nothing lies wrong in what it has seen: explore what is behind the doors.
    env.at = [right_place(env, o) for o in range(len(env.at))]
    behind = {int(r) for r in env.home.neighbours[env.room] if r >= 0}
    assert suggested() == {captions.explore(names[room]) for room in behind}
    told = ", ".join(names[room] for room in sorted(behind))
    assert f"You have not been in {told}. " in env.situation().caption
    # Something does: tidy first.
    thing = env.home.misplaced[0]
    env.at[thing] = next(
        p for p, r in enumerate(env.home.place_room) if r == env.room and not env.home.right[thing, p]
    )
    assert {goal.split()[0] for goal in suggested()} == {"pick"}
    # It is in the hand, and no right place was seen: explore.
    env.held, env.at[thing] = thing, -1
    env.home.right[thing] = [r != env.room for r in env.home.place_room]
    assert suggested() == {captions.explore(names[room]) for room in behind}
    # Everywhere has been seen: nothing.
    env.held, env.at[thing], env.visited = -1, right_place(env, thing), set(range(5))
    assert suggested() == set()
    assert "You have not been in" not in env.situation().caption


def test_an_object_is_a_goal_of_the_oracle_until_it_lies_right():
    env = start()
    thing = misplaced(env)
    name, origin, right = env.name(thing), env.at[thing], right_place(env, thing)
    picked, puts = (
        f"pick up {name} from",
        [f"place {name} {env.where(p)}" for p in np.flatnonzero(env.home.right[thing])],
    )
    assert f"{picked} {env.place_name(origin)}" in env.privileged().possible
    act_at(env, origin)
    assert env.privileged().possible == tuple(puts)
    wrong = wrong_place(env, thing)
    act_at(env, wrong)  # a mistake: it can be mended
    assert f"{picked} {env.place_name(wrong)}" in env.privileged().possible
    while env.held != thing:
        act_at(env, env.at[thing] if env.held < 0 else env.faced_place)
    act_at(env, right)
    assert not any(name in goal for goal in env.privileged().possible)
    while env.held != thing:
        act_at(env, right)
    assert env.privileged().possible == tuple(puts)  # taken out again: back with it


def test_what_could_be_done_now_is_open_again():
    env = start()
    thing = misplaced(env)
    lying = {f"pick up {env.name(o)} from {env.place_name(place)}" for o, place in enumerate(env.at)}
    assert set(env.privileged().needed) == lying
    act_at(env, env.at[thing])
    assert set(env.privileged().needed) == {
        f"place {env.name(thing)} {env.where(p)}" for p in range(len(env.home.places))
    }


def rewards_of(events, goals):
    """What an agent whose goals are always the same is rewarded for in an episode of these events."""
    language = HousekeepEnv().language
    before, rewarded = [], []
    for event in events:
        if event in goals and not language.unrewarded(event, before, rewarded):
            rewarded.append(event)
        before.append(event)
    return rewarded


def test_moving_things_back_and_forth_is_rewarded_once():
    take, drop, again, right = (
        "pick up apple from kitchen sink",
        "place apple on kitchen table",
        "pick up apple from kitchen table",
        "place apple in kitchen fridge",
    )
    assert rewards_of([take, drop, again, right, right], {take, again, right}) == [take, right]
    assert rewards_of([take, drop, take, drop, take], {take}) == [take]
    # What lay right, is taken out and put back, is never rewarded: taking it out was no goal.
    out = "pick up apple from kitchen fridge"
    assert rewards_of([out, drop, again, right], {again, right}) == []
    assert rewards_of(["explore kitchen"], {"explore kitchen"}) == ["explore kitchen"]
