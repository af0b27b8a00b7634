"""Measures which threshold T tells goals that an event satisfies from goals that it does not.

The measurement is ``ellm_agent/analysis/threshold.py``. Paths are relative to the working directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ellm_agent import cli


@dataclass(frozen=True)
class Options:
    world: str = "crafter"
    """The world whose events these are."""
    pairs: Path = Path("experiments/threshold_pairs.yaml")
    """Labelled wordings: event -> same (goals that it satisfies), near (goals that it does not)."""
    out: Path = Path("results/threshold.json")
    """File for precision and recall at each threshold."""
    figure: Path = Path("docs/threshold.png")
    """File for their curves."""


def main(options: Options) -> None:
    """Measures, chooses, draws, writes."""
    from ellm_agent.analysis import threshold

    threshold.measure(options.world, options.pairs, options.out, options.figure)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
