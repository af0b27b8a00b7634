"""Ctrl-C and polite kills: the run saves what it has, then ends."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Notes the first SIGINT or SIGTERM within its block; the second one acts as it would have without it.

    Attributes:
        number: of the signal that came; None: none has.
    """

    def __init__(self):
        self.number: int | None = None

    def __enter__(self) -> StopRequest:
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self.__exit__()
        print("stopping as soon as all is saved; once more: at once", file=sys.stderr, flush=True)
