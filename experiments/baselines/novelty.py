"""Baseline: every goal of the game is suggested at all times. ``--success attempt`` also rewards what was only tried.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="novelty")
