"""Measures a behaviour that was taught by preferences: in which share of an agent's frames does the caption hold some words?

RUN... --words water reads the recorded episodes of runs, on held-out worlds, plays them again, and prints the share for each
episode. ``run_crafter.py --labels 700 --judge words --judge-words water`` teaches such a behaviour (docs/preferences.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from envs import registry


@dataclass(frozen=True)
class Options:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders of recordings."""
    words: str
    """Words that captions hold, such as water."""


def main(options: Options) -> None:
    """Measures and prints.

    Raises:
        UserError: if there are no words, or a folder holds no recordings.
    """
    if not options.words.strip():
        raise UserError("words is empty; name a word of captions, such as water")
    if not options.runs:
        raise UserError("no run is named; name at least one run folder")
    for folder in options.runs:
        found = [*sorted((folder / "replays").glob("*.json")), *sorted(folder.glob("*.json.gz"))]
        if not found:
            raise UserError(f"{folder} holds no recorded episodes; --replays 10 keeps ten")
        shares = [share(Recording.load(path), options.words) for path in found]
        listed = ", ".join(f"{value:.2f}" for value in shares)
        print(f"{folder}: {np.mean(shares):.2f} of the frames of {len(shares)} episodes ({listed})")


def share(recording: Recording, words: str) -> float:
    """The share of an episode's frames after which the language model's caption holds the words."""
    env = registry.get(recording.world).make_env(**recording.environment)
    env.reset(options={"world_seed": recording.world_seed})
    hits = sum(words in env.step(action)[4]["situation"].caption for action in recording.actions)
    return hits / max(len(recording.actions), 1)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
