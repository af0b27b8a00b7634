"""Stands for the package xllamacpp: a server that answers by the scene, if the "model" is not called damaged."""

import sys
import types
from contextlib import ExitStack

from tests.helpers.llm_server import by_scene, serve


class CommonParams:
    def __init__(self):
        self.model, self.cpuparams, self.cpuparams_batch = (types.SimpleNamespace() for _ in range(3))


class Server:
    def __init__(self, params):
        if "damaged" in params.model.path:
            print("0.00.1 E gguf: failed to read tensor data", file=sys.stderr)
            raise RuntimeError("Failed to init server, please check the input params.")
        assert params.hostnames == ["127.0.0.1"]
        assert params.port == 0
        self._stack = ExitStack()
        self.listening_address = self._stack.enter_context(serve(by_scene)).url.removesuffix("/v1")
