"""Results of many runs: one folder for each, and what is computed from their files alone.

A cell is ``results/<name>/<protocol>/<algo>/<method>/seed<n>/``, or, of a downstream task after pretraining by that method,
``results/<name>/tasks/<task>/<protocol>/<algo>/<method>/seed<n>/``, with

config.yaml          the run's configuration
summary.json         its summary
episodes.jsonl.gz    one row per finished training episode
metrics.jsonl.gz     one row per logging interval
replay.json.gz       the best episode of its last evaluation
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ellm_agent.config import files as config_files
from ellm_agent.errors import UserError
from ellm_agent.evaluation.scores import crafter_score
from ellm_agent.runs.callbacks import RECENT
from ellm_agent.runs.folder import Run, write_whole
from envs.crafter.knowledge import knowledge

AREA_POINTS = 201  # of a curve whose area is taken
ANY = "any"  # the algorithm of methods that have none
TASKS = "tasks"  # folder of downstream tasks
NOTHING = "none"  # pretraining of agents that learn a task from scratch


@dataclass(frozen=True, order=True)
class Cell:
    """One run of a comparison; ``task``: that is learned after pretraining by the method, or ""."""

    protocol: str
    algo: str
    method: str
    seed: int
    task: str = ""

    def folder(self, results: Path) -> Path:
        """Where its results lie."""
        root = results / TASKS / self.task if self.task else results
        return root / self.protocol / self.algo / self.method / f"seed{self.seed}"

    def pretraining(self) -> Cell:
        """The cell whose agent this one starts from."""
        return dataclasses.replace(self, task="")

    def __str__(self) -> str:
        then = f", then {self.task}" if self.task else ""
        return f"{self.protocol} {self.algo} {self.method} seed {self.seed}{then}"


def keep(run: Run, target: Path, pretrained: Path | None = None) -> None:
    """Keeps what of a finished run the results need; the folder appears whole or not at all.

    Args:
        run: the run.
        target: the cell's folder.
        pretrained: what is kept as the folder of the pretrained agent: that of its cell, which is the same on every machine.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    source = dataclasses.replace(run.config.transfer, pretrained=pretrained)
    config = dataclasses.replace(run.config, out=None, transfer=source)
    write_whole(partial / "config.yaml", config_files.to_yaml(config))
    shutil.copy(run.folder / "summary.json", partial / "summary.json")
    for log in ("episodes", "metrics"):
        path = run.folder / f"{log}.jsonl"  # which a run without a finished episode does not have
        compress(path.read_bytes() if path.exists() else b"", partial / f"{log}.jsonl.gz")
    best = sorted(run.replays.glob("*.json"))[:1]
    for replay in best:
        compress(replay.read_bytes(), partial / "replay.json.gz")
    partial.rename(target)


def compress(content: bytes, path: Path) -> None:
    """Writes a gzip file; without a name and a time inside, equal contents give equal files."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(content)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a compressed log."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@dataclass(frozen=True)
class Result:
    """What one cell gave.

    Attributes:
        cell: which.
        frames: of the run.
        ends: frames at which its episodes ended, ``(episodes,)``.
        unlocked: achievements of its episodes, ``(episodes, achievements)`` bool.
        solved: whether they solved the task, ``(episodes,)`` bool; nothing without a task.
        summary: its summary.
        folder: where it lies.
    """

    cell: Cell
    frames: int
    ends: np.ndarray
    unlocked: np.ndarray
    solved: np.ndarray
    summary: dict[str, Any]
    folder: Path

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
        """Crafter score over all training episodes, in %."""
        return crafter_score(self.success)

    @property
    def version(self) -> str:
        """Of this package, which made it."""
        return self.summary["versions"].get("ellm-agent", "before 0.7.0")

    def unlock_curve(self, grid: np.ndarray) -> np.ndarray:
        """Mean unlocks of the last episodes, at each of ``grid`` frames."""
        return self._recent(self.unlocked.sum(axis=1), grid)

    @property
    def guided(self) -> bool:
        """Whether a pretrained agent guided it."""
        return config_files.load(self.folder / "config.yaml").transfer.transfer == "guide"

    def success_curve(self, grid: np.ndarray) -> np.ndarray:
        """Share of the last episodes that solved the task, at each of ``grid`` frames."""
        return self._recent(self.solved, grid)

    def area(self) -> float:
        """Normalised area under the success curve, in [0, 1]: its mean over the run."""
        return float(self.success_curve(np.linspace(0, self.frames, AREA_POINTS)).mean())

    def _recent(self, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
        sums = np.concatenate([[0], values.cumsum()])
        last = np.searchsorted(self.ends, grid, side="right")
        first = np.maximum(last - RECENT, 0)
        return (sums[last] - sums[first]) / np.maximum(last - first, 1)

    def score_curve(self, grid: np.ndarray) -> np.ndarray:
        """Crafter score of all episodes so far, at each of ``grid`` frames, in %."""
        sums = np.concatenate([np.zeros((1, self.unlocked.shape[1])), self.unlocked.cumsum(axis=0)])
        last = np.searchsorted(self.ends, grid, side="right")
        return np.array([crafter_score(sums[n] / max(n, 1)) for n in last])


def read(folder: Path, task: str = "") -> Result:
    """Reads a cell; one of a task, if that is named.

    Raises:
        UserError: if something in it cannot be read.
    """
    try:
        config = config_files.load(folder / "config.yaml")
        rows = read_rows(folder / "episodes.jsonl.gz")
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        names = list(knowledge().achievements)
        unlocked = np.array([[name in row["unlocked"] for name in names] for row in rows], bool)
        ends = np.array([row["frames"] for row in rows], np.int64)
        solved = np.array([row["success"] for row in rows if task], bool)
        protocol, algo, method = folder.parts[-4:-1]
        cell = Cell(protocol, algo, method, int(folder.name.removeprefix("seed")), task)
        summary = {name: summary[name] for name in ("suggester", "seconds", "quality", "versions")}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise UserError(f"{folder} is not a finished cell of a comparison") from error
    # All worlds start together, so the first episode to end began with the run.
    worlds = config.environment.n_envs
    if rows and rows[0]["frames"] != rows[0]["length"] * worlds:
        raise UserError(
            f"{folder} has lost the first episodes of its log: the first one left ended at frame {rows[0]['frames']:,}, "
            f"after {rows[0]['length']} in each of {worlds} worlds; delete the folder and run it again"
        )
    unlocked = unlocked.reshape(len(rows), len(names))
    return Result(cell, config.frames, ends, unlocked, solved, summary, folder)


def read_tasks(results: Path) -> dict[tuple[str, str], dict[str, dict[str, list[Result]]]]:
    """All finished cells of downstream tasks: (protocol, algo) -> task -> method of pretraining -> results by seed.

    Controls that are the same whatever the algorithm stand in every group of their protocol.

    Raises:
        UserError: if some of a group had other frames.
    """
    groups: dict[tuple[str, str], dict[str, dict[str, list[Result]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    found = [read(folder, folder.parts[-5]) for folder in sorted(results.glob(f"{TASKS}/*/*/*/*/seed*"))]
    for key, result in _by_group(found):
        groups[key][result.cell.task][result.cell.method].append(result)
    for (protocol, algo), by_task in groups.items():
        runs = [run for methods in by_task.values() for runs in methods.values() for run in runs]
        _same_frames(f"tasks of {protocol} {algo} in {results} mix", runs)
        for methods in by_task.values():
            for seeds in methods.values():
                seeds.sort(key=lambda result: result.cell.seed)
    return {key: {task: dict(m) for task, m in by_task.items()} for key, by_task in sorted(groups.items())}


def read_all(results: Path) -> dict[tuple[str, str], dict[str, list[Result]]]:
    """All finished cells: (protocol, algo) -> method -> results by seed.

    Methods without an algorithm stand in every group of their protocol.

    Raises:
        UserError: if there are none, or some of a group had other frames, or of a method other sources of goals.
    """
    groups: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for key, result in _by_group([read(folder) for folder in sorted(results.glob("*/*/*/seed*"))]):
        groups[key][result.cell.method].append(result)
    if not groups:
        raise UserError(f"{results} holds no finished runs; experiments/compare.py makes them")
    for (protocol, algo), methods in groups.items():
        _same_frames(
            f"{protocol} {algo} in {results} mixes", [run for runs in methods.values() for run in runs]
        )
        for method, seeds in methods.items():
            suggesters = {result.summary["suggester"] for result in seeds}
            if len(suggesters) > 1:
                raise UserError(
                    f"{protocol} {algo} {method} in {results} mixes goals from {' and '.join(sorted(suggesters))}"
                )
            seeds.sort(key=lambda result: result.cell.seed)
    return {key: dict(methods) for key, methods in sorted(groups.items())}


def _by_group(results: Sequence[Result]) -> Iterator[tuple[tuple[str, str], Result]]:
    """Results and the (protocol, algo) that they stand in: their own, or, without an algorithm, all of their protocol."""
    own = {(result.cell.protocol, result.cell.algo) for result in results if result.cell.algo != ANY}
    for result in results:
        protocol, algo = result.cell.protocol, result.cell.algo
        shared = [key for key in sorted(own) if key[0] == protocol] if algo == ANY else []
        for key in shared or [(protocol, algo)]:
            yield key, result


def _same_frames(mixing: str, results: Iterable[Result]) -> None:
    frames = sorted({result.frames for result in results})
    if len(frames) > 1:
        raise UserError(f"{mixing} runs of {', '.join(f'{n:,}' for n in frames)} frames")
