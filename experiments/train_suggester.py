"""Trains a suggesting language model (``sft``), measures it (``measure``), or shows its corpus (``corpus``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ellm_agent import cli


@dataclass(frozen=True)
class Sft:
    """Writes the corpus, and trains tokenizer and model on it. Some ten minutes on two cores."""

    out: Path | None = None
    """New folder for the model. None: runs/lm/WORLD-sft-seedN."""
    world: str = "crafter"
    """World whose situations and advice make the corpus."""
    scenes: int = 40_000
    """Situations in the corpus; each gives an open and three closed questions."""
    passes: int = 2
    """Passes over the corpus."""
    seed: int = 0
    """Of corpus and training."""
    threads: int = 2
    """Threads for PyTorch."""


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


@dataclass(frozen=True)
class Corpus:
    """Prints examples of the corpus."""

    world: str = "crafter"
    """Its world."""
    examples: int = 10
    """Situations."""
    seed: int = 0
    """Of the corpus."""


def main(options: Sft | Measure | Corpus) -> None:
    """Runs the subcommand. Raises: UserError for options that are out of bounds, and for folders."""
    from ellm_agent.lm_training import commands  # imported late: --help must not wait for PyTorch

    getattr(commands, type(options).__name__.lower())(**vars(options))


if __name__ == "__main__":
    cli.script(main, Sft | Measure | Corpus, __doc__)
