"""Baseline: error of a forward model (ICM; Pathak et al. 2017), no goals, no environment reward.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="icm")
