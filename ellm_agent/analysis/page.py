"""Pages that open from disk without a network, and tables for documents: jinja2 templates; pages escape every text."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ellm_agent.analysis import figures, tables

TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=jinja2.select_autoescape(["html.j2"], default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
TEMPLATES.globals |= {"figures": figures, "tables": tables}
TEMPLATES.filters |= {
    "svg": lambda figure: Markup(figures.svg(figure)),  # matplotlib escapes texts
    "base64": lambda content: base64.b64encode(content).decode(),
}


@figures.style()
def render(template: str, **values: Any) -> str:
    """A page or a document.

    Args:
        template: name of its file.
        **values: that it uses.
    """
    return TEMPLATES.get_template(template).render(values)
