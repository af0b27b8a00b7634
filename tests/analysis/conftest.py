"""Results that can be worked out by hand."""

import pytest

from ellm_agent.analysis.results import Cell
from tests.analysis.cells import write_cell


@pytest.fixture
def known(tmp_path):
    """The folder of a comparison: three seeds, two learners, and a method without one."""
    for seed in range(3):
        for algo in ("dqn", "ppo"):
            write_cell(tmp_path, Cell("crafter", algo, "oracle", seed), 9 + 3 * seed)
            version = "0.6.0" if algo == "dqn" else "0.7.0"
            write_cell(tmp_path, Cell("crafter", algo, "rnd", seed), 3 * seed, version)
        write_cell(tmp_path, Cell("crafter", "any", "random", seed), 3)
    return tmp_path
