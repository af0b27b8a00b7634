"""Downstream tasks: what solves each and what only comes close, their rewards and instructions."""

from __future__ import annotations

import pytest

from envs.crafter.captions import describe_transition
from envs.crafter.tasks import Progress, Task, tasks
from tests.helpers.processes import ROOT
from tests.helpers.states import K, make_state

TASKS = tasks().by_name
COUNTERS = {phrase: name for name, phrase in K.phrase_of.items()}
SPECIAL = [name for name in TASKS if name not in K.goals]


def transition(*events, **after):
    """A frame in which such events come about, as two states; the rest of the second one is given."""
    was = dict.fromkeys(K.achievements, 2)
    now = was | {COUNTERS[event]: 3 for event in events if event != "sleep"}
    return make_state(counts=was), make_state(counts=now, asleep="sleep" in events, **after)


def happened(task, before, after):
    """Whether a task's goal came about between two states."""
    return task.fulfilled(describe_transition(before, after), lambda: after)


# --- what solves a task ---------------------------------------------------------------------------------------------


def test_every_goal_of_the_game_is_a_task_and_eight_are_more():
    assert len(K.goals) == 23
    assert set(K.goals) <= set(TASKS)
    assert SPECIAL == [
        "plant row", "make workshop", "chop grass with wood pickaxe", "deforestation", "gardening", "vegetarianism",
        "work and sleep", "survival",
    ]  # fmt: skip
    for task in TASKS.values():
        assert set(task.after) <= set(K.goals), task
        assert task.holding in (None, *K.items), task
        assert task.beside in (None, *K.things), task


@pytest.mark.parametrize("goal", K.goals)
def test_an_achievement_is_solved_by_its_own_event_alone(goal):
    task = TASKS[goal]
    assert happened(task, *transition(goal))
    before, after = transition(goal)
    assert not happened(task, after, before)
    assert not happened(task, after, after)  # it has happened, but not now
    for other in K.goals:
        assert happened(task, *transition(other)) == (other == goal), other
    assert not happened(task, *transition(*(other for other in K.goals if other != goal)))


@pytest.mark.parametrize(
    (
        "other",
        "cell",
        "solved",
    ),  # what else stands where, from a player who has just placed something to the south
    [
        ("the same", (1, 1), True),
        ("the same", (-1, 1), True),
        ("the same", (0, 2), True),
        ("the same", (1, 2), False),  # diagonally
        ("the same", (-1, 0), False),  # diagonally, and beside the player
        ("the same", (0, 3), False),  # two cells away
        ("the same", (2, 1), False),
        ("the same", (0, -1), False),  # behind the player
        ("furnace", (1, 1), False),
        ("tree", (1, 1), False),
        ("the other", (1, 1), False),
    ],
)
@pytest.mark.parametrize(
    ("name", "thing", "unlike"),
    [("plant row", "plant", "crafting table"), ("make workshop", "crafting table", "plant")],
)
def test_a_row_is_two_side_by_side(name, thing, unlike, other, cell, solved):
    other = {"the same": thing, "the other": unlike}.get(other, other)
    task, things = TASKS[name], {(0, 1): thing, cell: other}
    assert happened(task, *transition(task.goal, things=things)) == solved
    assert not happened(task, *transition(f"place {unlike}", things=things))
    assert not happened(task, *transition(things=things))  # it stood there before


def test_a_row_may_have_a_ripe_plant_and_point_anywhere():
    row = TASKS["plant row"]
    assert happened(row, *transition("place plant", things={(0, 1): "plant", (0, 2): "ripe plant"}))
    west = {"things": {(-1, 0): "plant", (-1, -1): "plant"}, "facing": (-1, 0)}
    assert happened(row, *transition("place plant", **west))
    assert not happened(row, *transition("place plant", **{**west, "facing": (1, 0)}))
    assert not happened(row, *transition("place plant", things={(0, 1): "plant"}))


@pytest.mark.parametrize(
    ("event", "held", "solved"),
    [
        ("chop grass", {"wood_pickaxe": 1}, True),
        ("chop grass", {"wood_pickaxe": 2, "iron_sword": 1}, True),
        ("chop grass", {}, False),
        ("chop grass", {"stone_pickaxe": 1}, False),
        ("chop grass", {"wood": 9, "wood_sword": 1}, False),
        ("chop tree", {"wood_pickaxe": 1}, False),
    ],
)
def test_what_is_held_decides(event, held, solved):
    task = TASKS["chop grass with wood pickaxe"]
    assert happened(task, *transition(event, inventory=held)) == solved


def play(name, *frames, reward="last", length=400):
    """Rewards of frames, each given as its events; how far the episode has come."""
    progress = Progress(TASKS[name], reward, length)
    state = make_state(inventory={"wood_pickaxe": 1})
    rewards = [progress.advance(tuple(events), lambda: state, True, False) for events in frames]
    return rewards, progress


@pytest.mark.parametrize(
    ("name", "events", "solved_at"),  # one event a frame; the frame that solves it, from 1
    [
        ("deforestation", ["chop tree"] * 5, 5),
        ("deforestation", ["chop tree"] * 4, None),
        ("deforestation", ["chop tree"] * 4 + ["chop grass", "place crafting table"], None),
        ("deforestation", ["chop tree", "drink water"] * 5, 9),
        ("gardening", ["chop grass", "chop tree", "place plant"], 3),
        ("gardening", ["chop grass", "sleep", "chop tree", "wake up", "place plant"], 5),
        ("gardening", ["chop tree", "chop grass", "place plant"], None),
        ("gardening", ["chop grass", "place plant", "chop tree"], None),
        ("gardening", ["chop tree", "chop grass", "place plant", "chop tree", "place plant"], 5),
        ("vegetarianism", ["drink water", "chop grass"], 2),
        ("vegetarianism", ["chop grass", "drink water"], None),
        ("vegetarianism", ["chop grass"] * 3, None),
        ("vegetarianism", ["chop grass", "drink water", "eat cow", "chop grass"], 4),
        ("work and sleep", ["chop tree", "sleep", "place crafting table"], 3),
        ("work and sleep", ["sleep", "chop tree", "place crafting table"], None),
        ("work and sleep", ["chop tree", "place crafting table", "sleep"], None),
        ("work and sleep", ["sleep", "chop tree", "wake up", "place crafting table"], None),
        ("work and sleep", ["chop tree", "sleep", "wake up", "place crafting table"], 4),
        # Steps that are only instructions need not have happened.
        ("mine diamond", ["mine diamond"], 1),
        ("eat plant", ["eat plant"], 1),
        ("chop grass with wood pickaxe", ["chop grass"], 1),
    ],
)
def test_the_order_decides_where_it_is_to(name, events, solved_at):
    rewards, progress = play(name, *([event] for event in events))
    assert [i for i, reward in enumerate(rewards, 1) if reward] == ([solved_at] if solved_at else [])
    assert progress.solved == progress.over == (solved_at is not None)


@pytest.mark.parametrize("length", [400, 7])
def test_survival_is_living_to_the_end(length):
    def live(dies_in=None):
        progress = Progress(TASKS["survival"], "last", length)
        frames = [(frame != dies_in, frame == length) for frame in range(1, (dies_in or length) + 1)]
        return [progress.advance(("eat cow",), make_state, *frame) for frame in frames], progress

    rewards, progress = live()
    assert rewards == [1 / length] * length
    assert sum(rewards) == pytest.approx(1)
    assert progress.solved
    assert not progress.over  # time is up: a truncation, not a termination
    rewards, progress = live(dies_in=5)
    assert rewards == [1 / length] * 4 + [0]
    assert not progress.solved
    rewards, progress = live(dies_in=length)  # in the very last frame
    assert rewards[-1] == 0
    assert not progress.solved


# --- rewards and instructions -----------------------------------------------------------------------------------------

TREE, TABLE, PICK = ["chop tree"], ["place crafting table"], ["make wood pickaxe"]


def test_last_rewards_once_and_each_rewards_the_steps_too():
    """Frames of "mine stone", whose steps are chop tree, place crafting table, make wood pickaxe."""
    frames = [TREE, TREE, ["drink water"], PICK, TABLE, [], PICK, TREE, ["mine stone"]]
    rewards, progress = play("mine stone", *frames)
    assert rewards == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert progress.over
    rewards, _ = play("mine stone", *frames, reward="each")
    # The second tree and the pickaxe before the table are not the present step.
    assert rewards == [1, 0, 0, 0, 1, 0, 1, 0, 1]


def test_the_instruction_moves_on():
    shown = []
    progress = Progress(TASKS["mine stone"], "last", 400)
    for events in (TREE, TREE, TABLE, PICK, TREE):
        shown.append(progress.instruction)
        progress.advance(events, make_state, True, False)
    tree, table, pick = TASKS["mine stone"].after
    assert shown == [tree, table, table, pick, "mine stone"]
    assert progress.instruction == "mine stone"
    assert not progress.solved


def test_a_step_counts_again_where_it_is_listed_again():
    rewards, progress = play("deforestation", *[TREE] * 5, reward="each")
    assert rewards == [1, 1, 1, 1, 1]
    assert progress.solved
    rewards, progress = play("place plant", ["chop grass"], ["chop grass"], ["chop grass"], reward="each")
    assert rewards == [1, 0, 0]
    # "plant row" asks for a sapling, a plant, and a second sapling.
    frames = [["chop grass"], ["chop grass"], ["place plant"], ["chop grass"], ["chop grass"]]
    rewards, progress = play("plant row", *frames, reward="each")
    assert rewards == [1, 0, 1, 1, 0]
    assert progress.instruction == "plant row"


def test_two_events_in_a_frame():
    """A frame passes one step at most, and the task goes before its steps."""
    rewards, progress = play("mine stone", [*TREE, *TABLE], reward="each")
    assert rewards == [1]
    assert progress.instruction == "place crafting table"
    rewards, progress = play("mine stone", [*TREE, "mine stone"], reward="each")
    assert rewards == [1]
    assert progress.over
    # In order: the drink is a step of this frame; the sapling of the same frame does not come after it.
    rewards, progress = play("vegetarianism", ["drink water", "chop grass"], ["chop grass"], reward="each")
    assert rewards == [1, 1]
    assert progress.solved


def test_a_new_episode_starts_from_nothing():
    _, progress = play("gardening", ["chop grass"], TREE, ["place plant"])
    assert progress.over
    progress.start()
    assert (progress.instruction, progress.solved, progress.over) == ("chop grass", False, False)
    assert progress.advance(["place plant"], make_state, True, False) == 0
    assert not progress.solved


def test_the_state_is_only_looked_at_if_it_matters():
    def never():
        raise AssertionError("nobody has to know the state")

    assert Progress(TASKS["chop tree"], "last", 400).advance(TREE, never, True, False) == 1
    assert Progress(TASKS["plant row"], "last", 400).advance(["chop grass"], never, True, False) == 0


# --- documentation ------------------------------------------------------------------------------------------


def test_the_documented_table_is_that_of_the_tasks():
    """Name, what solves it, steps, and whether they are demanded in order."""
    rows = {}
    for line in (ROOT / "docs" / "tasks.md").read_text().splitlines():
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if name in TASKS:
            rows[name] = cells
    assert list(rows) == list(TASKS)
    for name, task in TASKS.items():
        steps = ", ".join(task.after) or "–"
        row = [task.spec, steps, "yes" if task.in_order else "no"] if name in SPECIAL else [steps]
        assert rows[name] == row


def test_tasks_are_read_from_one_file():
    assert tasks() is tasks()
    assert isinstance(TASKS["plant row"], Task)
    with pytest.raises(TypeError):
        TASKS["plant row"] = None
