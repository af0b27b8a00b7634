"""One run from start to end: suggester, training, evaluation, report."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

from ellm_agent.analysis import run_report
from ellm_agent.build import build, make_suggester
from ellm_agent.config import MAY_CHANGE, Config
from ellm_agent.config import files as config_files
from ellm_agent.config.agent import OFFLINE
from ellm_agent.config.suggester import LLMConfig
from ellm_agent.errors import UserError
from ellm_agent.goals.base import GoalSuggester
from ellm_agent.goals.quality import shares
from ellm_agent.llm.base import LanguageModelError
from ellm_agent.llm.factory import make_model, resolve
from ellm_agent.runs import checkpoints, tracking
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import copy_pretrained, find_pretrained
from ellm_agent.training import Trained, train
from envs import registry
from envs.interface import World

GOALS_ONLY = ("bundled", "script", "recorded")  # language models that can only suggest goals


def run_experiment(config: Config, resume: Path | None = None, suggester: GoalSuggester | None = None) -> Run:
    """Trains, evaluates and reports; returns the run.

    Args:
        config: the configuration.
        resume: folder of a run to continue.
        suggester: your own; None: the configuration's.

    Raises:
        UserError: for anything that a user can correct.
        LanguageModelError, Stopped: as `train`.
    """
    console = Console(soft_wrap=True, highlight=False)
    world = registry.get(config.env.name)
    tracking.check(config)
    if not resume:
        config = config.changed(**{"suggester.llm": language_model(config, world)})
    model = None
    if suggester is None:
        if config.suggester.asks_model:
            model = make_model(config.suggester, world, config.env.options)
        suggester = make_suggester(config, world.language(**config.env.options), model)
    run, checkpoint = _continue(config, resume) if resume else (_create(config), None)
    console.print(f"goals: {suggester.description}", markup=False)
    console.print(f"agent: {_describe(config)}", markup=False)
    console.print(f"run:   {run.folder}", markup=False)
    if config.env.backend == "compiled" and world.compiles_first():
        console.print("compiling the world's rules, once; this takes about half a minute")
    sys.stdout.flush()

    from ellm_agent.evaluation.rendering import draw_replays  # imports matplotlib

    with library_settings(config):
        try:
            # One model suggests and compares clips, with one budget; in scored form it writes no answers.
            parts = build(run, suggester, checkpoint, None if config.suggester.kind == "scored" else model)
            trained = train(parts, run, checkpoint)
        except (UserError, LanguageModelError):
            suggester.close()
            if not resume and run.empty:
                run.discard()  # else it would be in the way of the corrected command
            raise
    started = time.monotonic()
    draw_replays(trained.recordings, run.replays, config, config.run.replays)
    summary = run_report.write_summary(run, _results(trained))
    run_report.print_summary(run, summary, console)
    result = run.folder
    if config.run.report:
        run_report.draw_curves(run, summary)
        result = run_report.write_page(run, summary)
    console.print(
        f"trained for {trained.seconds:,.0f} s, drew for {time.monotonic() - started:,.0f} s; see {result}",
        markup=False,
    )
    return run


@contextlib.contextmanager
def library_settings(config: Config) -> Iterator[None]:
    """Settings of the libraries for a run, for as long as the block lasts: threads of PyTorch and of NumPy's linear algebra,
    and no checks of distributions.

    Left alone, NumPy takes a thread for each core. On a busy machine these wait for each other, actively: four runs on two
    cores took a sixth longer.
    """
    threads, distribution = torch.get_num_threads(), torch.distributions.Distribution
    validates = distribution._validate_args
    torch.set_num_threads(config.run.threads)
    distribution.set_default_validate_args(False)  # SB3 makes a distribution for each frame
    try:
        with threadpool_limits(config.run.threads, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)
        distribution.set_default_validate_args(validates)


def language_model(config: Config, world: World) -> LLMConfig:
    """Which language model suggests, or compares clips, with "auto" written out.

    Raises:
        UserError: see ``resolve``; and for a model that cannot compare clips, where it is to.
    """
    judges = config.reward.preference.asks_model
    alone = judges and not config.suggester.asks_model
    suggester = config.suggester.model_copy(update={"kind": "open"}) if alone else config.suggester
    llm = resolve(suggester, world).llm
    if judges and llm.kind in GOALS_ONLY:
        raise UserError(
            f"judge is model, but what answers is {llm.kind}, which suggests goals and compares nothing: give --llm local,"
            " or --llm-base-url (or set OPENAI_API_KEY)"
        )
    return llm


def _create(config: Config) -> Run:
    """A new run's folder, with the copy of a pretrained agent, if it starts from one."""
    pretrained = find_pretrained(config)
    run = Run.create(config)
    if pretrained:
        copy_pretrained(pretrained, run)
    return run


def _continue(config: Config, folder: Path) -> tuple[Run, Mapping[str, Any] | None]:
    """An existing run, and the state of its last checkpoint.

    Raises:
        UserError: if it cannot be continued with this configuration.
    """
    run = Run.open(folder)
    run.claim()
    found = checkpoints.latest(run.checkpoints)
    if found:
        path, state = found
        done = checkpoints.frames_of(path)
        # Runs end a little above their frames, since all worlds step at once: only fewer frames than before are refused.
        if done > config.run.frames < run.config.run.frames:
            raise UserError(f"frames is {config.run.frames}; the run has {done} already")
        with checkpoints.readable(path):
            _refuse_changes(config, path, state["counters"]["config"])
    run.reconfigure(config)
    if not found and not run.pretrained.is_dir():
        pretrained = find_pretrained(config)
        if pretrained:
            copy_pretrained(pretrained, run)
    return run, found[1] if found else None


def _refuse_changes(config: Config, checkpoint: Path, before: Mapping[str, Any]) -> None:
    """Compares a configuration with that of the checkpoint.

    Raises:
        UserError: if somebody has edited it.
    """
    now = config_files.plain(config)
    for name, value in before.items():
        if name in now and name not in MAY_CHANGE and now[name] != value:
            raise UserError(
                f"a resumed run keeps its options: {config_files.option(name)} is {now[name]} but was {value} "
                f"when {checkpoint} was saved"
            )


def _results(trained: Trained) -> dict[str, Any]:
    """The part of the summary that is in no log."""
    counts = trained.parts.worlds.counts
    return {
        "suggester": trained.parts.suggester.description,
        "seconds": round(trained.seconds, 1),
        "quality": {"suggested": shares(counts.suggested), "rewarded": shares(counts.rewarded)},
        "suggestions": counts.wordings.most_common(run_report.SUGGESTIONS),
    }


def _describe(config: Config) -> str:
    agent, transfer = config.agent, config.transfer
    target = f" ({agent.target} target)" if agent.algo == "dqn" else ""
    learned = {
        "none": "",
        "guide": f", guided by {transfer.pretrained}",
        "finetune": f", fine-tuning {transfer.layers} layers of {transfer.pretrained}",
    }
    if agent.algo in OFFLINE:
        return (
            f"{agent.algo} learning from {', '.join(map(str, agent.offline.data))}: "
            f"{config.run.frames:,} transitions drawn, seed {config.run.seed}"
        )
    return (
        f"{agent.algo}{target} reading {config.env.options['caption']} captions, {config.env.options['protocol']} protocol, "
        f"{config.run.frames:,} frames, seed {config.run.seed}{learned[transfer.mode]}"
    )
