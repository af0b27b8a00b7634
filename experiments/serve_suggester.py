"""Serves the embedded language model with OpenAI's protocol, for ``--llm-base-url`` or any other client."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

from ellm_agent import cli
from ellm_agent.errors import UserError
from ellm_agent.llm.bundled import FOLDER, EmbeddedModel
from ellm_agent.llm.server import make_server

PORTS = 2**16


@dataclass(frozen=True)
class Options:
    """Where to serve what."""

    model: Path = FOLDER
    """The model's folder."""
    host: str = "127.0.0.1"
    """Address to listen at; only this machine by default: there is no password."""
    port: int = 8000
    """Port to listen at; 0: any free one."""


def main(options: Options) -> None:
    """Serves until Ctrl-C.

    Raises:
        UserError: for a folder without a sound model, or a host or port where nobody can listen.
    """
    if not 0 <= options.port < PORTS:
        raise UserError(f"port is {options.port}; it must lie between 0 and {PORTS - 1}")
    model = EmbeddedModel(options.model)
    with _listening(model, options) as server:
        model.load()  # before the first question: what is wrong with it is told now
        print(f"{model.name} at http://{options.host}:{server.server_port}/v1; Ctrl-C ends it", flush=True)
        server.serve_forever()


def _listening(model: EmbeddedModel, options: Options) -> ThreadingHTTPServer:
    try:
        return make_server(model, options.host, options.port)
    except (socket.gaierror, UnicodeError):
        raise UserError(f"host is {options.host!r}; it must be an address, such as 127.0.0.1") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port is {options.port}, which is in use; choose another, or 0") from None
        where = f"{options.host}:{options.port}"
        raise UserError(f"cannot listen at {where}: {error.strerror}; choose another host or port") from None


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
