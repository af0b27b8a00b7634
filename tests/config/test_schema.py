"""The configuration's options: bounds, types, names, files, flags. What is refused is refused in one line."""

from __future__ import annotations

import re
import shlex

import pytest

from ellm_agent import run_commands
from ellm_agent.config import PRESETS, Config
from ellm_agent.config import files as config_files
from ellm_agent.errors import UserError
from tests.helpers.processes import ROOT

# Option -> values out of bounds, with the bound as the message names it.
BOUNDS = {
    "run.frames": [(0, "at least 1")],
    "run.seed": [(-1, "at least 0")],
    "run.eval_every": [(0, "at least 1")],
    "run.eval_episodes": [(0, "at least 1")],
    "run.log_every": [(0, "at least 1")],
    "run.checkpoint_every": [(0, "at least 1")],
    "run.replays": [(-1, "at least 0")],
    "run.threads": [(0, "at least 1")],
    "env.episode_length": [(0, "at least 1")],
    "env.n_envs": [(0, "at least 1")],
    "suggester.max_active_goals": [(0, "at least 1")],
    "suggester.active_goal_frames": [(0, "at least 1")],
    "suggester.oracle_recall": [(0.0, "above 0"), (1.1, "at most 1")],
    "suggester.oracle_precision": [(0.0, "above 0"), (1.1, "at most 1")],
    "suggester.llm.every": [(0, "at least 1")],
    "suggester.llm.temperature": [(-0.1, "at least 0")],
    "suggester.score_best": [(0, "at least 1")],
    "suggester.llm.threads": [(0, "at least 1")],
    "suggester.llm.rpm": [(0, "at least 1")],
    "suggester.llm.tpm": [(0, "at least 1")],
    "suggester.llm.concurrency": [(0, "at least 1")],
    "suggester.llm.timeout": [(0.0, "above 0")],
    "suggester.llm.budget_usd": [(-0.1, "at least 0")],
    "suggester.llm.budget_tokens": [(-1, "at least 0")],
    "suggester.llm.price_read": [(-0.1, "at least 0")],
    "suggester.llm.price_written": [(-0.1, "at least 0")],
    "reward.threshold": [(-1.01, "at least -1"), (1.01, "at most 1")],
    "reward.goal_weight": [(-0.1, "at least 0")],
    "reward.rarity_power": [(-0.1, "at least 0"), (1.1, "at most 1")],
    "reward.extrinsic_weight": [(-0.1, "at least 0")],
    "reward.novelty.weight": [(-0.1, "at least 0")],
    "reward.novelty.learning_rate": [(0.0, "above 0")],
    "reward.novelty.alpha": [(-0.1, "at least 0")],
    "reward.novelty.hidden": [(0, "at least 1")],
    "reward.novelty.batch_size": [(0, "at least 1")],
    "reward.novelty.passes": [(0, "at least 1")],
    "reward.preference.labels": [(-1, "at least 0")],
    "reward.preference.errors": [(-0.1, "at least 0"), (1.1, "at most 1")],
    "reward.preference.port": [(-1, "at least 0"), (65_536, "at most 65535")],
    "reward.preference.pace": [(-0.1, "at least 0")],
    "reward.preference.clip_frames": [(0, "at least 1")],
    "reward.preference.weight": [(-0.1, "at least 0")],
    "reward.preference.optimism": [(-0.1, "at least 0")],
    "reward.preference.event_bonus": [(-0.1, "at least 0")],
    "reward.preference.members": [(0, "at least 1")],
    "reward.preference.hidden": [(0, "at least 1")],
    "reward.preference.learning_rate": [(0.0, "above 0")],
    "reward.preference.steps": [(0, "at least 1")],
    "agent.action_prior": [(-0.1, "at least 0")],
    "agent.hidden": [(0, "at least 1")],
    "agent.dqn.learning_rate": [(0.0, "above 0")],
    "agent.dqn.gamma": [(-0.01, "at least 0"), (1.01, "at most 1")],
    "agent.dqn.n_steps": [(0, "at least 1")],
    "agent.dqn.batch_size": [(0, "at least 1")],
    "agent.dqn.train_every": [(0, "at least 1")],
    "agent.dqn.learning_starts": [(-1, "at least 0")],
    "agent.dqn.buffer_size": [(0, "at least 1")],
    "agent.dqn.target_every": [(0, "at least 1")],
    "agent.dqn.temperature": [(0.0, "above 0")],
    "agent.dqn.munchausen_clip": [(0.01, "at most 0")],
    "agent.dqn.epsilon_initial": [(-0.01, "at least 0"), (1.01, "at most 1")],
    "agent.dqn.epsilon_final": [(-0.01, "at least 0"), (1.01, "at most 1")],
    "agent.dqn.epsilon_frames": [(0, "at least 1")],
    "agent.dqn.max_grad_norm": [(0.0, "above 0")],
    "agent.on_policy.learning_rate": [(0.0, "above 0")],
    "agent.on_policy.gamma": [(-0.01, "at least 0"), (1.01, "at most 1")],
    "agent.on_policy.gae_lambda": [(-0.01, "at least 0"), (1.01, "at most 1")],
    "agent.on_policy.rollout": [(1, "at least 2")],
    "agent.on_policy.batch_size": [(1, "at least 2")],
    "agent.on_policy.epochs": [(0, "at least 1")],
    "agent.on_policy.clip": [(0.0, "above 0")],
    "agent.on_policy.target_kl": [(0.0, "above 0")],
    "agent.offline.batch_size": [(0, "at least 1")],
    "agent.offline.learning_rate": [(0.0, "above 0")],
    "agent.offline.gamma": [(-0.01, "at least 0"), (1.01, "at most 1")],
    "agent.offline.n_steps": [(0, "at least 1")],
    "agent.offline.top_share": [(0.0, "above 0"), (1.01, "at most 1")],
    "agent.offline.expectile": [(0.0, "above 0"), (1.0, "below 1")],
    "agent.offline.temperature": [(0.0, "above 0")],
    "agent.offline.q_temperature": [(0.0, "above 0")],
    "agent.offline.max_weight": [(0.0, "above 0")],
    "agent.offline.alpha": [(-0.01, "at least 0")],
    "agent.offline.polyak": [(0.0, "above 0"), (1.01, "at most 1")],
    "transfer.guide_share": [(-0.01, "at least 0"), (1.01, "at most 1")],
}
UNBOUNDED = {"suggester.score_threshold", "agent.dqn.munchausen_scale", "agent.on_policy.entropy"}


def refusal(**changes) -> str:
    """The line in which a changed configuration is refused."""
    with pytest.raises(UserError) as error, config_files.one_line():
        Config().changed(**changes)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "bound"), [(name, *case) for name, cases in BOUNDS.items() for case in cases]
)
def test_values_out_of_bounds_are_refused(name, value, bound):
    assert refusal(**{name: value}) == f"{config_files.option(name)} is {value}; it must be {bound}"


@pytest.mark.parametrize("name", BOUNDS)
def test_the_bound_itself_is_allowed_where_it_is_included(name):
    for _, bound in BOUNDS[name]:
        word, _, number = bound.rpartition(" ")
        if word not in ("above", "below"):
            as_is = float if "float" in str(_field(name).annotation) else int
            assert Config().changed(**{name: as_is(number)})


def _field(name):
    *sections, field = name.split(".")
    model = Config
    for section in sections:
        model = model.model_fields[section].annotation
    return model.model_fields[field]


def test_every_number_has_its_bounds_here():
    """A new number gets a line above."""
    numbers = {
        name
        for name, value in config_files.flatten(Config()).items()
        if re.search(r"\b(int|float)\b", str(_field(name).annotation)) and not isinstance(value, bool)
    }
    assert numbers == BOUNDS.keys() | UNBOUNDED


@pytest.mark.parametrize("name", ["reward.threshold", "agent.dqn.gamma", "agent.on_policy.entropy"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(name, value):
    assert refusal(**{name: float(value)}) == (
        f"{config_files.option(name)} is {value}; it must be a finite number"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("run.frames", "many", "frames is 'many'; it must be a whole number"),
        ("run.frames", 1.5, "frames is 1.5; it must be a whole number"),
        ("run.frames", True, "frames is True; it must be a whole number"),
        ("run.frames", None, "frames is None; it must be a whole number"),
        ("reward.threshold", "x", "threshold is 'x'; it must be a number"),
        ("run.tensorboard", "yes", "tensorboard is 'yes'; it must be true or false"),
        ("run.out", 3, "out is 3; it must be a path"),
        ("env.name", 3, "world is 3; it must be text"),
        ("env", 3, "env is 3; it must be a section: a mapping of option names to values"),
        (
            "agent.algo",
            "sarsa",
            "algo is 'sarsa'; choose one of dqn, ppo, trpo, random, bc, filtered-bc, awr, iql, cql",
        ),
        ("run.preset", "huge", "preset is 'huge'; choose one of debug, default, paper"),
        ("reward.novelty.kind", "x", "bonus is 'x'; choose one of rnd, noveld, icm, apt"),
        ("env.name", "chess", "world is 'chess'; choose one of crafter, housekeep"),
        ("env.protocol", "elm", "protocol is 'elm'; did you mean 'ellm'?"),
        ("env.action_space", "x", "action-space is 'x'; choose one of native, verb-noun"),
        ("env.task", "mine stoen", "task is 'mine stoen'; did you mean 'mine stone'?"),
        (
            "env.hide_clauses",
            "(daylight",
            "hide-clauses is '(daylight', which is no regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_wrong_types_and_choices_name_what_would_be_right(name, value, message):
    assert refusal(**{name: value}) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suggester.kind": "task"}, "goal-mode is task, but there is no task; name one with --task"),
        ({"transfer.mode": "guide"}, "transfer is guide, but pretrained is None; give both or neither"),
        ({"transfer.layers": "head"}, "layers is head, which needs a pretrained agent to fine-tune"),
        (
            {"agent.encoder": "sentence", "agent.clause_vectors": "learned"},
            "clause-vectors is learned; whole sentences are an open vocabulary and need raw",
        ),
        (
            {"suggester.llm.wait": True, "suggester.llm.every": 16},
            "llm-every is 16, but with --llm-wait every caption is asked about at once",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(changes, message):
    assert refusal(**changes) == message


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("run.framez", "unknown key run.framez; did you mean run.frames?"),
        ("agent.dqn.gama", "unknown key agent.dqn.gama; did you mean agent.dqn.gamma?"),
        ("frames", "unknown key frames; did you mean run.frames?"),
        ("treshold", "unknown key treshold; did you mean reward.threshold?"),
        ("xyz", "unknown key xyz; known are run, env, suggester, reward, agent, transfer"),
        ("runn.frames", "unknown key runn; did you mean run?"),
        (
            "agent.xyz.gamma",
            "unknown key agent.xyz; known are algo, target, goal_conditioned, action_prior, encoder, ",
        ),
    ],
)
def test_unknown_keys_get_the_nearest_name(name, message):
    assert refusal(**{name: 3}).startswith(message)


def test_changed_gives_a_validated_copy():
    config = Config()
    changed = config.changed(**{"run.frames": 10, "agent.dqn.gamma": 0.5, "transfer": {"mode": "none"}})
    assert (changed.run.frames, changed.agent.dqn.gamma) == (10, 0.5)
    assert config == Config()
    assert set(config_files.differences(config, changed)) == {
        "frames is 10 but was 300000",
        "dqn.gamma is 0.5 but was 0.95",
    }
    with pytest.raises(ValueError, match="frozen"):
        config.run.frames = 3


# --- files ----------------------------------------------------------------------------------------------------------


LOGS = {"agent.offline.data": ("runs/x",), "agent.goal_conditioned": False}


@pytest.mark.parametrize(
    ("changes", "temperature"),
    [
        ({}, 0.1),
        ({"suggester.kind": "none"}, 0.03),
        ({"suggester.kind": "task", "env.task": "mine stone"}, 0.03),
        ({"agent.target": "double"}, 0.03),
        ({"agent.action_prior": 0.0}, 0.03),
        ({"agent.goal_conditioned": False}, 0.03),
        ({"agent.dqn.temperature": 0.5}, 0.5),
        ({"suggester.kind": "none", "agent.dqn.temperature": 0.5}, 0.5),
        ({"agent.algo": "cql", "agent.offline.q_temperature": 0.2, **LOGS}, 0.2),
    ],
)
def test_a_soft_policy_is_softer_where_a_prior_guides_it(changes, temperature):
    assert Config().changed(**changes).soft_temperature == temperature


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({}, 0.01),
        ({"suggester.kind": "none"}, 0.01),
        ({"suggester.kind": "none", "reward.preference.labels": 20}, 0.02),
        ({"reward.preference.labels": 20}, 0.01),  # goals guide it
        ({"suggester.kind": "none", "reward.preference.labels": 20, "agent.on_policy.entropy": 0.0}, 0.0),
    ],
)
def test_a_policy_that_learns_from_preferences_alone_stays_uncertain_for_longer(changes, weight):
    config = Config().changed(**changes)
    assert config.entropy_weight == config.resolved.agent.on_policy.entropy == weight


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_from_yaml(name, tmp_path):
    path = tmp_path / "config.yaml"
    preset = PRESETS[name].changed(**{"run.out": tmp_path / "run", "env.task": "plant row"})
    path.write_text(config_files.to_yaml(preset))
    assert config_files.load(path) == preset


def test_a_part_of_a_configuration_has_the_presets_other_values(tmp_path):
    path = tmp_path / "part.yaml"
    path.write_text("run: {preset: debug}\nagent: {dqn: {gamma: 1}}\n")
    assert config_files.load(path) == PRESETS["debug"].changed(**{"agent.dqn.gamma": 1.0})


HOUSEKEEP = config_files.in_world(PRESETS["default"], "housekeep")


@pytest.mark.parametrize(
    ("text", "words", "script", "expected"),
    [
        ("run: {frames: 1000}", [], "housekeep", HOUSEKEEP),
        ("run: {frames: 1000}", ["--world", "housekeep"], "crafter", HOUSEKEEP),
        ("run: {frames: 1000}\nenv: {name: housekeep}", [], "crafter", HOUSEKEEP),
        ("run: {frames: 1000}\nenv: {name: crafter}", [], "housekeep", PRESETS["default"]),
        ("run: {frames: 1000}", [], "crafter", PRESETS["default"]),
    ],
)
def test_a_part_of_a_configuration_has_its_worlds_settings(text, words, script, expected, tmp_path):
    path = tmp_path / "part.yaml"
    path.write_text(text)
    config = run_commands.parse(["--config", str(path), *words], "", world=script).config
    assert config == expected.changed(**{"run.frames": 1000})


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("env: {name: crafter}", ["--world", "housekeep"], "world is housekeep, but .* names crafter"),
        ("env: {name: atari}", [], r"world is 'atari'.*\(in .*part.yaml\)"),
    ],
)
def test_a_part_of_another_worlds_configuration_is_refused(text, words, message, tmp_path):
    path = tmp_path / "part.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        run_commands.parse(["--config", str(path), *words], "")


# --- the command line -----------------------------------------------------------------------------------------------


def test_help_names_every_option(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        run_commands.parse(["--help"], "Trains an agent.")
    assert end.value.code in (0, None)
    named = set(re.findall(r"--([a-z][a-z0-9.-]*)", capsys.readouterr().out))
    assert set(config_files.options()) <= named
    assert {"config", "resume", "estimate-cost"} <= named


README_FLAGS = {
    "--preset debug": ("run.preset", "debug"),
    "--world crafter": ("env.name", "crafter"),
    "--protocol ellm": ("env.protocol", "ellm"),
    "--task 'mine stone'": ("env.task", "mine stone"),
    "--pays each": ("env.task_reward", "each"),
    "--goal-mode closed": ("suggester.kind", "closed"),
    "--max-active-goals 1": ("suggester.max_active_goals", 1),
    "--goals-at-once 1": ("suggester.max_active_goals", 1),
    "--goal-frames 32": ("suggester.active_goal_frames", 32),
    "--llm-base-url http://localhost:8000/v1": ("suggester.llm.base_url", "http://localhost:8000/v1"),
    "--llm-model my-model": ("suggester.llm.model", "my-model"),
    "--llm-wait": ("suggester.llm.wait", True),
    "--llm-scene whole": ("suggester.llm.caption", "whole"),
    "--bonus rnd": ("reward.novelty.kind", "rnd"),
    "--bonus-weight 3": ("reward.novelty.weight", 3.0),
    "--algo ppo": ("agent.algo", "ppo"),
    "--dqn.learning-rate 1e-4": ("agent.dqn.learning_rate", 1e-4),
    "--ppo.gamma .9": ("agent.on_policy.gamma", 0.9),
}


def test_flags_set_their_options():
    """All in as few command lines as they fit in."""
    lines, known = [[], []], config_files.flatten(Config())
    for flag, (name, _) in README_FLAGS.items():
        lines[flag.startswith("--goals-at-once")].append(flag)
        assert name in known
    for line in lines:
        options = config_files.flatten(run_commands.parse(shlex.split(" ".join(line)), "").config)
        for flag in line:
            name, value = README_FLAGS[flag]
            assert options[name] == value, flag


def _commands():
    """The command lines of run_crafter.py in the README that start a run."""
    text = (ROOT / "README.md").read_text()
    for line in re.findall(r"python experiments/run_crafter\.py ([^#\n`]*)", text):
        if "--help" not in line and "--resume" not in line:
            yield line.strip()


@pytest.mark.parametrize("line", list(_commands()))
def test_the_readmes_commands_are_accepted(line):
    assert run_commands.parse(shlex.split(line), "").config
