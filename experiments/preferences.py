"""Teaches an agent by comparisons of clips: RUN --judge person opens a page where you choose (docs/preferences.md).

RUN is a finished run: its recorded episodes give the first clips, and its options are the defaults of the run that begins,
in which the learned reward takes the place of all others. A run that was begun in this way goes on from its last checkpoint.
With --suggestions the page shows four suggestions of a language model for a scene instead, and trains nothing: the choices
in RUN/preferences/choices.jsonl are for the suggester's reward model. The other options are those of run_crafter.py.
"""

from ellm_agent import cli
from ellm_agent.preferences.command import main

if __name__ == "__main__":
    with cli.one_line_errors("stopped; the same command goes on from the last checkpoint"):
        main(__doc__)
