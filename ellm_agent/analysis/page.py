"""Pages that open from disk without a network, on a phone and in the dark. Every text is escaped."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"  # what figures draw text and axes in; on a page it becomes the page's own colour
COLOURS = ("#1a73e8", "#e8710a", "#12a4af", "#d01884", "#188038", "#9334e6", "#b06000", "#d93025", "#5f6368", "#7cb342", "#c6a700")  # fmt: skip

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ margin-top: 2.5rem; }}
img, svg {{ max-width: 100%; height: auto; border-radius: 6px; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top; }}
th {{ border-bottom: 1px solid color-mix(in srgb, currentColor 30%, transparent); font-weight: 600; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }} td.number {{ white-space: nowrap; }}
.scroll svg {{ min-width: 40rem; }}
figure {{ margin: 1rem 0; }} figcaption, .aside {{ opacity: .75; }}
.row {{ display: flex; flex-wrap: wrap; gap: 1.5rem; }} .row figure {{ flex: 1 1 15rem; max-width: 28rem; }}
pre {{ overflow-x: auto; font-size: 13px; }}
@media (max-width: 60rem) {{ table {{ width: max-content; }} th, td {{ max-width: 16rem; }} }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page of ready parts."""
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def heading(text: str) -> str:
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, aside: bool = False) -> str:
    kind = ' class="aside"' if aside else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def code(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), numbers: Sequence[int] = ()) -> str:
    """A table.

    Args:
        rows: cells.
        head: titles of the columns, if any.
        numbers: columns that are numbers.
    """

    def line(cells: Sequence[str], kind: str) -> str:
        number = ' class="number"'
        told = [
            f"<{kind}{number if i in numbers else ''}>{html.escape(str(cell))}</{kind}>"
            for i, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(told)}</tr>"

    lines = [line(head, "th")] if head else []
    lines += [line(row, "td") for row in rows]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def markdown(rows: Iterable[Sequence[str]], head: Sequence[str]) -> list[str]:
    """The lines of a table in Markdown."""
    first, *lines = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return [first, "|---" * len(head) + "|", *lines]


def picture(content: bytes, kind: str, caption: str) -> str:
    """A picture, in the page itself.

    Args:
        content: of the file.
        kind: its media type, such as image/gif.
        caption: below it, and for those who cannot see it.
    """
    told, data = html.escape(caption), base64.b64encode(content).decode()
    return (
        f'<figure><img alt="{told}" src="data:{kind};base64,{data}"><figcaption>{told}</figcaption></figure>'
    )


def drawing(figure: Figure, caption: str) -> str:
    """A figure as part of the page, in the page's colours."""
    from matplotlib import pyplot

    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    pyplot.close(figure)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(
        r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*"', r"\1\2", svg, count=1
    )
    told = html.escape(caption)
    return f'<figure role="img" aria-label="{told}"><div class="scroll">{svg}</div><figcaption>{told}</figcaption></figure>'


def row(figures: Iterable[str]) -> str:
    """Figures side by side, where there is room."""
    return f'<div class="row">{"".join(figures)}</div>'


@contextmanager
def figures() -> Iterator[None]:
    """Settings of matplotlib for drawings on a page."""
    import matplotlib

    matplotlib.use("agg")
    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {
        **dict.fromkeys(ink, INK),
        "svg.fonttype": "none",
        "svg.hashsalt": "ellm",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "axes.grid": False,
    }
    with matplotlib.rc_context(settings):
        yield


def animation(path: Path) -> str:
    """A GIF with its name as caption."""
    return picture(path.read_bytes(), "image/gif", path.stem.replace("-", " "))
