"""An estimate of what a run would ask a language model and cost: a short dry run with the bundled model, extrapolated."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from ellm_agent.build import build, make_suggester
from ellm_agent.config.schema import Config
from ellm_agent.config.suggester import NO_MISTAKES, LLMConfig
from ellm_agent.errors import UserError
from ellm_agent.experiment import library_settings
from ellm_agent.goals.asking import BATCH
from ellm_agent.goals.base import NoGoals
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError, Prompt, Wrapped
from ellm_agent.llm.budget import PRICES, price_of, size, tokens
from ellm_agent.llm.bundled import BundledModel
from ellm_agent.llm.endpoint import DEFAULT_MODEL, endpoint, model_at
from ellm_agent.runs.folder import Run
from ellm_agent.training import Parts, train
from envs import registry
from prompts import statement

DRY_FRAMES = 60_000
JUDGED_FRAMES, JUDGED_LABELS = 5_000, 20  # of the dry run of a judge of clips


class Counting(Wrapped):
    """A language model whose questions and tokens are counted, as an endpoint would count them."""

    counted = ("questions", "read", "written")

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        answers = super().answer(prompts)
        self.counts.add(
            questions=len(prompts),
            read=sum(size(prompt).read for prompt in prompts),
            written=sum(tokens(answer.text) for answer in answers if isinstance(answer, Answer)),
        )
        return answers


class Undecided(LanguageModel):
    """Calls each pair of clips a tie."""

    name = description = "undecided"

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [Answer("tie")] * len(prompts)


class Estimate(NamedTuple):
    """The questions of a run."""

    scenes: float  # captions asked about, and pairs of clips
    questions: float  # in open form one for each caption, in closed form one for each caption and goal; two for each pair
    read: float  # tokens
    written: float  # tokens


def estimate(config: Config, say: Callable[[str], None] = lambda line: None) -> Estimate:
    """Estimates the questions of a run, to its suggester and to its judge of clips, from short dry runs.

    Args:
        config: of the run.
        say: receives a line before frames are played.

    Raises:
        UserError: if the run would ask no language model.
    """
    judged = config.reward.preference.asks_model
    if judged and not config.suggester.asks_model:
        return estimate_judge(config, say)
    suggests = estimate_suggester(config, say)
    if not judged:
        return suggests
    return Estimate(*(a + b for a, b in zip(suggests, estimate_judge(config, say), strict=True)))


def estimate_judge(config: Config, say: Callable[[str], None] = lambda line: None) -> Estimate:
    """Asks about the first pairs of clips, and multiplies."""
    count = config.reward.preference.labels
    frames, labels = min(config.run.frames, JUDGED_FRAMES), min(count, JUDGED_LABELS)
    say(f"a dry run of {frames:,} frames with {labels} comparisons of clips ...")
    model = Counting(Undecided())
    preference = config.reward.preference.model_copy(update={"labels": labels, "recordings": None})
    alone = {"suggester.kind": "none", "suggester.learned_filter": False, **NO_MISTAKES}
    changes = {**alone, "reward.preference": preference}
    _play(config, frames, changes, lambda run: build(run, NoGoals(), model=model))
    asked = model.counts["questions"] / 2
    return Estimate(count, *(model.counts[name] * count / max(asked, 1) for name in model.counted))


def estimate_suggester(config: Config, say: Callable[[str], None] = lambda line: None) -> Estimate:
    """Plays the first frames with the bundled model, and extrapolates the growth of the number of captions. Where questions
    are about statements, these are counted.

    Args:
        config: of the run.
        say: receives a line before frames are played.

    Raises:
        UserError: if the run would ask no language model.
    """
    kind = config.suggester.kind
    if kind == "scored":
        raise UserError("goal-mode is scored, whose cost is not estimated; choose open or closed")
    if kind not in ("open", "closed"):
        raise UserError(f"goal-mode is {kind}, which asks no language model; choose open or closed")
    judgements = registry.get(config.env.name).language(**config.env.options).judgements
    if kind == "closed" and judgements:  # one question for each statement, at most
        prompts = [statement.prompt(one, judgements) for one in judgements.all]
        read = sum(size(prompt).read for prompt in prompts)
        return Estimate(len(prompts), len(prompts), read, len(prompts))
    frames = min(config.run.frames, DRY_FRAMES)
    say(f"a dry run of {frames:,} frames with the bundled model ...")
    model = Counting(BundledModel())
    llm = config.suggester.llm
    bundled = LLMConfig(kind="bundled", cache="off", wait=llm.wait, every=llm.every, caption=llm.caption)
    changes = {"reward.preference": {}, "suggester.llm": bundled}
    language = registry.get(config.env.name).language(**config.env.options)
    rows = _play(config, frames, changes, lambda run: build(run, make_suggester(run.config, language, model)))
    half, end = rows[len(rows) // 2 - 1] if len(rows) > 1 else rows[-1], rows[-1]
    scenes = end["llm/distinct"] * growth(
        half["frames"], half["llm/distinct"], end["frames"], end["llm/distinct"], config.run.frames
    )
    if not llm.wait:
        scenes = min(scenes, BATCH + config.run.frames / config.suggester.frames_per_question)
    grown = scenes / max(end["llm/scenes"], 1)
    return Estimate(scenes, *(model.counts[name] * grown for name in model.counted))


def _play(
    config: Config, frames: int, changes: Mapping[str, Any], parts: Callable[[Run], Parts]
) -> list[dict[str, Any]]:
    """The metrics of a run that leaves nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        dry = config.changed(
            **{
                "run.frames": frames,
                "run.out": Path(folder) / "run",
                "run.log_every": max(frames // 4, 1),
                "run.eval_every": 10**9,
                "run.checkpoint_every": 10**9,
                "run.eval_episodes": 1,
                "run.tensorboard": False,
                "run.track": None,
                "run.record": False,
                "run.log_suggestions": False,
                "transfer": {"mode": "none"},
                **changes,
            }
        )
        run = Run.create(dry)
        with library_settings(dry):
            train(parts(run), run)
        return run.read("metrics")


def growth(frames: float, count: float, more_frames: float, more: float, all_frames: float) -> float:
    """Growth factor from ``more_frames`` to ``all_frames``, by a power law (Heaps' law) through the two counts."""
    if min(count, more) <= 0 or more_frames <= frames:
        return all_frames / more_frames
    power = min(1.0, max(0.0, math.log(more / count) / math.log(more_frames / frames)))
    return (all_frames / more_frames) ** power


def print_estimate(config: Config, console: Console | None = None) -> None:
    """Prints the estimate of a run, and what it costs at well-known prices.

    Raises:
        UserError: if the run would ask no language model, or one at an endpoint without a name.
    """
    console = console or Console(highlight=False)
    llm = config.suggester.llm
    judged = config.reward.preference.asks_model
    about = ["captions"] * config.suggester.asks_model + ["pairs of clips"] * judged
    asks = bool(about)
    if asks and llm.kind in ("script", "replay", "local", "recorded"):
        console.print(f"llm is {llm.kind}: such a run asks nothing that costs")
        return
    url = endpoint(llm.base_url) if asks and llm.kind in ("auto", "endpoint") else None
    name = model_at(url, llm.model) if url else llm.model or DEFAULT_MODEL
    cost = estimate(config, console.print)
    console.print(
        f"{config.run.frames:,} frames: about {cost.scenes:,.0f} {' and '.join(about)}, {cost.questions:,.0f} questions, "
        f"{cost.read / 1e6:,.2f} million tokens read and {cost.written / 1e6:,.2f} million written"
    )
    own = price_of(name, llm.price_read, llm.price_written)
    prices = ({name: own} if own else {}) | {other: price for other, price in PRICES.items() if other != name}
    table = Table("model", "$ per million read", "written", "this run, $")
    for name, price in prices.items():
        table.add_row(
            name, f"{price.read:.2f}", f"{price.written:.2f}", f"{price.of(cost.read, cost.written):,.2f}"
        )
    console.print(table)
    console.print("on your own machine (vLLM, Ollama, llama.cpp): only its time")
