"""Learns from logs, without playing: RUN... --algo iql|cql|awr|bc|filtered-bc. Evaluated on held-out worlds.

RUN is a run that was played with ``--record``, or a dataset that ``experiments/dataset.py`` wrote. Frames are transitions
drawn from the log. The other options are those of ``run_crafter.py``; docs/offline.md explains.
"""

from ellm_agent.run_commands import offline

if __name__ == "__main__":
    offline(__doc__)
