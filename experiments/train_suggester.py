"""Trains a suggesting language model (``sft``), measures it (``measure``), or shows its corpus (``corpus``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ellm_agent import cli
from ellm_agent.config import files as config_files
from envs import registry
from envs.interface import World

# PyTorch is imported late: --help must not wait for it.


@dataclass(frozen=True)
class Sft:
    """Writes the corpus, and trains tokenizer and model on it. About half an hour on one core."""

    out: Path | None = None
    """New folder for the model. None: runs/lm/WORLD-sft-seedN."""
    world: str = "crafter"
    """World whose situations and advice make the corpus."""
    scenes: int = 60_000
    """Situations in the corpus; each gives an open and a closed question."""
    passes: int = 3
    """Passes over the corpus."""
    seed: int = 0
    """Of corpus and training."""
    threads: int = 2
    """Threads for PyTorch."""

    def run(self) -> None:
        from ellm_agent.lm_training import sft

        recipe = sft.Recipe(scenes=self.scenes, passes=self.passes, seed=self.seed)
        _set_threads(self.threads)
        folder = self.out or Path("runs", "lm", f"{self.world}-sft-seed{self.seed}")
        sft.train(recipe, _world(self.world), folder)
        print(f"written to {folder}; run_crafter.py --llm-folder {folder} asks it")


@dataclass(frozen=True)
class Measure:
    """Measures a model on situations of held-out worlds."""

    model: Path | None = None
    """The model's folder. None: the bundled model."""
    world: str = "crafter"
    """World of the situations."""
    scenes: int = 2_000
    """Situations."""
    threads: int = 2
    """Threads for PyTorch."""
    out: Path = Path("results/bundled_model.json")
    """File for the figures."""

    def run(self) -> None:
        from ellm_agent.llm.bundled import FOLDER, BundledModel
        from ellm_agent.lm_training import measure

        cli.at_least(1, scenes=self.scenes)
        _set_threads(self.threads)
        model = BundledModel(self.model or FOLDER)
        model.load()
        self.out.parent.mkdir(parents=True, exist_ok=True)
        figures = measure.measure(model, _world(self.world), self.scenes)
        self.out.write_text(json.dumps({name: round(x, 4) for name, x in figures.items()}, indent=1) + "\n")
        for name, value in figures.items():
            print(f"{name.replace('_', ' ')}: {value:,.3f}")
        print(f"written to {self.out}")


@dataclass(frozen=True)
class Corpus:
    """Prints examples of the corpus."""

    world: str = "crafter"
    """Its world."""
    examples: int = 10
    """Situations."""
    seed: int = 0
    """Of the corpus."""

    def run(self) -> None:
        from ellm_agent.lm_training import sft

        cli.at_least(1, examples=self.examples)
        recipe = sft.Recipe(scenes=self.examples, seed=self.seed)
        for question, answer in sft.make_examples(recipe, _world(self.world)):
            print(question + answer, end="\n\n")


def _world(name: str) -> World:
    with config_files.one_line():
        return registry.get(name)


def _set_threads(threads: int) -> None:
    import torch

    cli.at_least(1, threads=threads)
    torch.set_num_threads(threads)


if __name__ == "__main__":
    cli.script(lambda chosen: chosen.run(), Sft | Measure | Corpus, __doc__)
