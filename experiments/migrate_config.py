"""Rewrites configurations of version 0.7.0 and before in the sections of version 0.8.0.

Looks for ``config.yaml`` in the folders named and below them: run folders, and committed results. What has the new
sections already is left alone. Options that a version did not have yet get the values that 0.7.0 gave them.
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
    preset = old.get("preset", "default")
    if preset not in PRESETS:
        raise UserError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}")
    values = {"run.threads": THREADS, "run.device": "cpu", "transfer.mode": "finetune"}
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
        return PRESETS[preset].changed(**values)


def _renamed(name: str) -> str:
    """An option's dotted name in 0.8.0."""
    old = max((old for old in RENAMED if name.startswith(old)), key=len)
    return RENAMED[old] + name.removeprefix(old)


def migrate(path: Path) -> bool:
    """Rewrites a file; False if it has the new sections already.

    Raises:
        UserError: in one line, if it is no configuration; it is left as it is.
    """
    try:
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} is not a readable YAML file") from error
    if not isinstance(old, Mapping):
        raise UserError(f"{path} holds no mapping of options to values")
    if any(isinstance(old.get(section), Mapping) for section in ("run", "env")):
        return False
    try:
        write_whole(path, config_files.to_yaml(migrated(old)))
    except UserError as error:
        raise UserError(f"{path} is no configuration of 0.7.0: {error}") from error
    return True


def main(options: Options) -> None:
    """Migrates every configuration below the folders."""
    for folder in options.folders:
        paths = sorted(folder.rglob("config.yaml"))
        if not paths:
            raise UserError(f"{folder} holds no config.yaml; name a run folder, or one that holds some")
        changed = sum(map(migrate, paths))
        print(f"{folder}: {changed} configurations rewritten, {len(paths) - changed} up to date")


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
