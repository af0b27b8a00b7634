"""How good must a suggester be? Fits the scores of oracles with mistakes, and tests the fit on other suggesters.

The runs are those of ``compare.py --name dose --methods oracle-r100-p100 oracle-r80-p100 ...`` (docs/llm.md). Writes ``fit.json``
and ``curves.png`` beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from ellm_agent import cli
from ellm_agent.analysis import dose_response, figures
from ellm_agent.analysis.dose_response import Dose
from ellm_agent.analysis.results import read, read_all
from ellm_agent.errors import UserError


@dataclass(frozen=True)
class Options:
    results: Annotated[Path, tyro.conf.Positional] = Path("results/dose")
    """Folder of the comparison."""
    frames: int | None = None
    """Read only so many frames of each run. None: all."""
    held_out: tuple[tuple[Path, float, float], ...] = ()
    """Other suggesters, which are not fitted: a method's folder (results/NAME/PROTOCOL/ALGO/METHOD), its recall and its
    precision, as experiments/suggestion_quality.py measures them."""


def main(options: Options) -> None:
    """Fits, prints, tests, draws.

    Raises:
        UserError: if there are too few runs, or a folder holds none.
    """
    if options.frames is not None:
        cli.at_least(1, frames=options.frames)
    for folder, *_ in options.held_out:
        if not any(folder.glob("seed*")):
            raise UserError(
                f"held-out is {folder}, which holds no runs; name a method's folder (results/NAME/PROTOCOL/ALGO/METHOD)"
            )
    (group, *others) = read_all(options.results, options.frames)
    if others:
        names = ", ".join(f"{found.protocol} with {found.algo}" for found in (group, *others))
        raise UserError(
            f"results is {options.results}, which holds {names}; a fit is of one: name a folder with one of them"
        )
    runs = dose_response.doses(group)
    frames = min(run.frames for found in group.methods.values() for run in found)
    fitted = dose_response.fit(runs, frames)
    fitted.save(options.results / "fit.json")
    for run in sorted(runs, reverse=True):
        expected = fitted.predict(run.recall, run.precision).score
        print(
            f"recall {run.recall:.2f}, precision {run.precision:.2f}: {run.score:.1f} % (fit: {expected:.1f} %)"
        )
    print(f"residuals deviate by {fitted.deviation:.1f} %; {fitted.runs} runs of {frames:,} frames")
    others = {}
    for folder, recall, precision in options.held_out:
        scores = [read(seed, frames=frames).score for seed in sorted(folder.glob("seed*"))]
        predicted = fitted.predict(recall, precision)
        inside = sum(predicted.low <= score <= predicted.high for score in scores)
        print(
            f"{folder.name}, not fitted: recall {recall:.2f}, precision {precision:.2f}: predicted {predicted.score:.1f} %"
            f" [{predicted.low:.1f}, {predicted.high:.1f}], real {np.mean(scores):.1f} %, {inside} of {len(scores)} runs inside"
        )
        others[folder.name] = Dose(recall, precision, float(np.mean(scores)))
    with figures.style():
        figures.save_png(dose_response.draw(runs, fitted, others), options.results / "curves.png")


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
