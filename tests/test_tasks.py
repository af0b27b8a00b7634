"""Downstream tasks: what solves each and what only comes close, what is paid and shown, and the environments that pose them."""

from __future__ import annotations

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from crafter import constants
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import DummyVecEnv

from ellm_agent.config import Config, EnvironmentConfig, GoalConfig
from ellm_agent.exploration import GoalExploration
from ellm_agent.goals import FixedGoals, TaskGoals
from ellm_agent.phrases import PhraseTable
from ellm_agent.training import make_exploration
from envs.captions import describe_transition
from envs.compiled import CompiledCrafter
from envs.crafter_text import CrafterTextEnv
from envs.tasks import Progress, Task, tasks
from tests.lockstep import assert_same_world, endow
from tests.processes import ROOT
from tests.states import K, make_state
from tests.test_compiled import set_cell

TASKS = tasks().by_name
COUNTERS = {phrase: name for name, phrase in K.phrase_of.items()}
SPECIAL = [name for name in TASKS if name not in K.goals]


def transition(*events, **after):
    """A frame in which such events come about, as two states; the rest of the second one is told."""
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


def play(name, *frames, pays="last", length=400):
    """Rewards of frames, each given as its events; how far the episode has come."""
    progress = Progress(TASKS[name], pays, length)
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
        # Steps that are only shown need not have happened.
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


# --- what is paid and shown -----------------------------------------------------------------------------------------

TREE, TABLE, PICK = ["chop tree"], ["place crafting table"], ["make wood pickaxe"]


def test_last_pays_once_and_each_pays_the_steps_too():
    """Frames of "mine stone", whose steps are chop tree, place crafting table, make wood pickaxe."""
    frames = [TREE, TREE, ["drink water"], PICK, TABLE, [], PICK, TREE, ["mine stone"]]
    rewards, progress = play("mine stone", *frames)
    assert rewards == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert progress.over
    rewards, _ = play("mine stone", *frames, pays="each")
    # The second tree and the pickaxe before the table are not the step shown.
    assert rewards == [1, 0, 0, 0, 1, 0, 1, 0, 1]


def test_the_step_shown_moves_on():
    shown = []
    progress = Progress(TASKS["mine stone"], "last", 400)
    for events in (TREE, TREE, TABLE, PICK, TREE):
        shown.append(progress.shown)
        progress.advance(events, make_state, True, False)
    tree, table, pick = TASKS["mine stone"].after
    assert shown == [tree, table, table, pick, "mine stone"]
    assert progress.shown == "mine stone"
    assert not progress.solved


def test_a_step_counts_again_where_it_is_listed_again():
    rewards, progress = play("deforestation", *[TREE] * 5, pays="each")
    assert rewards == [1, 1, 1, 1, 1]
    assert progress.solved
    rewards, progress = play("place plant", ["chop grass"], ["chop grass"], ["chop grass"], pays="each")
    assert rewards == [1, 0, 0]
    # "plant row" asks for a sapling, a plant, and a second sapling.
    frames = [["chop grass"], ["chop grass"], ["place plant"], ["chop grass"], ["chop grass"]]
    rewards, progress = play("plant row", *frames, pays="each")
    assert rewards == [1, 0, 1, 1, 0]
    assert progress.shown == "plant row"


def test_two_events_in_a_frame():
    """A frame passes one step at most, and the task goes before its steps."""
    rewards, progress = play("mine stone", [*TREE, *TABLE], pays="each")
    assert rewards == [1]
    assert progress.shown == "place crafting table"
    rewards, progress = play("mine stone", [*TREE, "mine stone"], pays="each")
    assert rewards == [1]
    assert progress.over
    # In order: the drink is a step of this frame; the sapling of the same frame does not come after it.
    rewards, progress = play("vegetarianism", ["drink water", "chop grass"], ["chop grass"], pays="each")
    assert rewards == [1, 1]
    assert progress.solved


def test_a_new_episode_starts_from_nothing():
    _, progress = play("gardening", ["chop grass"], TREE, ["place plant"])
    assert progress.over
    progress.start()
    assert (progress.shown, progress.solved, progress.over) == ("chop grass", False, False)
    assert progress.advance(["place plant"], make_state, True, False) == 0
    assert not progress.solved


def test_the_state_is_only_looked_at_if_it_matters():
    def never():
        raise AssertionError("nobody has to know the state")

    assert Progress(TASKS["chop tree"], "last", 400).advance(TREE, never, True, False) == 1
    assert Progress(TASKS["plant row"], "last", 400).advance(["chop grass"], never, True, False) == 0


# --- environments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_a_registered_environment(name):
    env = gym.make(f"ellm/{''.join(word.capitalize() for word in name.split())}-v0").unwrapped
    task = TASKS[name]
    assert isinstance(env, CrafterTextEnv)
    assert env.task is task
    assert env.episode_length == 400
    assert task.spec in type(env).__doc__
    assert all(step in type(env).__doc__ for step in task.after)
    assert ("must happen first" in type(env).__doc__) == task.in_order
    assert env.reset(seed=0)[1]["situation"].task == task.steps[0]


@pytest.mark.parametrize("name", ["PlantRow", "WorkAndSleep", "Survival"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_checkers_pass(name):
    env = gym.make(f"ellm/{name}-v0", render_mode="rgb_array", pays="each", protocol="ellm")
    check_env(env.unwrapped)
    sb3_check_env(env.unwrapped)


def test_environments_cross_process_borders():
    """SB3's SubprocVecEnv sends classes to its workers."""
    cls = type(gym.make("ellm/PlantRow-v0").unwrapped)
    assert pickle.loads(pickle.dumps(cls)) is cls  # noqa: S301 (our own bytes)
    assert cls(episode_length=9).episode_length == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "plant rows"}, "^task is 'plant rows'; choose one of chop tree, .*, survival$"),
        ({"task": "PlantRow"}, "^task is 'PlantRow'; choose one of "),
        ({"task": "plant row", "pays": "all"}, "^pays is 'all'; choose one of last, each$"),
        ({"pays": "first"}, "^pays is 'first'; choose one of last, each$"),
        ({"task": "plant row", "episode_length": 0}, "^episode_length is 0; it must be at least 1 frame$"),
    ],
)
@pytest.mark.parametrize("backend", [CrafterTextEnv, lambda **arguments: CompiledCrafter(1, **arguments)])
def test_bad_arguments_are_named_in_one_line(backend, arguments, message):
    with pytest.raises(ValueError, match=message):
        backend(**arguments)


def test_a_task_lasts_400_frames_unless_told_otherwise():
    for protocol in ("crafter", "ellm"):
        assert CrafterTextEnv(protocol, task="mine coal").episode_length == 400
        assert CrafterTextEnv(protocol, task="mine coal", episode_length=77).episode_length == 77
    assert CrafterTextEnv("crafter").episode_length == 10_000
    assert CompiledCrafter(1, task="mine coal").episode_length == 400


class Both:
    """The same world in both backends, which must tell the same at every frame."""

    def __init__(self, **arguments):
        self.theirs, self.ours = CrafterTextEnv(**arguments), CompiledCrafter(1, **arguments)
        _, info = self.theirs.reset(options={"world_seed": 4})
        self.ours.set_options({"world_seed": 4})
        self.ours.reset()
        assert self.ours.reset_infos[0] == info
        for dx in range(-4, 5):  # a meadow: nothing interferes
            for dy in range(-4, 5):
                if (dx, dy) != (0, 0):
                    set_cell(self.theirs, self.ours, dx, dy, "grass")
        self.see()

    def see(self):
        """Looks again at what the test has changed."""
        self.theirs._state = self.theirs._game.state()
        self.ours._look(0)

    def give(self, **items):
        endow(self.theirs._game, self.ours._worlds[0], items)
        self.see()

    def put(self, thing, dx=0, dy=1):
        set_cell(self.theirs, self.ours, dx, dy, thing)
        self.see()

    def act(self, *names):
        """Plays actions; reward, terminated, truncated and info of the last frame."""
        for name in names:
            index = constants.actions.index(name)
            _, reward, terminated, truncated, info = self.theirs.step(index)
            _, rewards, dones, (ours,) = self.ours.step(np.array([index]))
            assert rewards[0] == np.float32(reward)
            assert dones[0] == (terminated or truncated)
            assert ours["TimeLimit.truncated"] == truncated
            assert {key: ours.get(key) for key in info} == info
            assert set(ours) - set(info) <= {"TimeLimit.truncated", "terminal_observation"}
            if not dones[0]:
                assert_same_world(self.theirs._game, self.ours._worlds[0])
        return reward, terminated, truncated, info


AROUND = ["move_left", "move_down", "move_down", "move_down", "move_up"]  # to face the cell west of the first


@pytest.mark.parametrize(
    ("name", "item", "action"),
    [("plant row", "sapling", "place_plant"), ("make workshop", "wood", "place_table")],
)
def test_a_row_is_built_in_the_real_game(name, item, action):
    both = Both(task=name)
    both.give(**{item: 9})
    reward, terminated, _, info = both.act(action)
    assert (reward, terminated, info["events"]) == (0, False, (TASKS[name].goal,))
    reward, terminated, _, info = both.act("move_left", action)  # facing west: two columns away
    assert (reward, terminated, info["events"]) == (0, False, (TASKS[name].goal,))
    both = Both(task=name)
    both.give(**{item: 9})
    both.act(action, *AROUND)
    reward, terminated, truncated, info = both.act(action)
    assert (reward, terminated, truncated) == (1, True, False)
    assert info["success"] is True
    assert info["events"] == (TASKS[name].goal,)


def test_an_episode_ends_when_it_is_solved_and_says_so_then_only():
    both = Both(task="deforestation", pays="each", episode_length=50)
    for chops in range(1, 5):
        both.put("tree")  # one that is chopped is gone
        reward, terminated, truncated, info = both.act("do")
        assert (reward, terminated, truncated) == (1, False, False)
        assert set(info) == {"situation", "world_seed", "events", "attempt"}
        assert info["situation"].task == ("chop tree" if chops < 4 else "deforestation")
        assert both.act("noop")[0] == 0
    both.put("tree")
    reward, terminated, truncated, info = both.act("do")
    assert (reward, terminated, truncated) == (1, True, False)
    assert info["success"] is True
    assert info["unlocked"] == ("collect_wood",)
    assert info["situation"].task == "deforestation"
    assert both.ours.reset_infos[0]["situation"].task == "chop tree"  # the next episode


def test_the_games_own_reward_is_not_paid():
    """A first achievement, and lost health, are worth nothing to another task."""
    both = Both(task="make iron sword")
    both.put("tree")
    reward, _, _, info = both.act("do")
    assert info["events"] == ("chop tree",)
    assert reward == 0
    plain = CrafterTextEnv()
    plain.reset(options={"world_seed": 4})
    for env in (plain, both.theirs):
        env._game._player.health = 5
    assert plain.step(0)[1] == pytest.approx(-0.4)
    assert both.theirs.step(0)[1] == 0


def test_time_runs_out_on_a_task():
    both = Both(task="eat cow", episode_length=3)
    both.act("noop", "noop")
    reward, terminated, truncated, info = both.act("noop")
    assert (reward, terminated, truncated) == (0, False, True)
    assert info["success"] is False


@pytest.mark.parametrize("dies", [False, True])
def test_living_on_pays_in_every_frame(dies):
    both = Both(task="survival", episode_length=4)
    rewards = [both.act("noop")[0] for _ in range(3)]
    if dies:
        both.give(health=0)
    reward, terminated, truncated, info = both.act("noop")
    assert rewards == [0.25] * 3
    assert (reward, terminated, truncated) == ((0, True, False) if dies else (0.25, False, True))
    assert info["success"] is not dies


def both_backends(n_envs, **arguments):
    """Worlds of the package, and the compiled ones."""
    return DummyVecEnv([lambda: CrafterTextEnv(**arguments)] * n_envs), CompiledCrafter(n_envs, **arguments)


def busy(rng, n, last):
    """Actions that go on as before, mostly: they reach trees, water and cows, and act on them."""
    drawn = rng.choice([1, 2, 3, 4, 5, 5, 6, 7, 8, 10], size=n)
    return np.where(rng.random(n) < 0.4, drawn, last)


@pytest.mark.parametrize("pays", ["last", "each"])
@pytest.mark.parametrize("name", ["work and sleep", "place plant", "survival"])
def test_backends_are_equal_over_episodes(name, pays):
    theirs, ours = both_backends(4, task=name, pays=pays, episode_length=80)
    for worlds in (theirs, ours):
        worlds.seed(5)
    assert (theirs.reset() == ours.reset()).all()
    rng, actions = np.random.default_rng(1), np.zeros(4, int)
    shown, successes, paid = set(), [], 0.0
    for _ in range(170):
        actions = busy(rng, 4, actions)
        expected, got = theirs.step(actions), ours.step(actions)
        for a, b in zip(expected[:3], got[:3], strict=True):
            assert (a == b).all()
            assert a.dtype == b.dtype
        paid += float(got[1].sum())
        for a, b, done in zip(expected[3], got[3], expected[2], strict=True):
            assert ("success" in a) == done
            if done:
                assert (a.pop("terminal_observation") == b.pop("terminal_observation")).all()
                successes.append(a["success"])
            assert a == b
            shown.add(a["situation"].task)
        assert theirs.reset_infos == ours.reset_infos
    assert paid > 0
    assert len(successes) >= 8
    assert set(successes) == ({True} if name == "survival" else {True, False})  # who dies: see above
    if name != "survival":
        assert shown >= set(TASKS[name].after)


@pytest.mark.parametrize("pays", ["last", "each"])
def test_either_backend_takes_up_a_task_under_way(pays):
    arguments = {"task": "deforestation", "pays": pays, "episode_length": 60}
    first = CompiledCrafter(2, **arguments)
    first.seed(3)
    first.reset()
    # Real actions alone lead there: what a test puts into a world is not played again.
    rng, actions, steps = np.random.default_rng(0), np.zeros(2, int), [0, 0]
    while max(steps) < 2:
        actions = busy(rng, 2, actions)
        first.step(actions)
        steps = [progress.step for progress in first._progress]
    state = json.loads(json.dumps(first.env_method("episode")))
    others = both_backends(2, **arguments)
    for other in others:
        other.seed(99)
        other.reset()
        other.step(actions)
        for i, episode in enumerate(state):
            ((_, info),) = other.env_method("take_up", episode, indices=i)
            assert info["situation"].task == ("chop tree" if steps[i] < 4 else "deforestation")
            assert info["situation"].task == first._progress[i].shown
    assert [env.progress.step for env in others[0].envs] == steps
    assert [progress.step for progress in others[1]._progress] == steps
    ended = 0
    for _ in range(80):
        actions = busy(rng, 2, actions)
        wanted = first.step(actions)
        for other in others:
            found = other.step(actions)
            for a, b in zip(wanted[:3], found[:3], strict=True):
                assert a.tolist() == b.tolist()
            for a, b in zip(wanted[3], found[3], strict=True):
                assert (a["situation"], a["events"]) == (b["situation"], b["events"])
                assert a.get("success") == b.get("success")
        ended += int(wanted[2].sum())
    assert ended


@pytest.mark.parametrize("backend", ["compiled", "package"])
def test_a_task_that_was_solved_on_the_way_is_no_episode_under_way(backend):
    theirs, ours = both_backends(1, task="chop grass")
    worlds = ours if backend == "compiled" else theirs
    worlds.set_options({"world_seed": 4})
    worlds.reset()
    (start,) = worlds.env_method("episode")
    swing = constants.actions.index("do")
    swings, done = 0, False
    while not done:  # each finds a sapling with a chance of 1 in 10
        _, rewards, (done,), infos = worlds.step(np.array([swing]))
        swings += 1
    assert (rewards[0], infos[0]["success"]) == (1, True)
    assert swings > 1
    worlds.env_method("take_up", start | {"actions": [swing] * (swings - 1)}, indices=0)
    for more in (0, 1):
        with pytest.raises(ValueError, match="ended before"):
            worlds.env_method("take_up", start | {"actions": [swing] * (swings + more)}, indices=0)


# --- goals that are shown -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phrases():
    """Real SentenceBERT vectors."""
    return PhraseTable()


def one_world(suggester, phrases, task=None, pays="last", weight=1.0, mode="task") -> GoalExploration:
    """One real world of the package; the agent reads its goals."""
    config = Config(
        environment=EnvironmentConfig(backend="package", n_envs=1, task=task, pays=pays),
        goals=GoalConfig(goal_mode=mode, extrinsic_weight=weight, goal_conditioned=True),
    )
    worlds = make_exploration(config, suggester, phrases, 1)
    worlds.seed(4)
    worlds.reset()
    return worlds


def reads(worlds, row, field):
    return [worlds.phrases.text(i) for i in row[worlds.fields[field]] if i]


def chop(worlds):
    """Chops a tree that has come up in front of the player: what the agent reads next, its reward, done, info."""
    env = worlds.venv.envs[0]
    player = env._game._player
    env._game._world[player.pos[0] + player.facing[0], player.pos[1] + player.facing[1]] = "tree"
    env._state = env._game.state()
    observations, rewards, dones, infos = worlds.step(np.array([constants.actions.index("do")]))
    return observations[0], float(rewards[0]), bool(dones[0]), infos[0]


@pytest.mark.parametrize(("pays", "steps"), [("each", [1.0] * 5), ("last", [0.0] * 4 + [1.0])])
def test_the_environment_pays_for_what_is_shown(phrases, pays, steps):
    worlds = one_world(TaskGoals(), phrases, task="deforestation", pays=pays)
    rewards, shown = [], []
    for _ in range(5):
        observation, reward, done, info = chop(worlds)
        rewards.append(reward)
        read = info["terminal_observation"] if done else observation
        shown += reads(worlds, read, "goals")
        assert reads(worlds, read, "done") == ["achieved: chop tree"]  # seen, though nobody paid for it
        assert info["log"].payment.reward == 0
        assert info["log"].payment.goals == ()
        # What was shown before stays open: the event does not close it.
        assert worlds.open_before(info["log"]) == info["log"].goals
    assert rewards == steps
    assert shown == ["goal: chop tree"] * 3 + ["goal: deforestation"] * 2
    assert done
    finished = info["finished"]
    assert (finished.intrinsic_return, finished.extrinsic_return) == (0, sum(steps))
    assert finished.success is True
    assert finished.row()["success"] is True
    assert info["episode"] == {"r": sum(steps), "l": 5}
    assert reads(worlds, observation, "goals") == ["goal: chop tree"]  # the next episode
    assert reads(worlds, observation, "done") == []
    assert dict(worlds.counts.rewarded) == {}


def test_a_goal_that_somebody_names_is_paid_once_and_closed(phrases):
    worlds = one_world(FixedGoals(("chop tree",)), phrases, weight=0.0, mode="oracle")
    observation, reward, _, info = chop(worlds)
    assert reward == pytest.approx(1.0, abs=1e-3)
    assert info["log"].payment.goals == ("chop tree",)
    assert reads(worlds, observation, "goals") == []
    observation, reward, _, info = chop(worlds)
    assert info["events"] == ("chop tree",)
    assert reward == 0
    assert worlds.goals == [("chop tree",)]  # suggested in every state, but closed
    assert worlds.open == [()]


def test_without_a_task_there_is_nothing_to_show(phrases):
    worlds = one_world(TaskGoals(), phrases)
    observation, reward, _, info = chop(worlds)
    assert worlds.goals == [()]
    assert reads(worlds, observation, "goals") == []
    assert reward == 1.0  # the game's own
    assert "success" not in info


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
        told = [task.spec, steps, "yes" if task.in_order else "no"] if name in SPECIAL else [steps]
        assert rows[name] == told


def test_tasks_are_read_from_one_file():
    assert tasks() is tasks()
    assert isinstance(TASKS["plant row"], Task)
    with pytest.raises(TypeError):
        TASKS["plant row"] = None
