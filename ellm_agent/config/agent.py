"""Section ``agent`` of a configuration: who learns, and how."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro
from pydantic import Field, model_validator

from ellm_agent.config.section import PathOption, Section

PRIOR_STRENGTH = 9.0  # logits; chosen on seeds 100 to 103 (docs/log.md)
TEMPERATURE = 0.03  # of dqn
GUIDED_TEMPERATURE = 0.1  # of dqn where suggested goals guide it by the prior (docs/log.md)
ENTROPY = 0.01  # of ppo
TAUGHT_ENTROPY = 0.02  # of ppo that learns from preferences without goals (docs/log.md)
OFFLINE = {  # algorithm that learns from logs -> the one that learns online and has the same networks
    "bc": "ppo",
    "filtered-bc": "ppo",
    "awr": "ppo",
    "iql": "ppo",
    "cql": "dqn",
}


class DQNConfig(Section):
    """Options of --algo dqn."""

    learning_rate: float = Field(7e-4, gt=0)
    """Adam step size. Paper: 6.25e-5."""
    gamma: float = Field(0.95, ge=0, le=1)
    """Discount per frame. Paper: 0.99."""
    n_steps: int = Field(1, ge=1)
    """Frames in an n-step return. Paper: 3."""
    batch_size: int = Field(512, ge=1)
    """Transitions in an update. Paper: 64."""
    train_every: int = Field(32, ge=1)
    """Frames for each update. Paper: 4."""
    learning_starts: int = Field(2_000, ge=0)
    """Frames of random actions before learning. Paper: 5,000."""
    buffer_size: int = Field(1_000_000, ge=1)
    """Transitions kept, at most."""
    target_every: int = Field(4_000, ge=1)
    """Frames between copies of the target network. Paper: 8,000."""
    temperature: float | None = Field(None, gt=0)
    """Munchausen: temperature of the softmax policy, reward units. None: 0.1 where suggested goals guide by the
    action prior, of which less is then unlearned (docs/log.md), else 0.03 (Vieillard et al. 2020)."""
    munchausen_scale: float = 0.9
    """Munchausen: weight alpha of the log-policy bonus. Vieillard et al. 2020: 0.9."""
    munchausen_clip: float = Field(-1.0, le=0)
    """Munchausen: least value of the log-policy bonus. Vieillard et al. 2020: -1."""
    epsilon_greedy: bool | None = None
    """Mix in uniformly random actions. None: with the double target, and with a guide."""
    epsilon_initial: float = Field(1.0, ge=0, le=1)
    """First epsilon, where actions are epsilon-greedy. Paper: 1, in fine-tuning 0.5."""
    epsilon_final: float = Field(0.05, ge=0, le=1)
    """Last epsilon of a linear decay. Paper: 0.01."""
    epsilon_frames: int = Field(50_000, ge=1)
    """Frames of the decay. Paper: 1,000,000."""
    max_grad_norm: float = Field(10.0, gt=0)
    """Gradient norm above which gradients are scaled down."""


class OnPolicyConfig(Section):
    """Options of --algo ppo and --algo trpo."""

    learning_rate: float = Field(5e-4, gt=0)
    """Adam step size (TRPO: of the value function)."""
    gamma: float = Field(0.95, ge=0, le=1)
    """Discount per frame."""
    gae_lambda: float = Field(0.65, ge=0, le=1)
    """Lambda of generalised advantage estimation."""
    rollout: int = Field(32, ge=2)
    """Frames of each world between updates."""
    batch_size: int = Field(512, ge=2)
    """Transitions in a minibatch (PPO)."""
    epochs: int = Field(4, ge=1)
    """Passes over a rollout (PPO)."""
    entropy: float | None = None
    """Weight of the entropy bonus (PPO). None: 0.02 for an agent that learns from preferences and observes no goals, whose
    policy else becomes certain before it has tried enough (docs/log.md); elsewhere 0.01."""
    clip: float = Field(0.2, gt=0)
    """Range of the probability ratio (PPO)."""
    normalize: bool = True
    """Scale advantages to deviation 1 in each minibatch (PPO). Where most minibatches hold no reward, that amplifies
    noise."""
    target_kl: float = Field(0.01, gt=0)
    """Trust region (TRPO)."""


class OfflineConfig(Section):
    """Options of agents that learn from logged transitions (experiments/offline.py, docs/offline.md). There a run's
    frames are transitions drawn from the log, in batches."""

    data: Annotated[tuple[PathOption, ...], Field(strict=False)] = ()
    """Folders of runs played with --record, or of datasets that experiments/dataset.py wrote."""
    reward: Literal["unlocks", "logged"] = "unlocks"
    """What is learned, unless goals are named. unlocks: 1 for each achievement unlocked in an episode; logged: what the
    logged agent learned from."""
    goals: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Learn to reach these goals instead: the log is relabelled with ELLM's reward for them."""
    batch_size: int = Field(1024, ge=1)
    """Transitions in a gradient step."""
    learning_rate: float = Field(5e-4, gt=0)
    """Adam step size."""
    gamma: float = Field(0.95, ge=0, le=1)
    """Discount per frame."""
    n_steps: int = Field(1, ge=1)
    """Frames in an n-step return (iql, cql)."""
    top_share: float = Field(0.2, gt=0, le=1)
    """filtered-bc: share of the transitions that is imitated, those of the best episodes."""
    expectile: float = Field(0.8, gt=0, lt=1)
    """iql: tau; 0.5 is SARSA."""
    temperature: float = Field(0.2, gt=0)
    """awr, iql: t of the policy's weights exp(advantage / t), reward units."""
    q_temperature: float = Field(0.03, gt=0)
    """cql: temperature of its softmax policy, reward units."""
    max_weight: float = Field(20.0, gt=0)
    """awr, iql: the largest weight. Peng et al. 2019: 20; Kostrikov et al. 2021: 100."""
    alpha: float = Field(0.1, ge=0)
    """cql: weight of the penalty; 0 is plain double DQN."""
    polyak: float = Field(0.005, gt=0, le=1)
    """iql, cql: share of the networks that their slow copies take over at each step."""


class AgentConfig(Section):
    """The agent."""

    algo: Literal["dqn", "ppo", "trpo", "random", "bc", "filtered-bc", "awr", "iql", "cql"] = "dqn"
    """Learning algorithm; random: uniform actions, no learning. The last five learn from logs (experiments/offline.py)."""
    target: Literal["munchausen", "double"] = "munchausen"
    """TD target of dqn. munchausen: soft target, softmax policy; double: the paper's double Q with
    epsilon-greedy actions."""
    goal_conditioned: bool = True
    """Whether the agent also observes its active goals. Paper: mostly not."""
    action_prior: float | None = Field(None, ge=0)
    """Strength of the prior over actions from language: how much more likely, in logits, an action is at the start where
    its meaning matches an open goal (dqn: times its temperature). Learned from there on. None: 9 for an agent that
    observes its goals clause by clause, else 0. Ours, not the paper's (0)."""
    encoder: Literal["clauses", "sentence"] = "clauses"
    """How text becomes a vector. clauses: sum of the clauses' SentenceBERT vectors; sentence (paper): the
    vector of the whole caption (a new sentence costs some milliseconds)."""
    clause_vectors: Literal["adapted", "whitened", "raw", "learned"] | None = None
    """Phrase vectors. raw: SentenceBERT's, frozen; whitened: those, whitened over the closed vocabulary; adapted:
    those, and a learned offset for each phrase; learned: from scratch. None: adapted for clauses, raw for
    sentences (the only choice there). Ablation in docs/results-0.7.md."""
    hidden: int = Field(256, ge=1)
    """Width of the encoder's layers, units. Paper: 512."""
    dqn: Annotated[DQNConfig, tyro.conf.arg(name="dqn")] = DQNConfig()
    on_policy: Annotated[OnPolicyConfig, tyro.conf.arg(name="ppo")] = OnPolicyConfig()
    offline: Annotated[OfflineConfig, tyro.conf.arg(name="offline")] = OfflineConfig()

    @property
    def prior_strength(self) -> float:
        """``action_prior`` with None resolved."""
        if self.action_prior is not None:
            return self.action_prior
        return PRIOR_STRENGTH if self.goal_conditioned and self.encoder == "clauses" else 0.0

    @property
    def vectors(self) -> str:
        """``clause_vectors`` with None resolved."""
        # Whole sentences are an open vocabulary: no closed set to whiten over or to learn offsets for.
        return self.clause_vectors or ("raw" if self.encoder == "sentence" else "adapted")

    @model_validator(mode="after")
    def _consistent(self) -> AgentConfig:
        if self.encoder == "sentence" and self.clause_vectors not in (None, "raw"):
            raise ValueError(
                f"clause-vectors is {self.clause_vectors}; whole sentences are an open vocabulary and need raw"
            )
        if self.prior_strength and not (self.goal_conditioned and self.encoder == "clauses"):
            raise ValueError(
                f"action-prior is {self.action_prior}; it needs an agent that observes its goals, clause by clause"
            )
        return self
