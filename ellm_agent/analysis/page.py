"""Pages that open from disk without a network: blocks, rendered by ``page.html.j2``, which escapes every text."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from ellm_agent.analysis import figures
from ellm_agent.analysis.tables import Table

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


@dataclass(frozen=True)
class Text:
    """A paragraph; ``kind``: "lead" (the result in one sentence), "aside" (a note), or ""."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Code:
    """Text that is shown verbatim."""

    text: str


@dataclass(frozen=True)
class Drawing:
    """A figure as part of the page, in the page's colours.

    Attributes:
        svg: the markup that matplotlib made, which escapes texts.
        caption: below it, and for those who cannot see it.
        width: of the figure, CSS pixels.
    """

    svg: Markup
    caption: str
    width: int


@dataclass(frozen=True)
class Picture:
    """A picture, within the page itself.

    Attributes:
        content: of the file.
        kind: its media type, such as image/gif.
        caption: below it, and for those who cannot see it.
    """

    content: bytes
    kind: str
    caption: str

    @property
    def data(self) -> str:
        """As base64."""
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class Row:
    """Blocks side by side, where there is room."""

    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


Block = Text | Code | Drawing | Picture | Row | Table


def drawing(figure: Figure, caption: str) -> Drawing:
    """A block of a figure."""
    width = round(figure.get_figwidth() * 96)
    return Drawing(Markup(figures.svg(figure)), caption, width)


def gif(path: Path) -> Picture:
    """A block of an animation, with its file's name as caption."""
    return Picture(path.read_bytes(), "image/gif", path.stem.replace("-", " "))


def render(title: str, sections: Sequence[Section], opening: Sequence[Block] = ()) -> str:
    """A whole page.

    Args:
        title: of the page.
        sections: its parts.
        opening: blocks before the first section.
    """
    return _TEMPLATES.get_template("page.html.j2").render(title=title, opening=opening, sections=sections)
