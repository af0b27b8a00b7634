"""Configurations checked, compared, saved beside a run's results, and read from YAML."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config, GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.endpoint import check_url
from envs.crafter.tasks import tasks

_AT_LEAST = {  # least sensible value of each count
    "frames": 1,
    "seed": 0,
    "eval_every": 1,
    "eval_episodes": 1,
    "log_every": 1,
    "checkpoint_every": 1,
    "replays": 0,
    "threads": 1,
    "environment.n_envs": 1,
    "environment.episode_length": 1,
    "goals.extrinsic_weight": 0,
    "goals.goals_at_once": 1,
    "goals.goal_frames": 1,
    "goals.llm_concurrency": 1,
    "goals.llm_every": 1,
    "goals.llm_temperature": 0,
    "goals.llm_budget_usd": 0,
    "goals.llm_budget_tokens": 0,
    "goals.llm_price_read": 0,
    "goals.llm_price_written": 0,
    "novelty.bonus_weight": 0,
    "novelty.bonus_alpha": 0,
    "novelty.bonus_hidden": 1,
    "novelty.bonus_batch": 1,
    "novelty.bonus_passes": 1,
    "agent.hidden": 1,
    "dqn.n_steps": 1,
    "dqn.batch_size": 1,
    "dqn.train_every": 1,
    "dqn.learning_starts": 0,
    "dqn.buffer_size": 1,
    "dqn.target_every": 1,
    "dqn.epsilon_frames": 1,
    "ppo.rollout": 2,
    "ppo.batch_size": 2,
    "ppo.epochs": 1,
}
_ABOVE_ZERO = (
    "goals.llm_timeout",
    "novelty.bonus_learning_rate",
    "dqn.learning_rate",
    "dqn.temperature",
    "dqn.max_grad_norm",
    "ppo.learning_rate",
    "ppo.target_kl",
    "ppo.clip",
)
_SHARES = (
    "transfer.guide_share",
    "dqn.gamma",
    "dqn.epsilon_initial",
    "dqn.epsilon_final",
    "ppo.gamma",
    "ppo.gae_lambda",
)  # in [0, 1]


def check(config: Config) -> Config:
    """Returns the configuration if its values make sense.

    Raises:
        UserError: naming the first value that does not, and what would.
    """
    values = flatten(config)
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value) and name != "goals.threshold":
            raise UserError(f"{option(name)} is {value}; it must be a finite number")
        if isinstance(value, str | Path) and not _is_clean(str(value)):
            raise UserError(f"{option(name)} is {str(value)!r}; it must be plain text")
    threshold = values["goals.threshold"]
    if not -1 <= threshold <= 1:
        raise UserError(f"threshold is {threshold}; a cosine lies between -1 and 1")
    for name, least in _AT_LEAST.items():
        if values[name] is not None and not values[name] >= least:
            raise UserError(f"{option(name)} is {values[name]}; it must be at least {least}")
    for name in _ABOVE_ZERO:
        if not values[name] > 0:
            raise UserError(f"{option(name)} is {values[name]}; it must be above 0")
    for name in _SHARES:
        if not 0 <= values[name] <= 1:
            raise UserError(f"{option(name)} is {values[name]}; it must lie between 0 and 1")
    if config.agent.encoder == "sentence" and config.agent.clause_vectors not in (None, "raw"):
        raise UserError(
            f"clause-vectors is {config.agent.clause_vectors}; whole sentences are an open vocabulary and need raw"
        )
    if config.goals.llm_base_url is not None:
        check_url(config.goals.llm_base_url)
    if config.goals.llm_wait and config.goals.llm_every != GoalConfig.llm_every:
        raise UserError(
            f"llm-every is {config.goals.llm_every}, but llm-wait asks about every scene at once; "
            "leave it out, or give --no-llm-wait"
        )
    _check_task(config)
    if values["dqn.munchausen_clip"] > 0:
        raise UserError(f"dqn.munchausen-clip is {values['dqn.munchausen_clip']}; it must be 0 or less")
    return config


def _check_task(config: Config) -> None:
    """
    Raises:
        UserError: for a task or a transfer that does not exist or go together.
    """
    world, transfer = config.environment, config.transfer
    known = tasks().by_name
    if world.task is not None and world.task not in known:
        near = difflib.get_close_matches(world.task, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
        raise UserError(f"task is {world.task!r}; {hint}")
    if config.goals.goal_mode == "task" and world.task is None:
        raise UserError("goal-mode is task, but there is none; name one with --task")
    if transfer.layers == "head" and (transfer.pretrained is None or transfer.transfer == "guide"):
        raise UserError("layers is head, which needs a pretrained agent to fine-tune")
    if transfer.transfer == "guide" and config.agent.algo != "dqn":
        raise UserError(
            f"algo is {config.agent.algo}; with --transfer guide it must be dqn: others learn from their own actions only"
        )
    if transfer.layers == "head" and config.agent.algo not in ("dqn", "ppo"):
        raise UserError(f"algo is {config.agent.algo}; with --layers head it must be dqn or ppo")


def _is_clean(text: str) -> bool:
    """Whether a text can be written to a file and read again: no control characters, no half characters."""
    return all(unicodedata.category(character) not in ("Cc", "Cs") for character in text)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> value, for all fields of a (nested) configuration."""
    flat: dict[str, Any] = {}
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{entry.name}.")
        else:
            flat[prefix + entry.name] = value
    return flat


def plain(config: Config) -> dict[str, Any]:
    """As ``flatten``, in JSON values."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in flatten(config).items()}


def differences(one: Config, other: Config, ignore: Sequence[str] = ()) -> list[str]:
    """Options in which two configurations differ."""
    a, b = flatten(one), flatten(other)
    return [
        f"{option(name)} is {b[name]} but was {a[name]}"
        for name in a
        if a[name] != b[name] and name not in ignore
    ]


def to_yaml(config: Config) -> str:
    """The whole configuration as text, for ``load``."""
    return yaml.dump(dataclasses.asdict(config), Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Writes paths as text."""


_Dumper.add_multi_representer(Path, lambda dumper, path: dumper.represent_str(str(path)))


def load(path: Path, preset: str | None = None) -> Config:
    """Reads what ``to_yaml`` gave, or a part of it (the rest is the preset's).

    Args:
        path: of the YAML file.
        preset: to start from; None: the one that the file names, or "default".

    Raises:
        UserError: if the file cannot be read, is no mapping, has unknown keys or wrong types, or names another
            preset.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(f"cannot read the configuration {path}: {reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise UserError(f"the configuration {path} is not valid YAML") from error
    if not isinstance(data, Mapping):
        raise UserError(f"the configuration {path} must be a mapping of option names to values")
    if preset is not None and data.get("preset", preset) != preset:
        raise UserError(f"preset is {preset}, but {path} names another")
    preset = data.get("preset", preset or "default")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UserError(f"preset is {preset!r} in {path}; choose one of {', '.join(PRESETS)}")
    return check(_fill(PRESETS[preset], data, str(path), ""))


def _fill(default: Any, data: Mapping, where: str, prefix: str) -> Any:
    types = typing.get_type_hints(type(default))
    changes = {}
    for key, value in data.items():
        if key not in types:
            near = difflib.get_close_matches(str(key), types, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(types)}"
            raise UserError(f"unknown key {prefix}{key} in {where}; {hint}")
        if dataclasses.is_dataclass(types[key]):
            if not isinstance(value, Mapping):
                raise UserError(f"{prefix}{key} in {where} must be a mapping")
            changes[key] = _fill(getattr(default, key), value, where, f"{prefix}{key}.")
        else:
            changes[key] = _converted(value, types[key], f"{prefix}{key} in {where}")
    return dataclasses.replace(default, **changes)


def _converted(value: Any, wanted: Any, what: str) -> Any:
    """The value as the wanted type, if it is one of it (an int passes for a float, text for a path)."""
    options = typing.get_args(wanted)
    if typing.get_origin(wanted) is Literal:
        if value in options:
            return value
        raise UserError(f"{what} is {value!r}; choose one of {', '.join(map(str, options))}")
    if options:  # a union: X | None
        if value is None and type(None) in options:
            return None
        return _converted(value, next(o for o in options if o is not type(None)), what)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 else math.inf  # which is then refused
    if type(value) is wanted:
        return value
    raise UserError(f"{what} is {value!r}; it must be of type {wanted.__name__}")


def option(name: str) -> str:
    """An option's name on the command line."""
    section, _, rest = name.partition(".")
    return (name if section in ("dqn", "ppo") else rest or section).replace("_", "-")
