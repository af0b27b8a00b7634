"""Trains an agent on Crafter that explores by goals in language. ``--help`` lists the options."""

from ellm_agent.run_commands import experiment

if __name__ == "__main__":
    experiment(__doc__)
