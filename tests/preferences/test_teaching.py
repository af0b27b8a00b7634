"""The loop around an agent: what is asked when, that a resumed run is the same run, and a replay with new rewards."""

import json
import shutil

import numpy as np
import pytest
import torch

from ellm_agent.build import build, make_suggester
from ellm_agent.config import PRESETS
from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.preferences.command import taught_config
from ellm_agent.preferences.judges import SyntheticJudge
from ellm_agent.preferences.labels import LABELS
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.training import train
from envs import registry
from tests.preferences.tiny import configure, play

LOGS = {"agent__algo": "bc", "agent__offline__data": ("runs/x",), "agent__goal_conditioned": False}
pytestmark = pytest.mark.usefixtures("tiny_world")


def choices(run):
    rows = map(json.loads, (run.folder / LABELS).read_text().splitlines())
    return [
        (row["choice"], *((row[s]["world_seed"], *row[s]["actions"]) for s in ("left", "right")))
        for row in rows
    ]


def leaves(state):
    """The tensors and numbers in nested dictionaries and lists."""
    if isinstance(state, dict | list | tuple):
        for part in state.values() if isinstance(state, dict) else state:
            yield from leaves(part)
    else:
        yield state


@pytest.mark.parametrize("algo", ["ppo", "dqn"])
def test_a_run_that_is_killed_and_resumed_is_the_same_run(tmp_path, algo):
    """Killed after its second checkpoint: labels given since then are on the disk, and are not asked for again."""
    straight = Run.create(configure(tmp_path / "straight", agent__algo=algo))
    play(straight)
    killed = Run(shutil.copytree(straight.folder, tmp_path / "killed"), straight.config)
    sorted(killed.checkpoints.glob("*.pt"))[1].unlink()
    path, state = checkpoints.latest(killed.checkpoints)
    assert checkpoints.frames_of(path) < 400
    assert 0 < len(state["bonus"]["reward"]["asked"]) < 20
    play(killed, state)
    assert choices(killed) == choices(straight)
    pairs = {frozenset(pair) for _, *pair in choices(killed)}
    assert 15 < len(pairs) == len(choices(killed))  # no pair twice, and there are few different clips
    last = [checkpoints.latest(run.checkpoints)[1] for run in (straight, killed)]
    for state in last:
        state["counters"] = None  # seconds
    ours, theirs = (list(leaves(state)) for state in last)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_the_learned_reward_is_the_agents_reward(tmp_path):
    """The true reward is the same in each frame: nothing to prefer, but errors. Goals are rewarded with nothing."""
    run = Run.create(configure(tmp_path / "run"))
    parts = play(run).parts
    rows = run.read("metrics")
    assert (
        rows[-1]["preference/labels"] == rows[-1]["preference/comparisons"] > 15
    )  # ties are learned from, too
    assert parts.bonus.metrics()["preference/held_out_loss"] < 0.9
    assert any(episode["intrinsic_return"] for episode in run.read("episodes"))


def test_words_are_taught(tmp_path):
    """A judge who likes to be at frame 6: transitions to there are worth more than those that are never seen with it."""
    options = {"judge": "words", "words": "count 6", "errors": 0.0, "labels": 100}
    named = {f"reward__preference__{name}": value for name, value in options.items()}
    parts = play(Run.create(configure(tmp_path / "run", **named))).parts
    worlds = parts.worlds

    def value(count):
        rows = np.zeros((2, worlds.observation_space.shape[0]), np.int32)
        rows[:, 0] = worlds.phrases.ids([f"count {count - 1}", f"count {count}"])
        return parts.bonus.reward.score(rows[:1], rows[1:]).item()

    # Clips with frame 6 are 4 to 6 and 5 to 7; those without are 0 to 2 and 2 to 4.
    assert value(6) > 0.5 > max(value(count) for count in range(1, 5))


def test_a_replay_has_the_rewards_of_the_last_fit(tmp_path):
    """All of them, as if the model had never been another one."""
    parts = play(Run.create(configure(tmp_path / "run", agent__algo="dqn"))).parts
    replay, taught = parts.agent.replay_buffer, parts.bonus.reward
    filled = replay.size()
    slots = replay.observations.shape[-1]
    before, after = (
        part[:filled].reshape(-1, slots) for part in (replay.observations, replay.next_observations)
    )
    expected = 0.15 * taught.score(before, after)
    assert expected.std() > 0.01
    assert replay.rewards[:filled].reshape(-1) == pytest.approx(expected, abs=1e-4)


def test_a_run_goes_on_without_the_recordings_that_it_began_with(tmp_path):
    """Its clips are in the checkpoint."""
    first = Run.create(configure(tmp_path / "first", agent__algo="random", reward__preference__labels=0))
    for number, recording in enumerate(play(first).recordings):
        recording.save(first.replays / f"{number}.json")
    run = Run.create(configure(tmp_path / "run", reward__preference__recordings=first.folder))
    play(run)
    shutil.rmtree(first.folder)
    sorted(run.checkpoints.glob("*.pt"))[1].unlink()
    assert len(play(run, checkpoints.latest(run.checkpoints)[1]).recordings) == 2


def test_a_judge_is_closed_when_training_ends(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(SyntheticJudge, "close", lambda judge: closed.append(judge))
    play(Run.create(configure(tmp_path / "run", run__frames=50)))
    assert len(closed) == 1


def test_a_run_after_one_that_learned_from_logs_learns_by_playing(tmp_path):
    offline = configure(tmp_path, reward__preference__labels=0, agent__algo="cql", agent__goal_conditioned=False,
                        agent__offline__data=("runs/x",))  # fmt: skip
    assert taught_config(tmp_path, offline).agent.algo == "dqn"
    noisy = configure(tmp_path, reward__preference__labels=0, suggester__kind="noisy-oracle",
                      suggester__oracle_recall=0.6)  # fmt: skip
    assert taught_config(tmp_path, noisy).suggester.kind == "none"


class Down(LanguageModel):
    """Says "tie", but for some of its calls, counted from 1, in which the server is down."""

    name = description = "scripted"

    def __init__(self, down):
        self.down, self.calls = down, 0

    def answer(self, prompts):
        self.calls += 1
        failed = self.calls in self.down
        return [LanguageModelError("down", "timeout") if failed else Answer("tie") for _ in prompts]


def teach(run, model, checkpoint=None):
    suggester = make_suggester(run.config, registry.get("tiny").language())
    return train(build(run, suggester, checkpoint, model), run, checkpoint)


MODEL = {"reward__preference__judge": "model", "suggester__llm__kind": "endpoint"}
MODEL |= {"suggester__llm__base_url": "http://127.0.0.1:9/v1", "suggester__llm__model": "m"}


def test_a_judge_that_fails_for_a_while_is_asked_later(tmp_path, capsys):
    run, model = Run.create(configure(tmp_path / "run", **MODEL)), Down({1, 2, 4})
    teach(run, model)
    assert len(choices(run)) > 15
    assert capsys.readouterr().err.count("warning: down") == 2


def test_a_judge_whose_failure_ends_the_run_loses_nothing(tmp_path):
    """What was learned until then is in a checkpoint, from which the run goes on."""
    whole = Run.create(configure(tmp_path / "whole", **MODEL))
    teach(whole, Down(set()))
    run = Run.create(configure(tmp_path / "run", **MODEL, suggester__llm__on_failure="stop"))
    with pytest.raises(LanguageModelError, match="down"):
        teach(run, Down({4}))
    _, state = checkpoints.latest(run.checkpoints)
    labels = len(choices(run))
    assert 0 < labels == len(state["bonus"]["reward"]["asked"]) < 20
    teach(run, Down(set()), state)
    assert choices(run) == choices(whole)


def test_a_server_that_stays_down_is_asked_a_last_time_at_the_end(tmp_path):
    """After 98 % of the frames, however long the last pause would be; then no more."""
    run, model = Run.create(configure(tmp_path / "run", **MODEL)), Down(set(range(2, 1_000)))
    taught = teach(run, model).parts.bonus.reward
    assert 0 < len(choices(run)) < 20
    assert taught.state_dict()["pause"] == [64, 400]
    assert model.calls < 15


def test_a_policy_has_the_entropy_bonus_that_is_resolved(tmp_path):
    run = Run.create(configure(tmp_path / "run", agent__algo="ppo"))
    suggester = make_suggester(run.config, registry.get("tiny").language())
    assert build(run, suggester).agent.ent_coef == 0.02


@pytest.mark.parametrize(("written", "now"), [(0.01, 0.02), (0.03, 0.03)])
def test_a_run_after_one_with_the_usual_entropy_bonus_has_its_own(written, now, tmp_path):
    """Up to 0.13.0 each file had it written out."""
    finished = PRESETS["default"].changed(**{"agent.algo": "ppo", "agent.on_policy.entropy": written})
    assert taught_config(tmp_path, finished).entropy_weight == now


def test_labels_that_are_damaged_end_the_run_before_it_begins(tmp_path):
    run = Run.create(configure(tmp_path / "run"))
    (run.folder / LABELS).parent.mkdir()
    (run.folder / LABELS).write_text('{"choice": "left"}\n')
    with pytest.raises(UserError, match="damaged in line 1"):
        play(run)
    assert (run.folder / LABELS).read_text() == '{"choice": "left"}\n'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward__novelty__kind": "rnd"}, "choose one of the two"),
        ({"reward__success": "attempt"}, "reads what really happened"),
        ({"reward__preference__judge": "words"}, "give --judge-words"),
        ({"reward__preference__words": "x"}, "which reads none"),
        ({"agent__encoder": "sentence", "agent__goal_conditioned": False}, "reads clauses"),
        (LOGS, "labels is 20, but algo is bc, which learns from logs and plays no frame"),
        ({**LOGS, "reward__preference__labels": 0, "run__record": True}, "record is True, but algo is bc"),
        (
            {**LOGS, "reward__preference__labels": 0, "reward__novelty__kind": "rnd"},
            "bonus is rnd, but algo is bc",
        ),
    ],
)
def test_options_that_exclude_each_other(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        configure(tmp_path, **options)
