"""Upper reference: exactly the goals whose prerequisites hold are suggested, as a perfect language model would.

The options are those of ``run_crafter.py``.
"""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__, method="oracle")
