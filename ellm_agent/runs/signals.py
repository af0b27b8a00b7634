"""Ctrl-C, polite kills and closed terminals: the run saves what it has, then ends."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from ellm_agent.terminal import tell

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Notes the first SIGINT, SIGTERM or SIGHUP within its block; the second one acts as it would have without it.

    What is ignored already (``nohup``) stays so.

    Attributes:
        number: of the signal that came; None: none has.
    """

    def __init__(self):
        self.number: int | None = None

    def __enter__(self) -> StopRequest:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *_) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._give_back()
        tell("stopping as soon as all is saved; once more: at once")
