"""What is a language model worth as a suggester? Its goals for held-out situations, before anybody trains on them.

Any model that a run can have (``--llm ...``, ``--goal-mode open``, ``closed`` or ``scored``), in any world, beside the oracle, the
bundled model, the commonest goals, and random ones. In Crafter also the score that a run with it can be expected to have.
"""

from __future__ import annotations

import json
import math
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ellm_agent import cli
from ellm_agent.config import PRESETS
from ellm_agent.config import files as config_files
from ellm_agent.config.suggester import SuggesterConfig

if TYPE_CHECKING:
    from ellm_agent.lm_training.suggestion_quality import Quality

FIT = Path(__file__).resolve().parents[1] / "results" / "dose" / "fit.json"
FITTED = "crafter"  # the world of the fit


@dataclass(frozen=True)
class Options:
    world: str = "crafter"
    """The world."""
    protocol: str | None = None
    """Its rules. None: the world's default."""
    count: int = 300
    """Situations."""
    seed: int = 1
    """Of the situations."""
    references: bool = True
    """Whether to measure oracle, bundled model, commonest and random goals as well."""
    out: Path | None = None
    """JSON file for the figures. None: they are only printed."""
    suggester: Annotated[SuggesterConfig, tyro.conf.arg(name="")] = field(default_factory=SuggesterConfig)


def main(options: Options) -> None:
    """Measures and prints.

    Raises:
        UserError: for options that make no sense.
        LanguageModelError: if the model cannot be asked.
    """
    cli.at_least(1, count=options.count)
    cli.at_least(0, seed=options.seed)
    cli.writable(out=options.out)
    import torch  # imported late: --help must not wait for it

    from ellm_agent.analysis.dose_response import Fit
    from ellm_agent.build import make_suggester
    from ellm_agent.lm_training import suggestion_quality as quality
    from ellm_agent.runs.folder import write_whole
    from envs import registry

    torch.set_num_threads(1)
    config = config_files.in_world(PRESETS["default"], options.world)
    llm = options.suggester.llm.model_dump() | {"wait": True, "every": None}
    with config_files.one_line():
        config = config.changed(
            **{"env.protocol": options.protocol, "suggester": options.suggester.model_dump() | {"llm": llm}}
        )
    world = registry.get(options.world)
    language = world.language(**config.env.options)
    protocol = config.env.options["protocol"]
    asked = quality.states(world, options.count, options.seed, protocol)
    rows = {}

    def measure(name: str, suggester: quality.GoalSuggester) -> None:
        with closing(suggester):
            print(f"{name or suggester.description} ...", flush=True)
            rows[name or suggester.description] = quality.measure(suggester, asked, language)

    measure("", make_suggester(config, language))
    if options.references:
        others = quality.states(
            world, options.count, options.seed + 1, protocol, quality.HELD_OUT_WORLDS + quality.OTHERS
        )
        measure("oracle", make_suggester(config.changed(suggester={"kind": "oracle"}), language))
        if world.has_bundled_model:
            bundled = {"kind": "open", "llm": {"kind": "bundled", "wait": True}}
            measure("bundled model, open form", make_suggester(config.changed(suggester=bundled), language))
        for name, suggester in quality.references(others, language).items():
            measure(name, suggester)
    _print(rows)
    if options.world == FITTED and FIT.is_file():
        fit = Fit.load(FIT)
        name, measured = next(iter(rows.items()))
        expected = fit.predict(measured.recall, measured.precision)
        hint = (
            ""
            if fit.covers(measured.recall, measured.precision)
            else "; outside of what was measured: a guess"
        )
        print(
            f"score to expect of {fit.frames:,} frames with {name}: {expected.score:.0f} %"
            f" [{expected.low:.0f}, {expected.high:.0f}] (PPO, results/dose{hint})"
        )
    if options.out:
        content = {"world": options.world, "situations": options.count, "seed": options.seed}
        content["rows"] = {name: figures(row) for name, row in rows.items()}
        write_whole(options.out, json.dumps(content, indent=1))


def figures(row: Quality) -> dict[str, float | None]:
    """A row as JSON values: None in place of nan."""
    return {name: None if math.isnan(value) else value for name, value in asdict(row).items()}


def _print(rows: dict) -> None:
    """Prints the figures as a table."""
    from rich.console import Console
    from rich.table import Table

    names = (
        "good",
        "poorly timed",
        "bad",
        "nonsensical",
        "recall",
        "precision",
        "AUC",
        "goals",
        "s",
        "tokens",
        "$/1,000",
    )
    table = Table("", *names)
    for name, row in rows.items():
        shares = (row.good, row.poorly_timed, row.bad, row.nonsensical, row.recall, row.precision, row.auc)
        tokens = f"{row.tokens_read:.0f} + {row.tokens_written:.0f}" if row.tokens_read else "-"
        dollars = f"{row.usd:.2f}" if row.usd == row.usd else "-"
        table.add_row(
            name,
            *(f"{share:.2f}" for share in shares),
            f"{row.goals:.1f}",
            f"{row.seconds:.2f}",
            tokens,
            dollars,
        )
        if row.silent:
            table.add_row(f"  (no answer to {row.silent:.0%})")
    Console(highlight=False, width=160).print(table)


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
