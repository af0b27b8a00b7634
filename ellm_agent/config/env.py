"""Section ``env`` of a configuration: the world and its rules."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ellm_agent.config.section import Section, flag
from envs import registry


class EnvConfig(Section):
    """The world."""

    name: Annotated[str, flag("world")] = "crafter"
    """The world, by its name in envs/registry.py."""
    protocol: str | None = None
    """The world's rules. Crafter: crafter (the standard ones, comparable with the public scoreboard) or ellm (the
    paper's: 139 verb-noun actions, 400 frames, cheaper table, one-hit creatures). Housekeep: ellm (four fixed homes of one room) or homes (a new home in each
    episode). None: the world's first."""
    action_space: str | None = None
    """Actions. Crafter: native (17) or verb-noun (139). None: the protocol's."""
    episode_length: int | None = Field(None, ge=1)
    """Frames after which an episode is truncated. None: the protocol's, or the task's."""
    task: str | None = None
    """A downstream task such as "mine stone" (docs/tasks.md), which then gives the environment's reward and ends the
    episode. None: no task."""
    task_reward: Annotated[Literal["last", "each"], flag("task-reward", "pays")] = "last"
    """What a task rewards. last (paper's reward_last): the solution; each: each of its steps, too."""
    caption: str | None = None
    """The caption that the agent observes. Crafter: paper (names only), spatial (also where, and how much) or full
    (also the points of each need, daylight, the side looked to, and the last action). Housekeep: map (also ways to
    rooms, from memory) or spatial (the player's room only). None: the world's first."""
    hide_clauses: str | None = None
    """Clauses of that caption that the agent does not observe, a regular expression such as "^daylight": for ablations.
    Language models and goals know of them all the same; the action prior, which reads what the agent observes, does not.
    None: it observes all."""
    own: Annotated[dict[str, str], flag("world-options")] = Field(default_factory=dict)
    """Options of the world's own, as pairs of a name and a value. Each can also be given as --NAME VALUE."""
    n_envs: int = Field(32, ge=1)
    """Parallel worlds."""
    backend: Literal["compiled", "package"] = "compiled"
    """What plays the game: compiled rules, or the reference implementation (slow). Both play the same frames."""

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the world's environments."""
        return {
            "protocol": self.protocol or registry.get(self.name).protocols[0],
            "caption": self.caption or registry.get(self.name).captions[0],
            "action_space": self.action_space,
            "episode_length": self.episode_length,
            "task": self.task,
            "task_reward": self.task_reward,
            **self.own,
        }

    @field_validator("hide_clauses")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(
                f"hide-clauses is {pattern!r}, which is no regular expression: {error}"
            ) from None
        return pattern

    @model_validator(mode="after")
    def _fits_the_world(self) -> EnvConfig:
        registry.get(self.name).check(self.options, self.own)
        return self
