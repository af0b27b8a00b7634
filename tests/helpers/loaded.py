"""Loads, when it is imported, what a run loads at its beginning: compiled code, vectors, options.

Imported once, by the process from which scripts are forked (``tests.helpers.processes``): each of them then has it. No
tokenizer is used here: their threads do not survive a fork.
"""

from __future__ import annotations

import torch
import transformers.models.gpt2  # noqa: F401 - of the bundled model

from ellm_agent import run_commands
from ellm_agent.build import make_agent, make_worlds
from ellm_agent.goals.base import OracleSuggester
from ellm_agent.text.phrases import PhraseTable

torch.set_num_threads(1)
_config = run_commands.parse(["--preset", "debug", "--goal-mode", "oracle", "--algo", "ppo"], "").config
make_agent(_config, make_worlds(_config, OracleSuggester(), PhraseTable(), 2)).learn(200)
