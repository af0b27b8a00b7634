"""Makes the embedded language model: ``sft`` trains it on its corpus, ``measure`` says how good it is, ``corpus`` shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.llm.bundled import FOLDER

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Sft:
    """Writes the corpus, trains tokenizer and model on it, and saves both. Some ten minutes on two cores."""

    out: Path = FOLDER
    """The model's folder."""
    scenes: int = 40_000
    """Scenes in the corpus; each gives an open and three closed questions."""
    passes: int = 2
    """Passes over the corpus."""
    seed: int = 0
    """Of corpus and training."""
    threads: int = 2
    """Threads for PyTorch."""


@dataclass
class Measure:
    """Measures a model on scenes of held-out worlds."""

    model: Path = FOLDER
    """The model's folder."""
    scenes: int = 2_000
    """How many."""
    threads: int = 2
    """Threads for PyTorch."""
    out: Path = ROOT / "results" / "embedded.json"
    """Where to write the figures."""


@dataclass
class Show:
    """Prints examples of the corpus."""

    examples: int = 10
    """How many."""
    seed: int = 0
    """Of the corpus."""


@dataclass
class Options:
    """What to do."""

    do: Annotated[
        Annotated[Sft, tyro.conf.subcommand("sft")]
        | Annotated[Measure, tyro.conf.subcommand("measure")]
        | Annotated[Show, tyro.conf.subcommand("corpus")],
        tyro.conf.arg(name=""),
    ] = field(default_factory=Sft)


def main(options: Options) -> None:
    """Does it.

    Raises:
        UserError: for options that make no sense, or a folder without a sound model.
    """
    do = options.do
    counts = {name: value for name, value in vars(do).items() if type(value) is int}
    cli.at_least(0, seed=counts.pop("seed", 0))
    cli.at_least(1, **counts)
    import torch  # imported late: --help must not wait for it

    from ellm_agent.llm.bundled import EmbeddedModel
    from ellm_agent.lm_training import measure, sft

    if isinstance(do, Show):
        for question, answer in sft.make_examples(sft.Recipe(scenes=do.examples, seed=do.seed)):
            print(question + answer, end="\n\n")
        return
    torch.set_num_threads(do.threads)
    if isinstance(do, Sft):
        do.out.mkdir(parents=True, exist_ok=True)  # better told now than after ten minutes
        sft.train(sft.Recipe(scenes=do.scenes, passes=do.passes, seed=do.seed), do.out)
        print(f"written to {do.out}")
        return
    do.out.parent.mkdir(parents=True, exist_ok=True)
    figures = measure.measure(EmbeddedModel(do.model), do.scenes)
    do.out.write_text(json.dumps({name: round(x, 4) for name, x in figures.items()}, indent=1) + "\n")
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value:,.3f}")
    print(f"written to {do.out}")


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
