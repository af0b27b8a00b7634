"""What a run would ask and cost, before it asks anything: a short dry run with the embedded model, extrapolated."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ellm_agent.build import make_suggester
from ellm_agent.config.schema import Config, GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.goals.language_model import BATCH
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped
from ellm_agent.llm.budget import PRICES, Price, price_of, tokens
from ellm_agent.llm.bundled import EmbeddedModel
from ellm_agent.llm.choice import FOR_ENDPOINTS
from ellm_agent.llm.endpoint import DEFAULT_MODEL, endpoint, model_at
from ellm_agent.runs.folder import Run
from ellm_agent.training import train
from envs.crafter.env import CrafterTextEnv

DRY_FRAMES = 60_000


class Counting(Wrapped):
    """A language model whose questions and answers are counted."""

    def __init__(self, model: LanguageModel):
        super().__init__(model)
        self.questions = self.read = self.written = 0

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        answers = super().answer(prompts)
        self.questions += len(prompts)
        self.read += sum(tokens(prompt.system + prompt.user) for prompt in prompts)
        self.written += sum(tokens(answer.text) for answer in answers if isinstance(answer, Answer))
        return answers


@dataclass(frozen=True)
class Estimate:
    """What a run would ask.

    Attributes:
        scenes: asked about.
        questions: in open form one for each scene, in closed form one for each scene and goal.
        read: tokens.
        written: tokens.
    """

    scenes: float
    questions: float
    read: float
    written: float


def estimate(config: Config) -> Estimate:
    """Plays the first frames with the embedded model, and goes on as the number of scenes has grown so far.

    Raises:
        UserError: if the run would ask no language model.
    """
    if config.goals.goal_mode not in ("open", "closed"):
        raise UserError(
            f"goal-mode is {config.goals.goal_mode}, which asks no language model; choose open or closed"
        )
    frames = min(config.frames, DRY_FRAMES)
    model = Counting(EmbeddedModel())
    with tempfile.TemporaryDirectory() as folder:
        own = {name: getattr(GoalConfig, name) for name in FOR_ENDPOINTS}
        goals = dataclasses.replace(config.goals, **own, llm="embedded", llm_cache="off")
        dry = dataclasses.replace(
            config,
            frames=frames,
            out=Path(folder) / "run",
            goals=goals,
            log_every=max(frames // 4, 1),
            eval_every=10**9,
            checkpoint_every=10**9,
            eval_episodes=1,
            tensorboard=False,
        )
        run = Run.create(dry)
        train(run, make_suggester(dry, CrafterTextEnv().language, model))
        rows = run.read("metrics")
    half, end = rows[len(rows) // 2 - 1] if len(rows) > 1 else rows[-1], rows[-1]
    distinct = end["llm/distinct"] * growth(
        half["frames"], half["llm/distinct"], end["frames"], end["llm/distinct"], config.frames
    )
    scenes = (
        distinct
        if config.goals.llm_wait
        else min(distinct, BATCH + config.frames / config.goals.frames_for_a_scene)
    )
    grown = scenes / max(end["llm/scenes"], 1)
    return Estimate(scenes, model.questions * grown, model.read * grown, model.written * grown)


def growth(frames: float, count: float, more_frames: float, more: float, all_frames: float) -> float:
    """How many times as much there will be as there was at ``more_frames``, if it grows by a power law (Heaps')."""
    if min(count, more) <= 0 or more_frames <= frames:
        return all_frames / more_frames
    power = min(1.0, max(0.0, math.log(more / count) / math.log(more_frames / frames)))
    return (all_frames / more_frames) ** power


def tell(config: Config, console: Console | None = None) -> None:
    """Prints the estimate of a run, and what it costs at well-known prices.

    Raises:
        UserError: if the run would ask no language model, or one at an endpoint without telling which.
    """
    console = console or Console(highlight=False)
    goals = config.goals
    asks = goals.goal_mode in ("open", "closed")
    if asks and goals.llm in ("script", "replay"):
        console.print(f"llm is {goals.llm}: such a run asks nothing that costs")
        return
    url = endpoint(goals.llm_base_url) if asks and goals.llm in ("auto", "endpoint") else None
    name = model_at(url, goals.llm_model) if url else goals.llm_model or DEFAULT_MODEL
    console.print(f"a dry run of {min(config.frames, DRY_FRAMES):,} frames with the embedded model ...")
    told = estimate(config)
    console.print(
        f"{config.frames:,} frames: about {told.scenes:,.0f} scenes, {told.questions:,.0f} questions, "
        f"{told.read / 1e6:,.2f} million tokens read and {told.written / 1e6:,.2f} million written"
    )
    prices = {name: Price(*price) for name, price in PRICES.items()}
    own = price_of(name, goals.llm_price_read, goals.llm_price_written)
    if own:
        prices = {name: own, **{other: price for other, price in prices.items() if other != name}}
    table = Table("model", "$ per million read", "written", "this run, $")
    for name, price in prices.items():
        cost = price.of(told.read, told.written)
        table.add_row(name, f"{price.read:.2f}", f"{price.written:.2f}", f"{cost:,.2f}")
    console.print(table)
    console.print("on your own machine (vLLM, Ollama, llama.cpp): nothing but its time")
