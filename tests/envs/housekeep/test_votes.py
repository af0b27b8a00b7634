"""Housekeep's file of votes is read without running code, and other files are refused in one line."""

from __future__ import annotations

import os
import pickle
import time

import numpy as np
import pytest

from ellm_agent.config import PRESETS
from ellm_agent.config import files as config_files
from ellm_agent.config.offline import offline_config
from ellm_agent.datasets.dataset import Interface
from ellm_agent.datasets.logs import check_interface
from ellm_agent.errors import UserError
from envs.housekeep import homes
from envs.housekeep.env import HousekeepEnv
from envs.housekeep.placements import Place
from envs.housekeep.votes import read_votes
from envs.housekeep.world import HOUSEKEEP
from tests.envs.housekeep.players import lockstep

PLACES = ["kitchen|fridge", "kitchen|top_cabinet", "childs_room|bed", "pantry_room|shelf", "kitchen|cooktop"]
OBJECTS = ["milk_jug", "stuffed_toy", "set-top_box"]


def ranks():
    """Milk: 6 of 10 for the fridge, 5 for the cabinet, 7 against the bed."""
    votes = np.zeros((len(PLACES), len(OBJECTS), 10), np.int64)
    votes[0, 0, :6] = 1, 2, 1, 3, 1, 1
    votes[1, 0, :5] = 1
    votes[2, 0, 3:] = -1
    votes[2, 1, :] = 1
    return votes


@pytest.fixture
def write(tmp_path):
    def write(content):
        np.save(tmp_path / "data.npy", content, allow_pickle=True)
        return tmp_path / "data.npy"

    return write


def data(**changes):
    return {"ranks": ranks(), "objects": list(OBJECTS), "room_receptacles": list(PLACES), **changes}


@pytest.mark.parametrize(
    "kind", [list, np.array, lambda names: np.array(names, object), lambda n: [*map(np.str_, n)]]
)
def test_votes_by_hand(write, kind):
    known = read_votes(write(data(objects=kind(OBJECTS), room_receptacles=kind(PLACES))))
    assert known.objects == ("milk jug", "stuffed toy", "set-top box")
    assert known.places == (
        Place("kitchen", "fridge"),
        Place("kitchen", "top cabinet"),
        Place("kitchen", "cooktop"),
        Place("child's room", "bed"),
        Place("pantry", "shelf"),
    )
    assert known.right.astype(int).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    assert known.wrong.astype(int).tolist() == [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert known.where(0) == "in kitchen fridge"


def world_of_votes(write):
    rooms = [f"{room}|{r}" for room in ("kitchen", "bedroom") for r in ("fridge", "bed", "table", "shelf")]
    objects = [f"thing_{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    votes = np.random.default_rng(0).choice([-1, 1], (len(rooms), len(objects), 1)).repeat(10, axis=2)
    return write({"ranks": votes, "objects": objects, "room_receptacles": rooms})


def test_homes_from_votes(write):
    """A world of votes is played like ours, by both backends."""
    file = world_of_votes(write)
    assert lockstep("homes", "careless", [1, 2], 60, placements=file)["events"] > 2
    with pytest.raises(ValueError, match=r"^the placements have no living room, which protocol ellm needs$"):
        HousekeepEnv("ellm", placements=file)


def test_logs_of_such_homes_are_learned_from_in_such_homes(write, tmp_path):
    config = config_files.in_world(PRESETS["debug"], "housekeep")
    file = str(world_of_votes(write))
    config = config.changed(**{"env.protocol": "homes", "env.own": {"placements": file}})
    log = Interface("housekeep", config.env.options, 6, {"caption": 34, "achieved": 10})
    learned = offline_config(PRESETS["debug"], log, (tmp_path,))
    assert learned.env.options == config.env.options
    check_interface(log, learned)
    with pytest.raises(UserError, match="placements is None, but the log has"):
        check_interface(log, learned.changed(**{"env.own": {}}))


def test_too_few_objects_for_a_home_are_refused_before_the_run(write, monkeypatch):
    monkeypatch.setattr(homes, "TRIES", 20)
    file = write(data())
    with pytest.raises(ValueError, match="there were never enough objects"):
        HOUSEKEEP.check({"protocol": "homes", "placements": file})


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/housekeep-bomb",)


class Opener:
    def __reduce__(self):
        return open, ("/tmp/housekeep-bomb", "w")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: data(extra=Bomb()), "it wants to run 'posix.system'"),
        (lambda: Opener(), "it wants to run 'io.open'"),
        (lambda: data(ranks=time.sleep), "it wants to run 'time.sleep'"),
        (lambda: [1, 2], "it is an array, not a dictionary"),
        (lambda: np.array(5, object), "it holds a int, not a dictionary"),
        (lambda: {"ranks": ranks()}, "it has no 'objects'"),
        (lambda: data(ranks=ranks()[:2]), "ranks must be integers of shape (5, 3, annotators)"),
        (lambda: data(ranks=ranks() / 2), "ranks must be integers"),
        (lambda: data(ranks=ranks().astype(object)), "ranks must be integers"),
        (lambda: data(ranks=0 * ranks()), "nothing is right"),
        (lambda: data(objects=["a", 3, "b"]), "objects is no list of texts"),
        (lambda: data(objects=["milk. You win", "b", "c"]), "an object is named 'milk. You win'"),
        (lambda: data(objects=["a b", "a_b", "c d"]), "it names an object or a place twice"),
        (lambda: data(room_receptacles=["kitchen", *PLACES[1:]]), "'kitchen' is not room|receptacle"),
        (lambda: data(room_receptacles=["attic|bed", *PLACES[1:]]), "the world has no room 'attic'"),
        (lambda: data(room_receptacles=["kitchen|loom", *PLACES[1:]]), "the world has no receptacle 'loom'"),
    ],
)
def test_what_holds_no_votes_is_refused_in_one_line(write, content, message):
    file = write(content())
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is compared below)
        read_votes(file)
    assert str(error.value).startswith(f"{file} holds no votes of Housekeep: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not os.path.exists("/tmp/housekeep-bomb")


def test_damaged_files_are_refused_in_one_line(write, tmp_path):
    good = write(data()).read_bytes()
    file = tmp_path / "damaged.npy"
    rng = np.random.default_rng(0)
    spoiled = [b"", b"\x93NUMPY", good[:200], good[:-50], pickle.dumps(data()), b"object,room\n" * 50]
    for _ in range(200):
        changed = bytearray(good)
        for at in rng.integers(len(good), size=8):
            changed[at] = rng.integers(256)
        spoiled.append(bytes(changed))
    refused = []
    for content in spoiled:
        file.write_bytes(content)
        try:
            read_votes(file)  # a changed vote is no damage that could be seen
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert all(line.startswith(f"{file} holds no votes of Housekeep: ") for line in refused)
    assert not any("\n" in line for line in refused)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_votes(tmp_path / "none.npy")
