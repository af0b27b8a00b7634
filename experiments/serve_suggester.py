"""Serves the embedded language model with OpenAI's protocol, for ``--llm-base-url`` or any other client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ellm_agent import cli
from ellm_agent.llm.embedded import FOLDER, EmbeddedModel
from ellm_agent.llm.server import make_server


@dataclass
class Options:
    """Where to serve what."""

    model: Path = FOLDER
    """The model's folder."""
    host: str = "127.0.0.1"
    """Address to listen at; only this machine by default: there is no password."""
    port: int = 8000
    """Port to listen at; 0: any free one."""


def main(options: Options) -> None:
    model = EmbeddedModel(options.model)
    server = make_server(model, options.host, options.port)
    print(f"{model.name} at http://{options.host}:{server.server_port}/v1; Ctrl-C ends it", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    with cli.one_line_errors():
        main(tyro.cli(Options, description=__doc__))
