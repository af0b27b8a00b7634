"""Results that can be worked out by hand."""

import gzip
import json
from pathlib import Path

import numpy as np

from ellm_agent.analysis.results import Cell, Result
from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from envs import registry

NAMES = registry.get("crafter").language().achievements
LENGTHS = (20, 50, 100)  # of episodes, frames


def write_cell(folder: Path, cell: Cell, unlocks: int, version: str = "0.7.0", lost: int = 0, **options):
    """Writes a cell whose 32 worlds all played the same: three episodes, of which the last two unlock something.

    Args:
        folder: of the comparison.
        cell: to write.
        unlocks: achievements that those episodes unlock.
        version: of the package.
        lost: episodes that the log has lost.
        **options: of the configuration, by dotted name with __ for dots.
    """
    place = cell.folder(folder)
    place.mkdir(parents=True)
    changes = {name.replace("__", "."): value for name, value in options.items()}
    config = PRESETS["default"].changed(**{"run.frames": 32 * sum(LENGTHS), **changes})
    (place / "config.yaml").write_text(config_files.to_yaml(config))
    ends = 32 * np.cumsum(LENGTHS)
    rows = [
        {
            "frames": int(end),
            "length": length,
            "unlocked": NAMES[: unlocks * (end > ends[0])],
            "success": bool(end > ends[1]),
        }
        for end, length in zip(ends.tolist(), LENGTHS, strict=True)
    ]
    log = "".join(json.dumps(row) + "\n" for row in rows[lost:])
    (place / "episodes.jsonl.gz").write_bytes(gzip.compress(log.encode()))
    bins = {"good": 0.75, "poorly_timed": 0.25, "bad": 0.0, "nonsensical": 0.0}
    summary = {
        "suggester": cell.method,
        "seconds": 2.0,
        "quality": {"suggested": bins, "rewarded": bins} if cell.method == "oracle" else {},
        "versions": {"ellm-agent": version},
    }
    (place / "summary.json").write_text(json.dumps(summary))


def result(
    cell: Cell, ends: list[int], unlocked: np.ndarray, solved: list[bool] = (), frames: int = 300
) -> Result:
    """A result without files."""
    config = PRESETS["default"].changed(**{"run.frames": frames})
    return Result(cell, config, NAMES, np.array(ends), unlocked, np.array(solved))
