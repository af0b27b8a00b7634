"""The model card of a shared agent: Markdown with the hub's metadata in front."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config
from ellm_agent.terminal import one_line
from envs import registry

RESULTS = (
    "frames",
    "episodes",
    "unlocks_per_episode",
    "seconds",
    "suggester",
    "task",
    "success_rate",
    "versions",
)
SHOWN = 12  # changed options


def escape(text: object) -> str:
    """Text of unknown origin as one line of plain Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~])", r"\\\1", one_line(str(text)))


def render(config: Config, frames: int, summary: Mapping[str, Any], has_episodes: bool) -> str:
    """The card.

    Args:
        config: of the run.
        frames: that its agent was trained for.
        summary: of the run; empty: it has not ended.
        has_episodes: whether there are episodes of an evaluation.
    """
    world = registry.get(config.env.name)
    evaluation = summary.get("evaluation", {})
    metadata = {
        "license": "mit",
        "library_name": "ellm-agent",
        "pipeline_tag": "reinforcement-learning",
        "tags": ["reinforcement-learning", "exploration", "ellm", config.env.name, config.agent.algo],
    }
    changed = config_files.differences(
        config_files.in_world(PRESETS[config.run.preset], config.env.name),
        config,
        ignore=("run.out", "run.replays", "run.threads", "run.tensorboard", "suggester.llm.cache"),
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["escape_markdown"] = escape
    return environment.get_template("card.md.j2").render(
        metadata=yaml.safe_dump(metadata, sort_keys=False),
        config=config,
        protocol=config.env.options["protocol"],
        frames=frames,
        summary=summary,
        rows={name: value for name, value in evaluation.items() if isinstance(value, int | float)},
        score=world.score[0],
        goal=world.language(**config.env.options).goals[0],
        changed=changed[:SHOWN],
        has_episodes=has_episodes,
    )
