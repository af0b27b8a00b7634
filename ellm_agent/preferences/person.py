"""A person as a judge: queries that wait, the choices, and what the page shows of clips. Knows nothing of HTTP."""

from __future__ import annotations

import functools
import io
import itertools
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ellm_agent.config.env import EnvConfig
from ellm_agent.preferences.clips import Clip, ClipReader
from ellm_agent.preferences.judges import LaterJudge
from ellm_agent.preferences.labels import PREFERRED, Choice, Label, LabelFile
from ellm_agent.preferences.queries import Query
from envs import registry

QUESTION = "Choose the clip that you want to see more of."
SIZE = 450  # pixels, of a clip's picture, which is square; Crafter's own size, so that none is scaled
FRAME, LAST_FRAME = 120, 700  # ms that a picture stays
BAR = 8  # rows at the foot of the picture that fill from left to right as the clip plays
EMPTY, FULL = (44, 48, 58), (92, 156, 246)  # of the bar; seen on light pages and on dark ones
END = "the game ends"  # written at the top of an episode's last picture
COLOURS, SAMPLE = 256, 4  # of the palette; pictures that it is made from, about
SIDES = ("left", "right")
OLD = 8  # answered queries whose pictures can be had
DRAWN = 32  # pictures kept: a page asks for the next query's before it shows them


class PersonJudge(LaterJudge):
    """Somebody at a page. Safe to use from several threads: training offers queries, the page's server takes choices.

    Args:
        labels: where choices are kept; each is on the disk when ``choose`` returns.
        reader: puts clips into words.
        env: the worlds of the clips, to draw them.
        count: labels that are wanted.
        question: what makes a clip the better one, in a sentence.
    """

    name = "person"

    def __init__(
        self, labels: LabelFile, reader: ClipReader, env: EnvConfig, count: int, question: str = QUESTION
    ):
        self._labels, self._reader, self._count, self._question = labels, reader, count, question
        self._queries: deque[Query] = deque()
        self._answered: deque[Query] = deque(maxlen=OLD)  # a page may still be loading their pictures
        self._lock, self._drawing = threading.RLock(), threading.Lock()
        self._draw = functools.lru_cache(DRAWN)(lambda clip: draw(clip, env))
        self.changes = len(labels.labels)  # which are read into the table here, not in the page's thread

    # --- for training -------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> list[Query]:
        with self._lock:
            return list(self._queries)

    def offer(self, queries: Sequence[Query]) -> None:
        with self._lock:
            self._queries.extend(queries)
        if queries:
            threading.Thread(target=self._draw_ahead, args=(list(queries),), daemon=True).start()

    def _draw_ahead(self, queries: list[Query]) -> None:
        """Draws before the page asks: beside training, a picture takes a second or two."""
        for query, side in itertools.product(queries, SIDES):
            if self.find(query.key) and not self.finished:
                self.picture(query.key, side)

    # --- for the page -------------------------------------------------------------------------------------------------

    def next(self) -> list[Query]:
        """The query to answer now, and the one after it: none, one or both."""
        with self._lock:
            done = self.finished or len(self._labels) >= self._count
            return [] if done else list(self._queries)[:2]

    def find(self, key: str) -> Query | None:
        """A query that waits, by its key."""
        with self._lock:
            return next((query for query in self._queries if query.key == key), None)

    def choose(self, key: str, choice: Choice) -> bool:
        """Answers a query, and keeps the answer; False if it does not wait (any more): a key pressed twice.

        Raises:
            UserError: if the answer cannot be written; the query waits still.
        """
        assert choice in PREFERRED, choice
        with self._lock:
            query = self.find(key)
            if query is None:
                return False
            self._labels.append(Label(query, choice, self.name))
            self._queries.remove(query)
            self._answered.append(query)
            self.changes += 1
            return True

    def undo(self) -> bool:
        """Takes the last answer back, and shows its query again; False if there is none.

        Raises:
            UserError: if that cannot be written.
        """
        with self._lock:
            label = self._labels.undo()
            if label is None:
                return False
            self._queries.appendleft(label.query)
            self.changes += 1
            return True

    def state(self) -> dict[str, Any]:
        """What the page shows: the present query and the next one, in words, and how far it all is."""
        progress = {name.removeprefix("preference/"): value for name, value in self.progress.items()}
        with self._lock:
            labels = len(self._labels)
            queries = [self._describe(query) for query in self.next()]
        return {
            **progress,
            "question": self._question,
            "labels": labels,
            "count": self._count,
            "undoable": labels > 0,
            "finished": self.finished,
            "queries": queries,
        }

    def _describe(self, query: Query) -> dict[str, Any]:
        return {"key": query.key, **{side: self._happened(getattr(query, side)) for side in SIDES}}

    def _happened(self, clip: Clip) -> list[str]:
        return [event for _, event in self._reader.events(clip)]

    def picture(self, key: str, side: str) -> bytes | None:
        """The animated GIF of one side of a query that waits, or was answered a moment ago; None if there is none.

        Args:
            key: of the query.
            side: "left" or "right".
        """
        with self._lock:
            query = next((query for query in (*self._queries, *self._answered) if query.key == key), None)
        if query is None or side not in SIDES:
            return None
        with self._drawing:  # one at a time: training goes on beside it
            return self._draw(getattr(query, side))


def draw(clip: Clip, env: EnvConfig) -> bytes:
    """Plays a clip's episode again and draws its states as an animated GIF without end, with a bar that shows how far it is.
    If the episode ends there, its last picture says so.

    Args:
        clip: what to draw.
        env: its world.
    """
    world = registry.get(env.name)
    played = world.make_env(**env.options, render_mode="rgb_array")
    played.reset(options={"world_seed": clip.world_seed})
    pictures, ended = [], False
    for number, action in enumerate(clip.actions, start=1):
        if number > clip.start:
            pictures.append(Image.fromarray(world.draw(played)).resize((SIZE, SIZE)))
        _, _, terminated, truncated, _ = played.step(action)
        ended = terminated or truncated
    pictures.append(Image.fromarray(world.draw(played)).resize((SIZE, SIZE)))
    for number, picture in enumerate(pictures, start=1):
        width = SIZE * number // len(pictures)
        picture.paste(EMPTY, (0, SIZE - BAR, SIZE, SIZE))
        picture.paste(FULL, (0, SIZE - BAR, width, SIZE))
    if ended:
        _write(pictures[-1], END)
    # One palette for all, so that colours do not flicker.
    sample = np.concatenate([np.asarray(picture) for picture in pictures[:: max(1, len(pictures) // SAMPLE)]])
    palette = Image.fromarray(sample).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    first, *others = (p.quantize(COLOURS, palette=palette, dither=Image.Dither.NONE) for p in pictures)
    durations = [FRAME] * len(others) + [LAST_FRAME]
    content = io.BytesIO()
    first.save(
        content, "GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=False
    )
    return content.getvalue()


def _write(picture: Image.Image, text: str) -> None:
    """Writes at the top of a picture, in the bar's colours: the palette holds them."""
    height = SIZE // 8
    picture.paste(EMPTY, (0, 0, SIZE, height))
    font = ImageFont.load_default(size=SIZE // 12)
    ImageDraw.Draw(picture).text((SIZE // 2, height // 2), text, FULL, font, anchor="mm")
