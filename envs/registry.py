"""Worlds by name. A new world is a package below ``envs/`` and one line here."""

from __future__ import annotations

import functools
import importlib

from envs.interface import World, unknown

WORLDS = {  # name -> where its World object is
    "crafter": "envs.crafter.world:CRAFTER",
    "housekeep": "envs.housekeep.world:HOUSEKEEP",
}


def register(name: str, place: str) -> None:
    """Adds a world, such as ``register("maze", "my_package.maze:MAZE")``."""
    WORLDS[name] = place
    get.cache_clear()


@functools.cache
def get(name: str) -> World:
    """The world of a name.

    Raises:
        ValueError: one line, if there is none.
    """
    if name not in WORLDS:
        raise ValueError(unknown("world", name, tuple(WORLDS)))
    module, _, attribute = WORLDS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
