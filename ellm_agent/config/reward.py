"""Section ``reward`` of a configuration: how much a transition is worth."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ellm_agent.config.section import INHERITED, PathOption, Section, flag


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
    """words: the words, such as "of you: water"; model, person: what is better, in a sentence. None: which player does
    better (model), or what you would like to see more of (person)."""
    errors: Annotated[float, flag("judge-errors")] = Field(0.1, ge=0, le=1)
    """truth, words: share of answers that are uniform guesses. Christiano et al. 2017: 0.1"""
    port: Annotated[int, flag("judge-port")] = Field(0, ge=0, le=65_535)
    """person: port of the page, on this machine only. 0: any that is free."""
    pace: Annotated[float, flag("judge-pace")] = Field(10.0, ge=0)
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
    event_bonus: Annotated[float, flag("preference-event-bonus")] = Field(10.0, ge=0)
    """Added to it for an event that the compared clips hold n times: event-bonus / sqrt(1 + n), in deviations, so that the
    agent tries what few comparisons are about. 0: nothing (Christiano et al. 2017)."""
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
        if self.words and self.judge == "truth":
            raise ValueError(f"judge-words is {self.words!r}, but judge is {self.judge}, which reads none")
        return self

    @property
    def asks_model(self) -> bool:
        """Whether a language model compares clips."""
        return self.labels > 0 and self.judge == "model"


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
    """Whether an achieved goal is open again, for half of the reward of the time before, without the weight of rarity. needed: where
    the world says so (its result is still needed for others, such as wood for the tools not yet made; or it can be done
    again); never (paper)."""
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
