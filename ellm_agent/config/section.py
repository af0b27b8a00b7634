"""What all sections of a configuration have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import BaseModel, ConfigDict, Field

# A section whose options have no prefix: `--threshold`, not `--reward.threshold`.
INHERITED = tyro.conf.arg(name="")
PathOption = Annotated[Path, Field(strict=False)]  # YAML holds text


def flag(name: str, *aliases: str) -> Any:
    """The name of an option on the command line, where it differs from the field's."""
    return tyro.conf.arg(name=name, aliases=[f"--{alias}" for alias in aliases])


class Section(BaseModel):
    """A frozen part of the configuration. Unknown keys and values out of bounds are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
