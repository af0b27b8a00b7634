"""The whole of a run: suggester, training, and what is left for people afterwards."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ellm_agent.analysis import run_report as report
from ellm_agent.build import environment_arguments, make_suggester
from ellm_agent.config import files as config_files
from ellm_agent.config.presets import MAY_CHANGE
from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from ellm_agent.goals.quality import shares
from ellm_agent.llm.choice import settled
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import Run
from ellm_agent.runs.pretrained import copy_pretrained, find_pretrained
from ellm_agent.training import Trained, train
from envs.crafter.compiled.vec_env import is_compiled
from envs.crafter.env import CrafterTextEnv


def run_experiment(config: Config, resume: Path | None = None) -> Run:
    """Trains, evaluates and reports; returns the run.

    Args:
        config: the configuration.
        resume: folder of a run to go on with.

    Raises:
        UserError: for anything that a user can mend.
        LanguageModelError, Stopped: as `train`.
    """
    console = Console(soft_wrap=True, highlight=False)
    language = CrafterTextEnv(**environment_arguments(config)).language
    suggester = make_suggester(config, language)
    checkpoint = None
    if resume:
        run = Run.open(resume)
        run.claim()
        checkpoint = checkpoints.latest(run.checkpoints)
        if checkpoint and checkpoints.frames_of(checkpoint) > config.frames:
            done = checkpoints.frames_of(checkpoint)
            raise UserError(f"frames is {config.frames}; the run has {done} already")
        if checkpoint:
            _refuse_changes(config, checkpoint)
        run.change(config)
        stopped_early = checkpoint is None and not run.pretrained.is_dir()
        origin = find_pretrained(config) if stopped_early else None
    else:
        config = dataclasses.replace(config, goals=settled(config.goals))
        origin = find_pretrained(config)
        run = Run.create(config)
    if origin:
        copy_pretrained(origin, run)
    console.print(f"goals: {suggester.description}", markup=False)
    console.print(f"agent: {_agent(config)}", markup=False)
    console.print(f"run:   {run.folder}", markup=False)
    if config.environment.backend == "compiled" and not is_compiled():
        console.print("compiling the game's rules, once; this takes about half a minute")
    sys.stdout.flush()

    trained = train(run, suggester, checkpoint)
    started = time.monotonic()
    _draw_replays(run, trained.recordings)
    summary = report.write_summary(run, language.achievements, _extra(trained, suggester.description))
    report.print_summary(summary, console)
    report.draw_curves(run, summary)
    page = report.write_page(run, summary)
    console.print(
        f"trained for {trained.seconds:,.0f} s, drew for {time.monotonic() - started:,.0f} s; see {page}",
        markup=False,
    )
    return run


def _refuse_changes(config: Config, checkpoint: Path) -> None:
    """
    Raises:
        UserError: if the run's configuration is no longer that of its checkpoint: somebody has edited it.
    """
    before = checkpoints.load_counters(checkpoint)["config"]
    now = config_files.plain(config)
    for name, value in before.items():
        if name in now and name not in MAY_CHANGE and now[name] != value:
            told = f"{config_files.option(name)} is {now[name]} but was {value}"
            raise UserError(f"a run goes on as it began: {told} when {checkpoint} was saved")


def _extra(trained: Trained, suggester: str) -> dict:
    exploration = trained.exploration
    return {
        "suggester": suggester,
        "seconds": round(trained.seconds, 1),
        "quality": {
            "suggested": shares(exploration.counts.suggested),
            "rewarded": shares(exploration.counts.rewarded),
        },
        "suggestions": exploration.counts.wordings.most_common(report.SUGGESTIONS),
    }


def _agent(config: Config) -> str:
    agent, source = config.agent, config.transfer
    target = f" ({agent.target} target)" if agent.algo == "dqn" else ""
    learned = ""
    if source.pretrained:
        how = "guided by" if source.transfer == "guide" else f"fine-tuning {source.layers} layers of"
        learned = f", {how} {source.pretrained}"
    return (
        f"{agent.algo}{target} reading {config.environment.caption} captions, "
        f"{config.environment.protocol} protocol, {config.frames:,} frames, seed {config.seed}{learned}"
    )


def _place(recording: Recording) -> tuple[int, ...]:
    """The best episode has the least."""
    if recording.success is None:
        return (-len(recording.unlocked),)
    frames = len(recording.actions)
    return (0, frames) if recording.success else (1, -frames)


def _draw_replays(run: Run, recordings: Sequence[Recording]) -> None:
    """Keeps the last evaluation's episodes and draws best, median and worst, then others: by whether and how soon a task was
    solved, or else by unlocks."""
    from ellm_agent.evaluation.rendering import write_gif

    for old in (*run.replays.glob("*.json"), *run.replays.glob("*.gif")):
        old.unlink()  # of an evaluation before a resume
    ranked = sorted(recordings, key=_place)
    last = len(ranked) - 1
    order = dict.fromkeys((0, last // 2, last, *range(len(ranked))))
    names = {last: "worst", last // 2: "median", 0: "best"}
    for place, i in enumerate(order):
        recording = ranked[i]
        outcome = {None: f"{len(recording.unlocked)}-unlocks", True: "solved", False: "not-solved"}
        stem = f"{place + 1:02d}-{names.get(i, 'episode')}-{outcome[recording.success]}"
        recording.save(run.replays / f"{stem}.json")
        if place < run.config.replays:
            write_gif(recording, run.replays / f"{stem}.gif")
