"""The subcommands of ``experiments/train_suggester.py``. Each raises ``UserError`` for values that are out of bounds."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ellm_agent.errors import UserError
from ellm_agent.llm.bundled import FOLDER, BundledModel
from ellm_agent.lm_training import measure as measuring
from ellm_agent.lm_training import sft as training
from envs import registry
from envs.interface import World


def sft(out: Path | None, world: str, scenes: int, passes: int, seed: int, threads: int) -> None:
    """Trains a model into a new folder; None: ``runs/lm/WORLD-sft-seedN``."""
    recipe = training.Recipe(scenes=scenes, passes=passes, seed=seed)
    _set_threads(threads)
    folder = Path("runs", "lm", f"{world}-sft-seed{seed}") if out is None else out
    training.train(recipe, _world(world), folder)
    print(f"written to {folder}; run_crafter.py --llm-folder {folder} asks it")


def measure(model: Path | None, world: str, scenes: int, threads: int, out: Path) -> None:
    """Measures a model (None: the bundled one), prints the figures, and writes them to a file."""
    _at_least_one("scenes", scenes)
    _set_threads(threads)
    language_model = BundledModel(FOLDER if model is None else model)
    language_model.load()
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = measuring.measure(language_model, _world(world), scenes)
    out.write_text(json.dumps({name: round(x, 4) for name, x in figures.items()}, indent=1) + "\n")
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value:,.3f}")
    print(f"written to {out}")


def corpus(world: str, examples: int, seed: int) -> None:
    """Prints examples of the corpus."""
    for question, answer in training.make_examples(
        training.Recipe(scenes=examples, seed=seed), _world(world)
    ):
        print(question + answer, end="\n\n")


def _world(name: str) -> World:
    try:
        return registry.get(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def _set_threads(threads: int) -> None:
    _at_least_one("threads", threads)
    torch.set_num_threads(threads)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{name} is {value}; it must be at least 1")
