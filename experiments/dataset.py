"""Datasets of logged play: makes one of runs (``make``), turns it back into a log (``unpack``), shows it (``show``), and
tells what it would have earned for other goals (``relabel``). The format is Minari's (docs/offline.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.errors import UserError


@dataclass(frozen=True)
class Make:
    """Writes a dataset of runs that were played with --record."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or other datasets."""
    out: Path
    """New folder; its name is the dataset's, such as data/mixture-v0."""
    first: int = 0
    """Only episodes that begin at this frame of their run or later ..."""
    frames: int | None = None
    """... and before so many frames after that. None: all."""

    def run(self) -> None:
        from ellm_agent.datasets import logs, minari_files

        cli.at_least(0, first=self.first)
        if self.frames is not None:
            cli.at_least(1, frames=self.frames)
        dataset = logs.load(self.runs, self.first, self.frames)
        minari_files.write(dataset, self.out)
        size = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
        print(
            f"{len(dataset):,} transitions, {dataset.episodes:,} episodes, {size / 2**20:,.1f} MB in {self.out}"
        )


@dataclass(frozen=True)
class Unpack:
    """Writes a dataset back as a log of the kind that runs leave."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder of a dataset."""
    out: Path
    """New folder."""

    def run(self) -> None:
        from ellm_agent.datasets import minari_files, shards

        dataset = minari_files.read(self.dataset)
        shards.write_dataset(dataset, self.out)
        print(f"{len(dataset):,} transitions in {self.out / shards.FOLDER}")


@dataclass(frozen=True)
class Show:
    """Verifies a dataset's checksums and prints its card."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder of a dataset."""

    def run(self) -> None:
        from ellm_agent.datasets import minari_files
        from ellm_agent.terminal import escape_control

        files = minari_files.check(self.dataset)
        print(escape_control((self.dataset / "README.md").read_text(encoding="utf-8")))
        print(f"{files:,} files have the right checksums")


@dataclass(frozen=True)
class Relabel:
    """What would this log have earned for other goals?"""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Runs or datasets."""
    goals: tuple[str, ...]
    """Goals, in any wording."""
    threshold: float | None = None
    """Cosine similarity above which a goal is achieved. None: the one of runs in the log's world."""

    def run(self) -> None:
        from ellm_agent.build import make_similarity
        from ellm_agent.config import PRESETS
        from ellm_agent.config import files as config_files
        from ellm_agent.datasets import logs
        from ellm_agent.datasets.relabel import ForGoals, relabel
        from envs import registry

        if any(not goal.strip() for goal in self.goals) or not self.goals:
            raise UserError("a goal is empty; name it in words, such as 'chop tree'")
        changes = {} if self.threshold is None else {"reward.threshold": self.threshold}
        with config_files.one_line():
            PRESETS["default"].changed(**changes)  # checks it before the log is read
        dataset = logs.load(self.runs)
        config = config_files.in_world(PRESETS["default"], dataset.interface.world).changed(**changes)
        world = registry.get(dataset.interface.world)
        language = world.language(**dataset.interface.options)
        similarity = make_similarity(config, language)
        for goal in self.goals:
            earned = dataset.returns(relabel(dataset, ForGoals(similarity, (goal,))))
            print(f"{goal}: reached in {(earned > 0).mean():.1%} of {dataset.episodes:,} episodes")
        together = dataset.returns(relabel(dataset, ForGoals(similarity, self.goals)))
        print(f"mean return for all of them: {together.mean():.3f}")


if __name__ == "__main__":
    cli.script(lambda chosen: chosen.run(), Make | Unpack | Show | Relabel, __doc__)
