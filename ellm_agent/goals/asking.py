"""When a language model is asked: which captions next, and how long to pause after failures. Asks nothing itself."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

BATCH = 64  # captions that a model in this process is asked about at once
COUNTED = 2**14  # captions whose frequency is counted; some are forgotten when there are twice as many
LONGEST_PAUSE = 1024  # calls


class CaptionQueue:
    """Captions without an answer, the most frequent first, and the number that may be asked about.

    Args:
        every: frames for each caption that may be asked about.

    Attributes:
        credit: captions that may be asked about now; starts with a batch.
    """

    def __init__(self, every: int):
        self._every = every
        self.credit = float(BATCH)
        self._frames: Counter[str] = Counter()  # caption -> frames
        self._forgotten = 0  # captions that were in it

    @property
    def distinct(self) -> int:
        """Number of distinct captions that were noted and not removed, forgotten ones included."""
        return len(self._frames) + self._forgotten

    def note(self, unanswered: Sequence[str], frames: int) -> None:
        """Counts the captions without an answer among those of so many frames."""
        self._frames.update(unanswered)
        if len(self._frames) > 2 * COUNTED:  # few of the rarest will ever be asked about
            kept = dict(self._frames.most_common(COUNTED))
            self._forgotten += len(self._frames) - len(kept)
            self._frames = Counter({caption: n for caption, n in self._frames.items() if caption in kept})
        self.credit = min(self.credit + frames / self._every, 4 * BATCH)

    def choose(self, most: int, excluding: Collection[str] = ()) -> list[str]:
        """The most frequent captions, as many as ``most`` and the credit allow; spends the credit."""
        count = min(most, int(self.credit))
        if count <= 0:
            return []
        candidates = ((caption, n) for caption, n in self._frames.items() if caption not in excluding)
        chosen = [caption for caption, _ in heapq.nlargest(count, candidates, key=lambda pair: pair[1])]
        self.credit -= len(chosen)
        return chosen

    def remove(self, caption: str) -> None:
        """Removes a caption that is not to be asked about any more."""
        self._frames.pop(caption, None)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {"credit": self.credit, "frames": dict(self._frames), "forgotten": self._forgotten}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``."""
        self.credit, self._forgotten = state["credit"], state["forgotten"]
        self._frames = Counter(state["frames"])


class Backoff:
    """Pauses after failures: one call, then two, then four, ..., until something succeeds."""

    def __init__(self):
        self._length = self._left = 0  # calls

    def skip(self) -> bool:
        """Whether this call is part of a pause."""
        if self._left:
            self._left -= 1
            return True
        return False

    def fail(self) -> bool:
        """Starts a pause, twice as long as the last. Returns whether it is the first after a success."""
        if self._left:  # the failed questions were in flight when the pause began
            return False
        first = not self._length
        self._length = self._left = min(2 * self._length or 1, LONGEST_PAUSE)
        return first

    def succeed(self) -> None:
        """Lets the next pause be a short one."""
        self._length = 0

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {"length": self._length, "left": self._left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the result of ``state_dict``."""
        self._length, self._left = state["length"], state["left"]
