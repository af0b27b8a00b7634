"""A run's configuration: what can be chosen, typed and frozen, and the presets. ``config_files.py`` checks, saves and reads it.

Each field's comment is its ``--help`` text, with the unit, the paper's value where there is one and its
source. "Paper" is Du et al. 2023 with its official code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

_Unprefixed = tyro.conf.arg(name="")  # `--threshold`, not `--goals.threshold`
Preset = Literal["debug", "default", "paper"]


@dataclass(frozen=True)
class EnvironmentConfig:
    """The world."""

    protocol: Literal["crafter", "ellm"] = "crafter"
    """Rules. crafter: the standard ones, comparable with the public scoreboard; ellm: the paper's changes
    (139 verb-noun actions, 400 frames, cheaper table, one-hit creatures)."""
    action_space: Literal["native", "verb-noun"] | None = None
    """Actions: 17 native or 139 verb-noun ones. None: the protocol's."""
    episode_length: int | None = None
    """Frames after which an episode is cut off. None: the protocol's (10,000 or 400), or 400 with a task."""
    task: str | None = None
    """A downstream task such as "mine stone" (docs/tasks.md), which then gives the environment's reward and ends the
    episode. None: play on."""
    pays: Literal["last", "each"] = "last"
    """What a task pays for. last (paper's reward_last): being solved; each: each of its steps, too."""
    caption: Literal["spatial", "paper"] = "spatial"
    """What the agent reads. paper: names only; spatial: also where, and how much."""
    n_envs: int = 32
    """Parallel worlds."""
    backend: Literal["compiled", "package"] = "compiled"
    """What plays the game: compiled rules, or the `crafter` package. They play the same frames; the package is
    the reference, and far slower."""


@dataclass(frozen=True)
class GoalConfig:
    """Goals and the reward for them."""

    goal_mode: Literal["open", "closed", "oracle", "novelty", "task", "none"] = "open"
    """Who suggests goals. open, closed: a language model, in free text or by yes/no questions; oracle:
    prerequisites; novelty: all goals; task: the next step of the environment's task, which only the environment pays
    for; none: nobody."""
    threshold: float = 0.78
    """T: least cosine similarity of an event and a goal that is paid for, in [-1, 1]. Paper: 0.99, with
    another SentenceBERT. Chosen by measurement: docs/threshold.md."""
    success: Literal["effect", "attempt"] = "effect"
    """What counts as done. effect: what really happened; attempt (paper): also a phrase whose noun was faced
    or held."""
    extrinsic_weight: float = 0.0
    """Weight of the environment's own reward. Paper: 0 in pretraining."""
    goal_conditioned: bool = False
    """Whether the agent also reads its open goals."""
    goals_at_once: int | None = None
    """How many of the suggested goals count at a time, drawn by lot; an agent that is to do what it is told needs 1.
    None (paper): all."""
    goal_frames: int = 64
    """Frames for which goals so drawn count, unless they are achieved before."""
    closed_candidates: Literal["goals", "all"] = "goals"
    """Closed form: which goals are asked about. goals: the real ones; all: every verb-noun pair (paper)."""
    llm: Literal["auto", "endpoint", "embedded", "script", "replay"] = "auto"
    """What answers. endpoint: a server; embedded: the small model in the box, offline; script: rules (not a
    language model); replay: the cache alone, without any model; auto: a server if one is configured, or else
    the embedded model."""
    llm_base_url: str | None = None
    """OpenAI-compatible endpoint, such as http://localhost:8000/v1. None: OPENAI_BASE_URL, or OpenAI if
    OPENAI_API_KEY is set. The key is read from OPENAI_API_KEY only."""
    llm_model: str | None = None
    """The model's name at the endpoint. None: gpt-4o-mini at OpenAI (other servers need a name); in a replay,
    the one on record."""
    llm_api: Literal["chat", "completion"] = "chat"
    """Which of the endpoint's protocols."""
    llm_scene: Literal["brief", "whole"] = "brief"
    """What a model is told of a caption. brief: all but what the player faces: half as many questions; whole
    (paper): all."""
    llm_every: int = 256
    """Frames for each scene asked about, those met most often first, while training goes on (in closed form
    twice as many frames: there a scene is 23 questions). A scene has the goals of the three closest that were
    answered. Not with llm-wait."""
    llm_wait: bool = False
    """Whether each new scene is asked about at once and training waits (paper)."""
    llm_temperature: float | None = None
    """Of open answers. None: 0.1 (paper), and 1 for the embedded model, which makes as many mistakes there as
    what it learned from."""
    llm_structured: bool = False
    """Whether open answers should follow a JSON schema, where the server can see to that."""
    llm_concurrency: int = 8
    """Requests in flight at once."""
    llm_timeout: float = 60.0
    """Seconds for one try of a request."""
    llm_on_failure: Literal["continue", "stop"] = "continue"
    """When a question fails after all retries, or its answer is empty or a refusal. continue: it is counted, and
    asked again later (but for the last two); stop: the run saves a checkpoint and ends."""
    llm_budget_usd: float | None = None
    """US dollars after which nothing is asked any more; the run goes on with what is known."""
    llm_budget_tokens: int | None = None
    """The same in tokens, read and written together."""
    llm_price_read: float | None = None
    """US dollars for a million tokens read. None: a table of well-known models."""
    llm_price_written: float | None = None
    """US dollars for a million tokens written. None: the same table."""
    llm_cache: str = "auto"
    """SQLite file that keeps answers. auto: one for all runs in the user's cache folder, for endpoints; off:
    none."""

    @property
    def frames_for_a_scene(self) -> int:
        """Frames for each scene that a language model is asked about; 0: all scenes, waiting."""
        return 0 if self.llm_wait else self.llm_every * (2 if self.goal_mode == "closed" else 1)


@dataclass(frozen=True)
class TransferConfig:
    """What is taken over from a pretrained agent."""

    pretrained: Path | None = None
    """Run folder of a pretrained agent, of which a copy is kept. None: nothing is taken over."""
    transfer: Literal["finetune", "guide"] = "finetune"
    """finetune: its networks learn on; guide: a fresh agent explores with its actions (dqn only)."""
    layers: Literal["all", "head"] = "all"
    """finetune: which layers learn on."""
    guide_share: float = 0.5
    """guide: share of the random actions that are the pretrained agent's. Paper: 0.5"""


@dataclass(frozen=True)
class BonusConfig:
    """A reward for novelty, alone or added to that for goals."""

    bonus: Literal["rnd", "noveld", "icm", "apt"] | None = None
    """What is new. rnd: random network distillation; noveld: its gain, once in an episode; icm: the error of a
    forward model; apt: particle entropy. None: no such reward."""
    bonus_weight: float = 1.0
    """Weight of the bonus, which is scaled by the running deviation of its returns (apt: has a scale of its own)."""
    bonus_learning_rate: float = 1e-4
    """Adam step size of the bonus's model. ELLM's official baselines: 1e-4."""
    bonus_alpha: float = 1.0
    """noveld: how much of the novelty of the state before is taken off. Zhang et al. 2021: 0.5; ELLM's official
    baselines: 1"""
    bonus_hidden: int = 512
    """Width of its layers, units. ELLM's official baselines: 512 (rnd), 1,024 (apt)."""
    bonus_batch: int = 64
    """Transitions in one gradient step of it."""
    bonus_passes: int = 1
    """Gradient steps on each batch of new transitions."""


@dataclass(frozen=True)
class AgentConfig:
    """The agent."""

    algo: Literal["dqn", "ppo", "trpo", "random"] = "dqn"
    """Learning algorithm; random: actions drawn uniformly, nothing learned."""
    target: Literal["munchausen", "double"] = "munchausen"
    """TD target of dqn. munchausen: soft target, softmax policy; double: the paper's double Q with
    epsilon-greedy actions."""
    encoder: Literal["clauses", "sentence"] = "clauses"
    """How text becomes a vector. clauses: sum of the clauses' SentenceBERT vectors; sentence (paper): the
    vector of the whole caption (a new sentence costs some milliseconds)."""
    clause_vectors: Literal["adapted", "whitened", "raw", "learned"] | None = None
    """Vectors read. raw: SentenceBERT's, frozen; whitened: those, whitened over the closed vocabulary; adapted:
    those, and a learned offset for each phrase; learned: from scratch. None: adapted for clauses, raw for
    sentences (which have no other). Ablation in docs/results.md."""
    hidden: int = 256
    """Width of the encoder's layers, units. Paper: 512."""

    @property
    def vectors(self) -> str:
        """``clause_vectors``, also where it is None."""
        # Whole sentences are an open vocabulary: nothing to whiten over, or to learn an offset for.
        return self.clause_vectors or ("raw" if self.encoder == "sentence" else "adapted")


@dataclass(frozen=True)
class DQNConfig:
    """Options of --algo dqn."""

    learning_rate: float = 7e-4
    """Adam step size. Paper: 6.25e-5."""
    gamma: float = 0.95
    """Discount per frame. Paper: 0.99."""
    n_steps: int = 1
    """Frames in an n-step return. Paper: 3."""
    batch_size: int = 512
    """Transitions in an update. Paper: 64."""
    train_every: int = 32
    """Frames for each update. Paper: 4."""
    learning_starts: int = 2_000
    """Frames of random actions before learning. Paper: 5,000."""
    buffer_size: int = 1_000_000
    """Transitions kept, at most."""
    target_every: int = 4_000
    """Frames between copies of the target network. Paper: 8,000."""
    temperature: float = 0.03
    """Munchausen: temperature of the softmax policy, reward units. Vieillard et al. 2020: 0.03."""
    munchausen_scale: float = 0.9
    """Munchausen: weight alpha of the log-policy bonus. Vieillard et al. 2020: 0.9."""
    munchausen_clip: float = -1.0
    """Munchausen: least value of the log-policy bonus. Vieillard et al. 2020: -1."""
    epsilon_initial: float = 1.0
    """Double, and any guided exploration: first epsilon. Paper: 1, in fine-tuning 0.5."""
    epsilon_final: float = 0.05
    """Double, and any guided exploration: last epsilon of a linear decay. Paper: 0.01."""
    epsilon_frames: int = 50_000
    """Double, and any guided exploration: frames of the decay. Paper: 1,000,000."""
    max_grad_norm: float = 10.0
    """Gradient norm above which gradients are scaled down."""


@dataclass(frozen=True)
class OnPolicyConfig:
    """Options of --algo ppo and --algo trpo."""

    learning_rate: float = 5e-4
    """Adam step size (TRPO: of the value function)."""
    gamma: float = 0.95
    """Discount per frame."""
    gae_lambda: float = 0.65
    """Lambda of generalised advantage estimation."""
    rollout: int = 32
    """Frames of each world between updates."""
    batch_size: int = 512
    """Transitions in a minibatch (PPO)."""
    epochs: int = 4
    """Passes over a rollout (PPO)."""
    entropy: float = 0.01
    """Weight of the entropy bonus (PPO)."""
    clip: float = 0.2
    """Range of the probability ratio (PPO)."""
    normalize: bool = True
    """Whether advantages are scaled to deviation 1 in each minibatch (PPO). Where most minibatches hold no reward, that
    makes noise of them large."""
    target_kl: float = 0.01
    """Trust region (TRPO)."""


@dataclass(frozen=True)
class Config:
    """A run."""

    preset: Preset = "default"
    """Where the defaults come from. debug: under a minute; default: at most ten minutes on two cores; paper:
    the official hyperparameters, 5M frames."""
    frames: int = 300_000
    """Environment frames to train for, over all worlds. Paper: 5,000,000."""
    seed: int = 0
    """One seed is one run, with the same number of threads (sums are rounded differently)."""
    out: Path | None = None
    """Run folder; must not hold a run yet. None: a new folder under runs/."""
    eval_every: int = 50_000
    """Frames between evaluations. Paper: 25,000."""
    eval_episodes: int = 10
    """Episodes in an evaluation, on held-out worlds. Paper: 10."""
    log_every: int = 5_000
    """Frames between rows of metrics.jsonl."""
    checkpoint_every: int = 50_000
    """Frames between checkpoints (the last two are kept)."""
    replays: int = 3
    """Episode GIFs at the end: best, median, worst of the last evaluation, then others."""
    threads: int = 2
    """Threads for PyTorch; the networks are small, more do not help. Choose 1 to run several side by side."""
    tensorboard: bool = True
    """Whether to write TensorBoard files."""
    environment: Annotated[EnvironmentConfig, _Unprefixed] = field(default_factory=EnvironmentConfig)
    goals: Annotated[GoalConfig, _Unprefixed] = field(default_factory=GoalConfig)
    novelty: Annotated[BonusConfig, _Unprefixed] = field(default_factory=BonusConfig)
    transfer: Annotated[TransferConfig, _Unprefixed] = field(default_factory=TransferConfig)
    agent: Annotated[AgentConfig, _Unprefixed] = field(default_factory=AgentConfig)
    dqn: DQNConfig = field(default_factory=DQNConfig)
    ppo: OnPolicyConfig = field(default_factory=OnPolicyConfig)

    def name(self) -> str:
        """Says what the run is; overridden parts of the protocol are part of it."""
        world, goals, agent = self.environment, self.goals, self.agent
        algo = f"{agent.algo}-double" if (agent.algo, agent.target) == ("dqn", "double") else agent.algo
        if world.task and goals.goal_mode in ("task", "none"):
            method = [self.transfer.transfer if self.transfer.pretrained else "scratch"]
        else:
            method = [goals.goal_mode] if goals.goal_mode != "none" or not self.novelty.bonus else []
        method += [self.novelty.bonus] if self.novelty.bonus else []
        method += ["extrinsic"] if goals.extrinsic_weight and not world.task else []
        task = [world.task.replace(" ", "_")] if world.task else []
        parts = [world.protocol, *task, *method, algo]
        parts += [f"actions_{world.action_space}"] if world.action_space else []
        parts += [f"length_{world.episode_length}"] if world.episode_length else []
        parts += [f"goals_{goals.goals_at_once}"] if goals.goals_at_once else []
        parts += [f"caption_{world.caption}"] if world.caption != "spatial" else []
        return "-".join([*parts, f"seed{self.seed}"])
