"""Baseline: particle entropy in features of an inverse model (APT; Liu & Abbeel 2021), no goals, no environment reward.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="apt")
