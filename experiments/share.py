"""Makes a folder of a trained agent for others, RUN --out FOLDER: weights, configuration, model card with results, GIF.

``experiments/evaluate.py FOLDER`` plays it anywhere. ``--push USER/NAME`` uploads it to the Hugging Face hub; the token comes
from HF_TOKEN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ellm_agent import cli


@dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional]
    """A run folder, or a folder that this script made (to push it)."""
    out: Path | None = None
    """The new folder. None: shared/ in the run's folder."""
    push: str | None = None
    """Repository on the Hugging Face hub, USER/NAME. None: nothing is uploaded."""


def share(options: Options) -> None:
    """Makes the folder, and uploads it."""
    from ellm_agent.runs.folder import Run
    from ellm_agent.sharing import folder, hub

    made = options.run
    if not folder.is_shared(made):
        made = options.out or options.run / "shared"
        folder.write(Run.open(options.run), made)
        print(f"shared in {made}; python experiments/evaluate.py {made} plays it")
    if options.push:
        folder.read(made)
        print(f"pushed to {hub.push(made, options.push)}")


if __name__ == "__main__":
    cli.script(share, Options, __doc__)
