"""Rewrites configurations of older versions for this one, with the same meaning.

Looks for ``config.yaml`` in the folders named and below them: run folders, and committed results. Files of 0.7.0 and
before get the sections of 0.8.0. Options that a version did not have yet get the values that it worked with, where these
are not today's defaults. One thing has no equal: up to 0.8.0 ``--llm-caption brief`` told language models names only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml

from ellm_agent import cli
from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import write_whole

RENAMED = {  # beginning of a name in 0.7.0 -> in 0.8.0; the longest that fits
    "environment.": "env.",
    "environment.pays": "env.task_reward",
    "goals.": "suggester.",
    "goals.goal_mode": "suggester.kind",
    "goals.goals_at_once": "suggester.max_active_goals",
    "goals.goal_frames": "suggester.active_goal_frames",
    "goals.llm": "suggester.llm.kind",
    "goals.llm_": "suggester.llm.",
    "goals.llm_scene": "suggester.llm.caption",
    "goals.threshold": "reward.threshold",
    "goals.success": "reward.success",
    "goals.extrinsic_weight": "reward.extrinsic_weight",
    "goals.goal_conditioned": "agent.goal_conditioned",
    "novelty.": "reward.novelty.",
    "novelty.bonus": "reward.novelty.kind",
    "novelty.bonus_": "reward.novelty.",
    "novelty.bonus_batch": "reward.novelty.batch_size",
    "transfer.": "transfer.",
    "transfer.transfer": "transfer.mode",
    "agent.": "agent.",
    "dqn.": "agent.dqn.",
    "ppo.": "agent.on_policy.",
}
THREADS = 2  # 0.7.0's default
# What versions before 0.9.0 did, where they did not have the option.
MOST_NESTED = 8  # sections in sections
BEFORE_0_9 = {
    "reward.goal_weight": 1.0,
    "reward.rarity": "none",
    "reward.rarity_power": 0.5,
    "reward.reopen": "never",
    "agent.action_prior": 0.0,
}
DEFAULTS_BEFORE_0_9 = {
    "env.caption": "spatial",
    "agent.goal_conditioned": False,
}  # where a file leaves them out


@dataclass(frozen=True)
class Options:
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders that hold some."""


def migrated(old: Mapping[str, Any]) -> Config:
    """The configuration of a 0.7.0 file.

    Args:
        old: what the file holds.

    Raises:
        UserError: in one line, for an option that 0.7.0 did not have, or a value that means nothing.
    """
    preset = _preset(old).run.preset
    values = {"run.threads": THREADS, "run.device": "cpu", "transfer.mode": "finetune", **BEFORE_0_9}
    values |= DEFAULTS_BEFORE_0_9 if preset != "paper" else {}
    for name, value in old.items():
        if not isinstance(value, Mapping):
            values[f"run.{name}"] = value
        elif f"{name}." not in RENAMED:
            raise UserError(f"there is no section {name!r} in a configuration of 0.7.0")
        else:
            values |= {_renamed(f"{name}.{option}"): chosen for option, chosen in value.items()}
    if values.get("suggester.llm.kind") == "embedded":
        values["suggester.llm.kind"] = "bundled"
    if values.get("transfer.pretrained") is None:
        # The mode then meant nothing, but for a guide's random actions.
        if values["transfer.mode"] == "guide":
            values["agent.dqn.epsilon_greedy"] = True
        values |= {"transfer.mode": "none", "transfer.layers": "all"}
    with config_files.one_line():
        return PRESETS[preset].changed(**_since_0_9(values))


def _preset(options: Any) -> Config:
    """The preset that a file's options start from.

    Raises:
        UserError: if there is none of its name.
    """
    name = options.get("preset", "default") if isinstance(options, Mapping) else "default"
    if not isinstance(name, str) or name not in PRESETS:
        raise UserError(f"preset is {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def _renamed(name: str) -> str:
    """An option's dotted name in 0.8.0."""
    old = max((old for old in RENAMED if name.startswith(old)), key=len)
    return RENAMED[old] + name.removeprefix(old)


def completed(old: Mapping[str, Any]) -> Config:
    """The configuration of a 0.8.0 file, with the values of options that it does not have."""
    with config_files.one_line():
        preset = _preset(old.get("run"))
        defaults = BEFORE_0_9 | (DEFAULTS_BEFORE_0_9 if preset.run.preset != "paper" else {})
        return preset.changed(**_since_0_9({**defaults, **_flat(old)}))


def _since_0_9(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values whose meaning 0.9.0 changed, in its words."""
    values = dict(values)
    if values.get("suggester.llm.caption") == "whole":  # names only, with the faced thing
        values["suggester.llm.caption"] = "paper"
    if values.get("suggester.llm.wait"):  # then it meant nothing
        values["suggester.llm.every"] = None
    return values


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    if prefix.count(".") > MOST_NESTED:
        raise UserError(f"{prefix[:40]} ... is nested without an end")
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def migrate(path: Path) -> bool:
    """Rewrites a file; False if it is up to date.

    Raises:
        UserError: in one line, if it is no configuration; it is left as it is.
    """
    try:
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is not a readable YAML file") from error
    if not isinstance(old, Mapping):
        raise UserError(f"{path} holds no mapping of options to values")
    sections = any(isinstance(old.get(section), Mapping) for section in ("run", "env"))
    try:
        if sections and _flat(old).keys() >= BEFORE_0_9.keys():
            return False
        write_whole(path, config_files.to_yaml((completed if sections else migrated)(old)))
    except UserError as error:
        raise UserError(f"{path} is no configuration of an older version: {error}") from error
    return True


def main(options: Options) -> None:
    """Migrates every configuration below the folders."""
    if not options.folders:
        raise UserError("no folder is named; name a run folder, or one that holds some")
    for folder in options.folders:
        paths = sorted(folder.rglob("config.yaml"))
        if not paths:
            raise UserError(f"{folder} holds no config.yaml; name a run folder, or one that holds some")
        changed = sum(map(migrate, paths))
        print(f"{folder}: {changed} configurations rewritten, {len(paths) - changed} up to date")


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
