"""Runs methods x seeds x protocols, several at once, and keeps their raw results under ``results/<name>/``.

What is finished is not run again, so a sweep that was stopped goes on; a cell that was under way goes on from its last
checkpoint, so that its files are those of a sweep that was never stopped, but for times and speeds (a real language model
may answer otherwise). ``experiments/report.py`` makes tables and figures of the results.

The runs are processes of this machine, or, with ``--cluster``, tasks of a Ray cluster (docs/scaling.md).

With ``--tasks``, each method is a way of pretraining (``none``: no pretraining), and each task is then learned by every
agent. Behind ``--`` stand further options of ``run_crafter.py``, for every run.
"""

from __future__ import annotations

import sys

from ellm_agent import cli
from ellm_agent.sweeps import sweep
from ellm_agent.sweeps.plan import Options

if __name__ == "__main__":
    with cli.one_line_errors():
        words = sys.argv[1:]
        cut = words.index("--") if "--" in words else len(words)
        sweep.run(cli.parse_options(Options, words[:cut], __doc__), sys.argv[: cut + 1], words[cut + 1 :])
