"""What belongs where: the file's size, its errors, and how it agrees with a blind second labelling."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from ellm_agent.analysis.agreement import cohens_kappa
from envs.housekeep.placements import STANDARD, Place, placements, read_placements
from experiments.placement_agreement import read_labels

DATA = yaml.safe_load(STANDARD.read_text(encoding="utf-8"))


def test_the_file_is_large_enough():
    known = placements()
    assert len(known.objects) >= 150
    assert len(known.rooms) >= 15
    assert len({place.receptacle for place in known.places}) >= 30
    assert 0.3 < known.held_out.mean() < 0.5
    assert not (known.right & known.wrong).any()
    assert known.right.any(axis=1).all()
    assert known.wrong.any(axis=1).all()
    for category in set(
        known.category
    ):  # training objects in each category, so that held-out ones have relatives
        assert any(c == category and not out for c, out in zip(known.category, known.held_out, strict=True))


def test_rules_are_expanded():
    known = placements()

    def right(thing, room, receptacle):
        return bool(known.right[known.objects.index(thing), known.places.index(Place(room, receptacle))])

    assert right("milk", "kitchen", "fridge")
    assert not right("milk", "kitchen", "sink")
    assert right("coat", "lobby", "coat rack")  # "any room"
    assert right("mug", "kitchen", "coffee machine")  # "also right"
    assert known.where(known.places.index(Place("kitchen", "fridge"))) == "in kitchen fridge"
    assert known.where(known.places.index(Place("living room", "sofa"))) == "on living room sofa"


def _drop(section):
    return lambda data: data.pop(section)


def _category(**parts):
    return lambda data: data["categories"]["fruit"].update(parts)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("rooms"), "the file must have exactly the entries"),
        (
            lambda data: data["rooms"].update(attic=["shelf", "chest"]),
            "room 'attic' needs at least 3 receptacles",
        ),
        (lambda data: data["rooms"].update(attic=["shelf", "chest", "loom"]), "unknown receptacle: 'loom'"),
        (lambda data: data["receptacles"].update(under=[]), "stand under 'under'; it must be 'in' or 'on'"),
        (_category(right={"attic": ["shelf"]}), "category 'fruit', right, names an unknown room: 'attic'"),
        (_category(right={"kitchen": ["bed"]}), "names 'bed', which does not stand in kitchen"),
        (_category(wrong=["seat"]), "category 'fruit' names an unknown group: 'seat'"),
        (_category(train=["apple", "apple"]), "object 'apple' is listed twice"),
        (_category(train=["Apple, red"]), "names 'Apple, red'; a name is lower-case words"),
        (_category(right={}), "object 'apple' needs at least one right and one wrong place"),
        (_category(colour="red"), "category 'fruit' must have exactly the entries"),
        (lambda data: data["also right"].update(unicorn={}), "also right names an unknown object: 'unicorn'"),
        (lambda data: data.update(groups=[]), "groups must be a mapping from names"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, spoil, message):
    data = copy.deepcopy(DATA)
    spoil(data)
    file = tmp_path / "placements.yaml"
    file.write_text(json.dumps(data), encoding="utf-8")  # which is YAML, too
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is compared below)
        read_placements(file)
    assert message in str(error.value)
    assert str(error.value).endswith(f"(in {file})")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["a: [", "- just\n- a list\n", "text", ""])
def test_other_files_are_refused_in_one_line(tmp_path, content):
    file = tmp_path / "placements.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError) as error:  # noqa: PT011
        read_placements(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_blind_second_labelling_agrees():
    """300 pairs, labelled one by one before anything was compared (docs/housekeep.md)."""
    pairs = read_labels(Path(__file__).with_name("blind_labels.csv"))
    known = placements()
    assert len(pairs) == 300
    file = [known.right[known.objects.index(o), known.places.index(place)] for o, place, _ in pairs]
    assert cohens_kappa(file, [belongs for *_, belongs in pairs]) >= 0.8
