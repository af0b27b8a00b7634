"""llama.cpp's server in a process of its own: ``python llama_server.py MODEL THREADS``. ``local.py`` starts it.

Prints its URL when it answers. Ends when its standard input does, and so with the run that started it, however that ends.
Imports nothing of this project, so that it starts fast.
"""

import os
import signal
import sys
import threading

CONTEXT = 4096  # tokens of a question and its answer


def main() -> None:
    """Serves until standard input ends. Exit status 1 with llama.cpp's words on stderr if it cannot begin."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which may still ask before it ends
    threading.Thread(target=_end_with_input, daemon=True).start()
    import xllamacpp

    model, threads = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port = ["127.0.0.1"], 0  # a free one
    # One question after the other: on a CPU several at once are not faster, and one slot keeps the prompts' beginning.
    params.n_parallel, params.n_ctx = 1, CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.warmup, params.ui, params.offline = False, False, True
    params.verbosity = 1  # errors
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(str(error))
    print(server.listening_address, flush=True)
    threading.Event().wait()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # at once: nothing has to be saved


if __name__ == "__main__":
    main()
