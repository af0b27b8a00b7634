"""Baseline: every goal of the game is suggested at all times. ``--success attempt`` also pays what was only tried.

The options are those of ``run_crafter.py``.
"""

if __name__ == "__main__":
    import sys

    sys.path.pop(0)  # this folder holds a random.py, which must not hide Python's own
    from ellm_agent.cli import experiment

    experiment(__doc__, method="novelty")
