"""Learns a downstream task with a pretrained agent's networks: RUN --task "mine stone". The paper's settings are the defaults.

``--from-scratch`` is the control; the other options are those of ``run_crafter.py``, as the pretrained run had them.
"""

from ellm_agent.run_commands import downstream

if __name__ == "__main__":
    downstream(__doc__, "finetune")
