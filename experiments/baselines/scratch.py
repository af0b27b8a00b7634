"""Baseline: the environment's own reward, and nothing else.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="scratch")
