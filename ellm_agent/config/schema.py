"""A run's configuration: every option, typed, with its bounds, its unit and the paper's value.

A section is a file: ``env``, ``suggester``, ``reward`` and ``agent``. Here are the two others, ``transfer`` and ``run``, and
what must agree between sections. Each field's docstring is its ``--help`` text. "Paper" is Du et al. 2023 with its official
code. ``presets.py`` holds the presets, ``methods.py`` the compared methods, ``files.py`` reads and writes YAML. Knows nothing
of any particular world: which protocols, captions and tasks exist is asked of ``envs.registry``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ellm_agent.config.agent import (
    ENTROPY,
    GUIDED_TEMPERATURE,
    OFFLINE,
    TAUGHT_ENTROPY,
    TEMPERATURE,
    AgentConfig,
)
from ellm_agent.config.env import EnvConfig
from ellm_agent.config.reward import RewardConfig
from ellm_agent.config.section import INHERITED, PathOption, Section, flag
from ellm_agent.config.suggester import SuggesterConfig

Preset = Literal["debug", "default", "paper"]


class TransferConfig(Section):
    """What a run takes over from a pretrained agent."""

    mode: Annotated[Literal["none", "finetune", "guide"], flag("transfer")] = "none"
    """finetune: its networks learn on; guide: a new agent explores with its actions (dqn only)."""
    pretrained: PathOption | None = None
    """Run folder of a pretrained agent; a copy is kept. None: no transfer."""
    layers: Literal["all", "head"] = "all"
    """finetune: the layers that are trained."""
    guide_share: float = Field(0.5, ge=0, le=1)
    """guide: share of the random actions that are the pretrained agent's. Paper: 0.5"""

    @model_validator(mode="after")
    def _consistent(self) -> TransferConfig:
        if (self.mode == "none") != (self.pretrained is None):
            raise ValueError(
                f"transfer is {self.mode}, but pretrained is {self.pretrained}; give both or neither"
            )
        if self.layers == "head" and self.mode != "finetune":
            raise ValueError("layers is head, which needs a pretrained agent to fine-tune")
        return self


class RunConfig(Section):
    """The run itself: how long, how often, where."""

    preset: Preset = "default"
    """Where the defaults come from. debug: under a minute; default: at most ten minutes on two cores; paper:
    the official hyperparameters, 5M frames."""
    frames: int = Field(300_000, ge=1)
    """Environment frames to train for, over all worlds. Paper: 5,000,000."""
    seed: int = Field(0, ge=0)
    """One seed is one run, with the same number of threads (sums are rounded differently)."""
    out: PathOption | None = None
    """Run folder; must not hold a run yet. None: a new folder under runs/."""
    eval_every: int = Field(50_000, ge=1)
    """Frames between evaluations. Paper: 25,000."""
    eval_episodes: int = Field(10, ge=1)
    """Episodes in an evaluation, on held-out worlds. Paper: 10."""
    log_every: int = Field(5_000, ge=1)
    """Frames between rows of metrics.jsonl."""
    checkpoint_every: int = Field(50_000, ge=1)
    """Frames between checkpoints (the last two are kept)."""
    replays: int = Field(3, ge=0)
    """Episode GIFs at the end: best, median, worst of the last evaluation, then others."""
    record: bool = False
    """Write down all transitions, for agents that learn from logs (docs/offline.md)."""
    report: bool = True
    """Whether to draw the run at its end: curves.png and report.html."""
    threads: int = Field(1, ge=1)
    """CPU threads for PyTorch and NumPy. The networks are small; a second thread helps little, and hurts on a busy
    machine."""
    device: Literal["cpu", "cuda", "mps", "auto"] = "cpu"
    """Where agents and novelty models are trained; auto: a GPU if there is one. They are small: the CPU is usually as
    fast. SentenceBERT and the bundled model stay on the CPU, so that their answers have the same bits everywhere."""
    log_suggestions: bool = False
    """Whether to write suggestions.jsonl: every 16 frames of an episode the caption, the suggested goals, and what was
    achieved within 64 frames; data for training a suggester (docs/suggester_training.md)."""
    tensorboard: bool = True
    """Whether to write TensorBoard files."""
    track: Literal["trackio", "wandb"] | None = None
    """A tracker that gets the metrics, too: trackio (local) or Weights & Biases (key in WANDB_API_KEY). None: none."""
    track_project: str = Field("ellm-agent", min_length=1)
    """The tracker's project."""


class Config(Section):
    """A run."""

    run: Annotated[RunConfig, INHERITED] = RunConfig()
    env: Annotated[EnvConfig, INHERITED] = EnvConfig()
    suggester: Annotated[SuggesterConfig, INHERITED] = SuggesterConfig()
    reward: Annotated[RewardConfig, INHERITED] = RewardConfig()
    agent: Annotated[AgentConfig, INHERITED] = AgentConfig()
    transfer: Annotated[TransferConfig, INHERITED] = TransferConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        if self.suggester.learned_filter and self.suggester.kind not in (
            "open",
            "closed",
            "scored",
            "novelty",
        ):
            raise ValueError(
                f"learned-filter is on, but goal-mode is {self.suggester.kind}: there is nothing to filter"
            )
        for name in ("oracle_recall", "oracle_precision"):
            rate = getattr(self.suggester, name)
            if rate != 1 and self.suggester.kind != "noisy-oracle":
                raise ValueError(
                    f"{name.replace('_', '-')} is {rate}, but goal-mode is {self.suggester.kind}; it is for noisy-oracle"
                )
        if self.suggester.kind == "task" and self.env.task is None:
            raise ValueError("goal-mode is task, but there is no task; name one with --task")
        if self.transfer.mode == "guide" and self.agent.algo != "dqn":
            raise ValueError(
                f"algo is {self.agent.algo}; with --transfer guide it must be dqn: others learn from their own actions"
            )
        if self.agent.algo in OFFLINE and not self.agent.offline.data:
            raise ValueError(
                f"algo is {self.agent.algo}, which learns from logs; use experiments/offline.py RUN..."
            )
        if self.agent.offline.data and self.agent.algo not in OFFLINE:
            raise ValueError(
                f"algo is {self.agent.algo}, which learns by playing; from logs learn {', '.join(OFFLINE)}"
            )
        if self.agent.algo in OFFLINE and self.agent.encoder != "clauses":
            raise ValueError(f"encoder is {self.agent.encoder}; agents that learn from logs need clauses")
        if self.agent.algo in OFFLINE and (self.agent.goal_conditioned or self.agent.prior_strength):
            raise ValueError(
                f"algo is {self.agent.algo}; agents that learn from logs observe no goals and have no action prior"
            )
        if self.agent.algo in OFFLINE:
            played = {
                "labels": self.reward.preference.labels,
                "bonus": self.reward.novelty.kind,
                "record": self.run.record,
            }
            for name, value in played.items():
                if value:
                    raise ValueError(
                        f"{name} is {value}, but algo is {self.agent.algo}, which learns from logs and plays no frame"
                    )
        if self.reward.preference.labels and self.agent.encoder == "sentence":
            raise ValueError("encoder is sentence, but a reward learned from preferences reads clauses")
        if self.transfer.layers == "head" and self.agent.algo not in ("dqn", "ppo"):
            raise ValueError(f"algo is {self.agent.algo}; with --layers head it must be dqn or ppo")
        return self

    def changed(self, **options: Any) -> Config:
        """A copy with other values, by dotted name: ``config.changed(**{"run.frames": 10, "agent.algo": "ppo"})``.

        Raises:
            pydantic.ValidationError: for an option that does not exist, or a value out of bounds.
        """
        data = self.model_dump()
        for name, value in options.items():
            *sections, field = name.split(".")
            part = data
            for section in sections:
                if not isinstance(part.get(section), dict):
                    part[section] = {}  # no such section: refused below
                part = part[section]
            part[field] = value
        return Config.model_validate(data)

    @property
    def soft_temperature(self) -> float:
        """Of the soft policy that a run learns: ``agent.dqn.temperature`` with None resolved, or CQL's."""
        if self.agent.algo == "cql":
            return self.agent.offline.q_temperature
        if self.agent.dqn.temperature is not None:
            return self.agent.dqn.temperature
        suggests = self.suggester.kind not in ("none", "task")
        soft = self.agent.target == "munchausen"
        return GUIDED_TEMPERATURE if suggests and soft and self.agent.prior_strength > 0 else TEMPERATURE

    @property
    def entropy_weight(self) -> float:
        """``agent.on_policy.entropy`` with None resolved."""
        if self.agent.on_policy.entropy is not None:
            return self.agent.on_policy.entropy
        return TAUGHT_ENTROPY if self.reward.preference.labels and self.suggester.kind == "none" else ENTROPY

    @property
    def resolved(self) -> Config:
        """With options written out whose default depends on others."""
        dependent = {
            "agent.dqn.temperature": self.soft_temperature,
            "agent.on_policy.entropy": self.entropy_weight,
        }
        return self.changed(**dependent)

    def name(self) -> str:
        """A short name of the run: what differs from the world's usual settings is part of it."""
        env, suggester, agent = self.env, self.suggester, self.agent
        bonus = "preferences" if self.reward.preference.labels else self.reward.novelty.kind
        algo = f"{agent.algo}-double" if (agent.algo, agent.target) == ("dqn", "double") else agent.algo
        if env.task and suggester.kind in ("task", "none"):
            method = [self.transfer.mode if self.transfer.mode != "none" else "scratch"]
        else:
            method = [suggester.kind] if suggester.kind != "none" or not bonus else []
        method += [bonus] if bonus else []
        method += ["extrinsic"] if self.reward.extrinsic_weight and not env.task else []
        task = [env.task.replace(" ", "_")] if env.task else []
        parts = [env.options["protocol"], *task, *method, algo]
        parts = parts if env.name == EnvConfig.model_fields["name"].default else [env.name, *parts]
        parts += [f"actions_{env.action_space}"] if env.action_space else []
        parts += [f"length_{env.episode_length}"] if env.episode_length else []
        parts += [f"goals_{suggester.max_active_goals}"] if suggester.max_active_goals else []
        parts += [f"caption_{env.caption}"] if env.caption else []
        parts += ["hide_" + re.sub(r"\W+", "_", env.hide_clauses)] if env.hide_clauses else []
        parts += [f"{name}_{Path(value).stem}" for name, value in env.own.items()]
        return "-".join([*parts, f"seed{self.run.seed}"])
