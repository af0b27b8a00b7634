"""Baseline: uniformly random actions, nothing is learned.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="random")
