"""Graceful stop: after Ctrl-C, SIGTERM or SIGHUP a run saves a checkpoint, then ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from ellm_agent.terminal import print_stderr

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GracefulStop:
    """Records the first SIGINT, SIGTERM or SIGHUP within its block; a second one acts as usual.

    Signals that are ignored already (``nohup``) stay ignored.

    Attributes:
        number: of the signal received; None: none yet.
    """

    def __init__(self):
        self.number: int | None = None

    def __enter__(self) -> GracefulStop:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore_handlers()
        print_stderr("stopping after a checkpoint; send the signal again to stop at once")
