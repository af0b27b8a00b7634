"""Baseline: random network distillation (Burda et al. 2018), no goals, no environment reward.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="rnd")
