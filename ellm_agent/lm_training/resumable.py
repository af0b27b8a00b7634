"""Trainings that continue exactly where they were killed.

A folder holds ``recipe.json`` (what was asked for), ``training.pt`` (all state, written whole every so many steps) and
``training.jsonl`` (metrics, one row a step). Random numbers of a step depend on seed and step alone, so there is no state of
generators to keep.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ellm_agent.errors import UserError
from ellm_agent.llm.bundled import FOLDER
from ellm_agent.runs import checkpoints
from ellm_agent.runs.folder import write_whole

RECIPE = "recipe.json"  # by which a folder is known in which a training was begun
LINES = 20  # about the progress
EVERY = 20.0  # seconds between saved states


class Stateful(Protocol):
    """A part of a training that has a state."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Any) -> Any: ...


def generators(seed: int, step: int) -> tuple[np.random.Generator, torch.Generator]:
    """Random generators of a step, which depend on nothing else."""
    sequence = np.random.SeedSequence([seed, step])
    return np.random.default_rng(sequence), torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's own generator is seeded in the block, for first weights, and as before after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _check_new(folder: Path) -> None:
    """Checks that a training may write to a folder.

    Raises:
        UserError: if the folder holds a finished model, or anything else that is not of a training that was begun.
    """
    if (folder / "model.safetensors").exists() or folder.resolve() == FOLDER.resolve():
        raise UserError(f"out is {folder}, which holds a model; name a new folder")
    begun = (folder / RECIPE).exists()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not begun):
        raise UserError(f"out is {folder}, which holds something else; name a new folder")


def open_folder(folder: Path, recipe: Any, method: str) -> None:
    """Makes a training's folder, or finds the one that was begun.

    Args:
        folder: of the training.
        recipe: a dataclass: what is asked for; a training that is continued keeps it.
        method: its name.

    Raises:
        UserError: if the folder holds a finished model, or a training with another recipe.
    """
    _check_new(folder)
    wanted = {**json.loads(json.dumps(dataclasses.asdict(recipe), default=str)), "method": method}
    path = folder / RECIPE
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is damaged; name a new folder") from error
        for name in wanted:
            if found.get(name) != wanted[name]:
                raise UserError(
                    f"{folder} holds a training with {name} {found.get(name)!r}, but {name} is {wanted[name]!r}; name a new"
                    " folder, or give the same options to continue it"
                )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(wanted, indent=1) + "\n")


def run(
    folder: Path | None,
    parts: Mapping[str, Stateful],
    step: Callable[[int], Mapping[str, float]],
    steps: int,
    report: Callable[[str], None],
    name: str = "training",
) -> list[dict[str, float]]:
    """Trains, from the last saved state on.

    Args:
        folder: from ``open_folder``; None: nothing is saved.
        parts: everything that has a state.
        step: takes the step's number, and gives its metrics.
        steps: in all.
        report: receives lines about the progress.
        name: of the files of this training, and in the lines.

    Returns:
        The metrics of all steps.
    """
    rows: list[dict[str, float]] = []
    path = folder / f"{name}.pt" if folder else None
    if path and path.exists():
        state = checkpoints.read(path)
        with checkpoints.readable(path):
            for part in parts:
                parts[part].load_state_dict(state[part])
            rows = state["rows"]
        report(f"{name}: continues after step {len(rows):,}")
    started = saved = time.monotonic()
    first = len(rows)
    for number in range(first, steps):
        rows.append({"step": number + 1, **step(number)})
        last = number + 1 == steps
        if last or (number + 1) % max(1, steps // LINES) == 0:
            left = (time.monotonic() - started) / (number + 1 - first) * (steps - number - 1)
            recent = rows[-max(1, steps // LINES) :]
            names = [key for key in recent[-1] if key != "step"]
            means = {key: np.mean([row[key] for row in recent if key in row]) for key in names}
            words = "  ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in means.items())
            report(f"{name}: step {number + 1:,} of {steps:,}  {words}  {left:,.0f} s left")
        if path and (last or time.monotonic() - saved > EVERY):
            save(path, parts, rows)
            saved = time.monotonic()
    return rows


def save(path: Path, parts: Mapping[str, Stateful], rows: list[dict[str, float]]) -> None:
    """Writes the state of a training, and its metrics beside it."""
    checkpoints.write(path, {name: part.state_dict() for name, part in parts.items()} | {"rows": rows})
    write_whole(path.with_name(f"{path.stem}.jsonl"), "".join(json.dumps(row) + "\n" for row in rows))
