"""Tunes options with Optuna: --space ppo.learning-rate=1e-4..1e-2:log ppo.entropy=0.001..0.1:log --trials 20 -- --algo ppo

Start it several times, also on several machines with a shared --work: all play trials of one study. Started again after an
end of any kind, it goes on. Behind ``--`` stand further options of ``run_crafter.py``, for every run.
"""

from __future__ import annotations

import sys

from ellm_agent import cli
from ellm_agent.errors import UserError

if __name__ == "__main__":
    with cli.one_line_errors("stopped; the same command goes on"):
        try:
            from ellm_agent.sweeps import tuning
        except ModuleNotFoundError as error:
            raise UserError("Optuna is not installed: pip install -r requirements-tune.txt") from error
        words = sys.argv[1:]
        cut = words.index("--") if "--" in words else len(words)
        options = cli.parse_options(tuning.Options, words[:cut], __doc__)
        table = tuning.tune(options, words[cut + 1 :])
        print(f"{len(table['trials'])} trials; table in {options.results / options.name}.json")
        if table["best"]:
            best = table["best"]
            print(f"best: trial {best['trial']}, {best['score']:.2f}: {tuning.as_options(best['params'])}")
