"""Learns a downstream task with a fresh DQN, half of whose random actions are a pretrained agent's: RUN --task "mine stone".

``--from-scratch`` is the control; the other options are those of ``run_crafter.py``, as the pretrained run had them.
"""

from ellm_agent.run_commands import downstream

if __name__ == "__main__":
    downstream(__doc__, "guide")
