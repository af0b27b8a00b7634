"""How the score of a run depends on its suggester's recall and precision, fitted to oracles with mistakes; and predictions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from ellm_agent.analysis import figures
from ellm_agent.analysis.results import Group
from ellm_agent.errors import UserError
from ellm_agent.runs.folder import write_whole

NAME = re.compile(r"oracle-r(\d+)-p(\d+)")  # of the methods in config/methods.py
CONFIDENCE = 0.95


class Dose(NamedTuple):
    """One run with an oracle of known mistakes."""

    recall: float
    precision: float  # as counted in the run: where few goals are impossible, fewer false ones can be added
    score: float  # %


class Prediction(NamedTuple):
    """An expected score, %, and the interval that holds a new run's with 95 % probability."""

    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """Least squares of score = b0 + b1 r + b2 r^2 + b3 p + b4 r p over runs: more recall helps less and less.

    Attributes:
        coefficients: b0 to b4.
        inverse: (X'X)^-1.
        deviation: of the residuals, %.
        runs: that were fitted.
        frames: of each run.
        ranges: lowest and highest recall, and lowest and highest precision, of the runs.
    """

    coefficients: list[float]
    inverse: list[list[float]]
    deviation: float
    runs: int
    frames: int
    ranges: list[list[float]]

    def predict(self, recall: float, precision: float) -> Prediction:
        """The score of a new run: y +- t s sqrt(1 + x' (X'X)^-1 x), with t of n - 5 degrees of freedom."""
        x = _row(recall, precision)
        score = float(x @ np.array(self.coefficients))
        spread = self.deviation * np.sqrt(1 + x @ np.array(self.inverse) @ x)
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.runs - len(x)) * spread)
        return Prediction(score, score - half, score + half)

    def covers(self, recall: float, precision: float) -> bool:
        """Whether a suggester lies among those that were fitted; outside, a prediction is a guess."""
        (r0, r1), (p0, p1) = self.ranges
        return r0 <= recall <= r1 and p0 <= precision <= p1

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        write_whole(path, json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> Fit:
        """
        Raises:
            UserError: if the file cannot be read.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(f"cannot read the fit {path}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is no fit of experiments/dose_response.py") from error


def _row(recall: float, precision: float) -> np.ndarray:
    return np.array([1.0, recall, recall**2, precision, recall * precision])


def doses(group: Group) -> list[Dose]:
    """The runs of a comparison that had oracles with mistakes."""
    found = []
    for method, runs in group.methods.items():
        match = NAME.fullmatch(method)
        for run in runs if match else ():
            suggested = run.summary["quality"].get("suggested") or {"good": int(match[2]) / 100}
            found.append(Dose(int(match[1]) / 100, suggested["good"], run.score))
    return found


def fit(runs: Sequence[Dose], frames: int) -> Fit:
    """Fits scores to recall and precision.

    Raises:
        UserError: if there are too few runs.
    """
    rows = np.array([_row(run.recall, run.precision) for run in runs]).reshape(-1, len(_row(0, 0)))
    terms = rows.shape[1]
    if len(rows) <= terms or np.linalg.matrix_rank(rows) < terms:
        raise UserError(
            f"{len(rows)} runs do not say how recall and precision act; at least {terms + 1} different are needed"
        )
    scores = np.array([run.score for run in runs])
    inverse = np.linalg.inv(rows.T @ rows)
    coefficients = inverse @ rows.T @ scores
    residuals = scores - rows @ coefficients
    deviation = float(np.sqrt(residuals @ residuals / (len(rows) - terms)))
    ranges = [[float(f(column)) for f in (min, max)] for column in (rows[:, 1], rows[:, 3])]
    return Fit(coefficients.tolist(), inverse.tolist(), deviation, len(rows), frames, ranges)


def draw(runs: Sequence[Dose], fitted: Fit, others: dict[str, Dose]) -> Figure:
    """Scores against recall, one line of the fit for each precision, with other suggesters' runs as crosses."""
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    grid = np.linspace(*fitted.ranges[0], 50)
    levels = sorted({round(run.precision, 1) for run in runs}, reverse=True)
    for level, colour in zip(levels, figures.COLOURS, strict=False):
        mine = [run for run in runs if round(run.precision, 1) == level]
        axes.plot([run.recall for run in mine], [run.score for run in mine], "o", color=colour)
        p = float(np.mean([run.precision for run in mine]))
        line = [fitted.predict(r, p) for r in grid]
        axes.plot(grid, [point.score for point in line], color=colour, label=f"precision {p:.2f}")
        axes.fill_between(
            grid, [point.low for point in line], [point.high for point in line], color=colour, alpha=0.1
        )
    for name, run in others.items():
        axes.plot(run.recall, run.score, "kx")
        axes.annotate(
            f" {name} (precision {run.precision:.2f})", (run.recall, run.score), fontsize=8, ha="right"
        )
    axes.set(xlabel="recall of possible goals", ylabel="score, %", title=f"{fitted.frames:,} frames")
    axes.legend()
    return figure
