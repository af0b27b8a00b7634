"""Results of many runs: one folder for each, read from its files alone. Knows nothing of statistics, figures and pages.

A cell is ``results/<name>/<protocol>/<algo>/<method>/seed<n>/``, or, of a downstream task after pretraining by that
method, ``results/<name>/tasks/<task>/<protocol>/<algo>/<method>/seed<n>/``, with

config.yaml          the run's configuration
summary.json         its summary
episodes.jsonl.gz    one row per finished training episode
metrics.jsonl.gz     one row per logging interval
replay.json.gz       the best episode of its last evaluation
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config
from ellm_agent.errors import DAMAGED, UserError
from ellm_agent.evaluation.scores import RECENT
from ellm_agent.records import Episode
from ellm_agent.runs.folder import Run, to_disk, write_whole
from envs import registry
from envs.interface import Language, World

AREA_POINTS = 201  # of a curve whose area is computed
ANY = "any"  # the algorithm of methods that have none
TASKS = "tasks"  # folder of downstream tasks
NOTHING = "none"  # pretraining of agents that learn a task from scratch


@dataclass(frozen=True, order=True)
class Cell:
    """The name of one run of a comparison; ``task``: learned after pretraining by the method, or ""."""

    protocol: str
    algo: str
    method: str
    seed: int
    task: str = ""

    def folder(self, results: Path) -> Path:
        """The folder of its results."""
        root = results / TASKS / self.task if self.task else results
        return root / self.protocol / self.algo / self.method / f"seed{self.seed}"

    def pretraining(self) -> Cell:
        """The cell whose agent this one starts from."""
        return dataclasses.replace(self, task="")

    def __str__(self) -> str:
        then = f", then {self.task}" if self.task else ""
        return f"{self.protocol} {self.algo} {self.method} seed {self.seed}{then}"


@dataclass(frozen=True)
class Result:
    """The data of one finished cell.

    Attributes:
        cell: its name.
        config: of the run.
        achievements: names, in the world's order.
        ends: frames at which its episodes ended, ``(episodes,)``.
        unlocked: achievements of its episodes, ``(episodes, achievements)`` bool.
        solved: whether they solved the task, ``(episodes,)`` bool; empty without a task.
        summary: from ``summary.json``: suggester, seconds, quality, versions.
        folder: of its files.
        scores: other numbers of the world, by name, each ``(episodes,)``.
    """

    cell: Cell
    config: Config
    achievements: tuple[str, ...]
    ends: np.ndarray
    unlocked: np.ndarray
    solved: np.ndarray
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    folder: Path = Path()
    scores: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Of the run."""
        return self.config.run.frames

    @property
    def world(self) -> World:
        """The world that it was played in."""
        return registry.get(self.config.env.name)

    @property
    def unlocks(self) -> float:
        """Mean distinct achievements over the last training episodes."""
        return float(self.unlocked[-RECENT:].sum(axis=1).mean()) if len(self.unlocked) else 0.0

    @property
    def success(self) -> np.ndarray:
        """Success rates over all training episodes, ``(achievements,)`` in [0, 1]."""
        return self.unlocked.sum(axis=0) / max(len(self.unlocked), 1)

    @property
    def score(self) -> float:
        """The world's score over all training episodes, in %."""
        return self._score(len(self.unlocked))

    @property
    def first_unlocks(self) -> np.ndarray:
        """Frame at which the first episode with each achievement ended, ``(achievements,)``; infinite if none did."""
        return np.where(self.unlocked, self.ends[:, None], np.inf).min(axis=0, initial=np.inf)

    @property
    def area(self) -> float:
        """Normalised area under the success curve, in [0, 1]: its mean over the run."""
        return float(self.success_curve(np.linspace(0, self.frames, AREA_POINTS)).mean())

    def unlock_curve(self, grid: np.ndarray) -> np.ndarray:
        """Mean unlocks of the last episodes, at each of ``grid`` frames."""
        return self._recent(self.unlocked.sum(axis=1), grid)

    def success_curve(self, grid: np.ndarray) -> np.ndarray:
        """Share of the last episodes that solved the task, at each of ``grid`` frames."""
        return self._recent(self.solved, grid)

    def score_curve(self, grid: np.ndarray) -> np.ndarray:
        """The world's score of all episodes so far, at each of ``grid`` frames, in %."""
        ended = np.searchsorted(self.ends, grid, side="right")
        return np.array([self._score(n) for n in ended])

    def _score(self, n: int) -> float:
        """The world's score of the first ``n`` episodes."""
        rates = self.unlocked[:n].sum(axis=0) / max(n, 1)
        means = {name: float(values[:n].mean()) for name, values in self.scores.items() if n}
        scores = self.world.scores(dict(zip(self.achievements, rates.tolist(), strict=True)), means)
        return scores[self.world.score[0]]

    def _recent(self, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
        means = pd.Series(values, dtype=float).rolling(RECENT, min_periods=1).mean()
        return np.array([0.0, *means])[np.searchsorted(self.ends, grid, side="right")]


@dataclass(frozen=True)
class Group:
    """Runs of one protocol and one algorithm, and those of no algorithm. Either all or none are of downstream tasks.

    Attributes:
        protocol: rules of the world.
        algo: learning algorithm.
        runs: in the order of their methods and seeds.
    """

    protocol: str
    algo: str
    runs: Sequence[Result]

    @functools.cached_property
    def methods(self) -> dict[str, list[Result]]:
        """Method (of pretraining, for downstream tasks) -> its runs."""
        return _by(self.runs, "method")

    @functools.cached_property
    def tasks(self) -> dict[str, Group]:
        """Downstream task -> its runs."""
        return {task: Group(self.protocol, self.algo, runs) for task, runs in _by(self.runs, "task").items()}

    def values(self, value: Callable[[Result], Any]) -> dict[str, np.ndarray]:
        """Method -> a value of each of its runs, ``(seeds, ...)``."""
        return {name: np.stack([value(run) for run in runs]) for name, runs in self.methods.items()}

    def ranked(self) -> list[str]:
        """Methods by their mean score, the best first."""
        scores = self.values(lambda run: run.score)
        return sorted(scores, key=lambda name: -scores[name].mean())

    def ranked_tasks(self) -> list[str]:
        """Tasks by the mean area under their success curves, the easiest first."""
        return sorted(self.tasks, key=lambda task: -np.mean([run.area for run in self.tasks[task].runs]))


def language_of(config: Config) -> Language:
    """The words of a run's world."""
    return _language(config.env.name, tuple(sorted(config.env.options.items())))


@functools.cache
def _language(world: str, options: tuple) -> Language:
    return registry.get(world).language(**dict(options))


def keep(run: Run, target: Path, pretrained: Path | None = None) -> None:
    """Copies the files of a finished run that its results need; the folder appears whole or not at all, also after a
    power failure.

    Args:
        run: the run.
        target: the cell's folder.
        pretrained: what is kept as the folder of the pretrained agent: that of its cell, which is the same on every
            machine.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    config = run.config.changed(**{"run.out": None, "transfer.pretrained": pretrained})
    write_whole(partial / "config.yaml", config_files.to_yaml(config))
    write_whole(partial / "summary.json", (run.folder / "summary.json").read_bytes())
    for log in ("episodes", "metrics"):
        path = run.folder / f"{log}.jsonl"  # which a run without a finished episode does not have
        content = path.read_bytes() if path.exists() else b""
        # Without a time inside, equal contents give equal files.
        write_whole(partial / f"{log}.jsonl.gz", gzip.compress(content, mtime=0))
    for best in sorted(run.replays.glob("*.json"))[:1]:
        write_whole(partial / "replay.json.gz", gzip.compress(best.read_bytes(), mtime=0))
    to_disk(partial)
    partial.rename(target)
    to_disk(target.parent)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a compressed log."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read(folder: Path, task: str = "", frames: int | None = None) -> Result:
    """Reads a cell; one of a task, if that is named.

    Args:
        folder: of the cell.
        task: downstream task, if it is one.
        frames: read only so many of its frames; None: all.

    Raises:
        UserError: if something in it cannot be read.
    """
    try:
        config = config_files.load(folder / "config.yaml")
        if "goal_weight" not in (folder / "config.yaml").read_text(encoding="utf-8"):
            raise UserError(f"{folder / 'config.yaml'} lacks options of version 0.9.0")
    except UserError as error:
        hint = "if it is of version 0.8.0 or before, experiments/migrate_config.py rewrites it"
        raise UserError(f"{error}; {hint}") from error
    try:
        rows = read_rows(folder / "episodes.jsonl.gz")
        whole = config.run.frames
        if frames is not None:
            rows = [row for row in rows if row["frames"] <= frames]
            config = config.changed(**{"run.frames": min(frames, config.run.frames)})
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        names = language_of(config).achievements
        unlocked = np.array([[name in row["unlocked"] for name in names] for row in rows], bool)
        ends = np.array([row["frames"] for row in rows], np.int64)
        first = rows[0]["length"] if rows else 0
        solved = np.array([row["success"] for row in rows if task], bool)
        protocol, algo, method = folder.parts[-4:-1]
        cell = Cell(protocol, algo, method, int(folder.name.removeprefix("seed")), task)
        own = [Episode.scores_of(row) for row in rows]
        scores = {name: np.array([one[name] for one in own], float) for name in (own[0] if own else ())}
        summary = {name: summary[name] for name in ("suggester", "seconds", "quality", "versions")}
        if config.run.frames < whole:  # what was summed up over the whole run
            summary |= {"seconds": summary["seconds"] * config.run.frames / whole, "quality": {}}
    except DAMAGED as error:
        raise UserError(f"{folder} is not a finished cell of a comparison") from error
    # All worlds start together, so the first episode to end began with the run.
    worlds = config.env.n_envs
    if rows and ends[0] != first * worlds:
        raise UserError(
            f"{folder} has lost the first episodes of its log: the first one left ended at frame "
            f"{ends[0]:,}, after {first} in each of {worlds} worlds; delete the folder and run it "
            "again"
        )
    unlocked = unlocked.reshape(len(rows), len(names))
    return Result(cell, config, names, ends, unlocked, solved, summary, folder, scores)


def read_all(results: Path, frames: int | None = None) -> list[Group]:
    """All finished cells but those of downstream tasks; of each only so many frames, if these are given.

    Methods without an algorithm stand in every group of their protocol.

    Raises:
        UserError: if there are none, or runs of a group differ in frames or world, or those of a method in their source
            of goals.
    """
    found = [read(folder, frames=frames) for folder in sorted(results.glob("*/*/*/seed*"))]
    if not found:
        raise UserError(f"{results} holds no finished runs; experiments/compare.py makes them")
    groups = list(_groups(found, f"{{}} in {results} mixes"))
    for group in groups:
        for method, runs in group.methods.items():
            sources = sorted({run.summary["suggester"] for run in runs})
            if len(sources) > 1:
                where = f"{group.protocol} {group.algo} {method} in {results}"
                raise UserError(f"{where} mixes goals from {' and '.join(sources)}")
    return groups


def read_tasks(results: Path) -> list[Group]:
    """All finished cells of downstream tasks.

    Controls that are the same whatever the algorithm stand in every group of their protocol.

    Raises:
        UserError: if runs of a group differ in their frames or their world.
    """
    found = [read(folder, folder.parts[-5]) for folder in sorted(results.glob(f"{TASKS}/*/*/*/*/seed*"))]
    return list(_groups(found, f"tasks of {{}} in {results} mix"))


def _groups(found: Sequence[Result], mixing: str) -> Iterator[Group]:
    """One group for each protocol and algorithm. Runs without an algorithm belong to all groups of their protocol.

    Args:
        found: all runs.
        mixing: beginning of the error, with {} for the group's name.

    Raises:
        UserError: if runs of a group differ in frames or world.
    """
    for protocol, runs in _by(found, "protocol").items():
        by_algo = _by(runs, "algo")
        for algo in sorted(by_algo.keys() - {ANY}) or [ANY]:
            group = [run for run in runs if run.cell.algo in (algo, ANY)]
            frames = [f"{n:,}" for n in sorted({run.frames for run in group})]
            worlds = sorted({run.config.env.name for run in group})
            for mixed, values in (("of {} frames", frames), ("in the worlds {}", worlds)):
                if len(values) > 1:
                    where = mixing.format(f"{protocol} {algo}")
                    raise UserError(f"{where} runs {mixed.format(', '.join(values))}")
            yield Group(protocol, algo, group)


def _by(runs: Iterable[Result], part: str) -> dict[str, list[Result]]:
    """Runs by a part of their cells' names."""
    found: dict[str, list[Result]] = {}
    for run in sorted(runs, key=lambda run: run.cell):
        found.setdefault(getattr(run.cell, part), []).append(run)
    return found
