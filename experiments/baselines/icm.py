"""Baseline: error of a forward model (ICM; Pathak et al. 2017), no goals, no environment reward.

The options are those of ``run_crafter.py``.
"""

if __name__ == "__main__":
    import sys

    sys.path.pop(0)  # this folder holds a random.py, which must not hide Python's own
    from ellm_agent.cli import experiment

    experiment(__doc__, method="icm")
