"""Reads Housekeep's votes on where objects belong (Kant et al. 2022), without running any code of the file's.

The file is ``cos_eor/scripts/orm/amt_data/data.npy`` of the public repository yashkant/housekeep (MIT): a dictionary in NumPy's
format for pickled objects. ``ranks[i, j, k]`` is what annotator k said of object j in receptacle i: positive if it belongs
there, negative if it is found there but does not belong there, 0 for neither. An ordinary unpickler would run whatever code
such a file names. The one here knows lists, dictionaries, text, numbers and plain arrays, and refuses everything else.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from envs.housekeep.placements import NAME, Place, Placements, placements

SHARE = 0.6  # of the annotators who must agree: Housekeep's rule, 6 of 10
HELD_OUT_EVERY = 3  # the file has no split: in alphabetical order, each third object is held out
MOST_BYTES = 2**26  # of the file; the original has 2.8 MB
_RENAMED = {"childs room": "child's room", "pantry room": "pantry"}  # theirs -> ours
_KINDS = "iufbUS"  # of arrays: numbers and text


def read_votes(path: Path) -> Placements:
    """Placements by Housekeep's rule: right (or typically wrong) where at least 6 of 10 annotators say so.

    Raises:
        OSError: if the file cannot be read.
        ValueError: one line: it is damaged, has another form, or names rooms or receptacles that the world does not have.
    """
    data = _read(path)
    try:
        return _placements(data)
    except _Wrong as error:
        raise ValueError(f"{path} holds no votes of Housekeep: {error}") from error


def _read(path: Path) -> Any:
    """The object in a ``.npy`` file."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} holds no votes of Housekeep: it has more than {MOST_BYTES} bytes")
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(stream)
        if shape != () or dtype.kind != "O":
            raise _Wrong("it is an array, not a dictionary")
        array = _Unpickler(stream).load()
        (value,) = array.value() if isinstance(array, _Array) else (array,)
    except _Wrong as error:
        raise ValueError(f"{path} holds no votes of Housekeep: {error}") from error
    except Exception as error:
        reason = type(error).__name__
        raise ValueError(f"{path} holds no votes of Housekeep: it cannot be read ({reason})") from error
    return value


class _Wrong(Exception):
    """One line about the file's content."""


class _DType:
    """Stands for ``numpy.dtype`` while a file is read."""

    def __init__(self, code: str, *_: Any):
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        """The type; numbers and text only."""
        if not isinstance(self.code, str) or self.code[:1] not in (*_KINDS, "O"):
            raise _Wrong(f"it holds an array of type {self.code!r}")
        return np.dtype(self.code).newbyteorder(self.order if self.order in "<>" else "=")


class _Array:
    """Stands for ``numpy.ndarray``: only its raw content is taken, so no code of NumPy's meets it unchecked."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.dtype, self.fortran, self.data = state

    def value(self) -> Any:
        """The array; of objects: a list."""
        dtype = self.dtype.numpy()
        if dtype.kind == "O":
            return list(self.data)
        shape = tuple(int(n) for n in self.shape)
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(self.data):
            raise _Wrong(f"an array of shape {shape} has {len(self.data)} bytes")
        return np.frombuffer(self.data, dtype).reshape(shape, order="F" if self.fortran else "C")


def _scalar(dtype: _DType, data: bytes) -> Any:
    return np.frombuffer(data, dtype.numpy())[0].item()


# What arrays and texts of NumPy are pickled with, under its old and its new names.
_KNOWN = {
    "_reconstruct": lambda *_: _Array(),
    "scalar": _scalar,
    "ndarray": _Array,
    "dtype": _DType,
}
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class _Unpickler(
    pickle._Unpickler
):  # the one in Python: that in C reserves as much memory as a file tells it to
    def find_class(self, module: str, name: str) -> Any:
        if module not in _MODULES or name not in _KNOWN:
            raise _Wrong(f"it wants to run {f'{module}.{name}'!r}")
        return _KNOWN[name]

    def persistent_load(self, _: Any) -> Any:
        raise _Wrong("it refers to something outside the file")


def _placements(data: Any) -> Placements:
    if not isinstance(data, dict):
        raise _Wrong(f"it holds a {type(data).__name__}, not a dictionary")
    for key in ("ranks", "objects", "room_receptacles"):
        if key not in data:
            raise _Wrong(f"it has no {key!r}")
    ranks = data["ranks"].value() if isinstance(data["ranks"], _Array) else data["ranks"]
    objects = [_name(o, "object") for o in _texts(data, "objects")]
    pairs = [text.split("|") for text in _texts(data, "room_receptacles")]
    for pair in pairs:
        if len(pair) != 2:
            raise _Wrong(f"{'|'.join(pair)!r} is not room|receptacle")
    standard = placements()
    found = [Place(_name(room, "room"), _name(receptacle, "receptacle")) for room, receptacle in pairs]
    for place in found:
        if place.room not in standard.rooms:
            raise _Wrong(f"the world has no room {place.room!r}")
        if place.receptacle not in standard.prepositions:
            raise _Wrong(f"the world has no receptacle {place.receptacle!r}")
    if len(set(found)) < len(found) or len(set(objects)) < len(objects):
        raise _Wrong("it names an object or a place twice")
    shape = getattr(ranks, "shape", ())
    if (
        len(shape) != 3
        or shape[:2] != (len(found), len(objects))
        or not shape[2]
        or ranks.dtype.kind not in "iu"
    ):
        raise _Wrong(
            f"ranks must be integers of shape ({len(found)}, {len(objects)}, annotators); they have {shape}"
        )
    rooms = {
        room: tuple(p.receptacle for p in found if p.room == room)
        for room in dict.fromkeys(p.room for p in found)
    }
    places = tuple(Place(room, name) for room, names in rooms.items() for name in names)
    order = [found.index(place) for place in places]
    least = math.ceil(SHARE * shape[2])
    right, wrong = (((sign * ranks > 0).sum(axis=2) >= least)[order].T for sign in (1, -1))
    if not right.any() or not wrong.any():
        raise _Wrong(f"nothing is right, or nothing is wrong, by {least} of {shape[2]} votes")
    alphabetical = sorted(objects)
    held_out = np.array([alphabetical.index(o) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 for o in objects])
    category = ("",) * len(objects)
    return Placements(
        rooms, standard.prepositions, places, tuple(objects), held_out, right, wrong & ~right, category
    )


def _texts(data: dict, key: str) -> list[str]:
    values = data[key].value() if isinstance(data[key], _Array) else data[key]
    values = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(values, list | tuple) or not values or not all(isinstance(v, str) for v in values):
        raise _Wrong(f"{key} is no list of texts")
    return list(values)


def our_name(theirs: str) -> str:
    """Our spelling of a name: "childs_room" is "child's room"."""
    name = theirs.replace("_", " ").lower()
    return _RENAMED.get(name, name)


def their_name(ours: str) -> str:
    """Their spelling of an object's name."""
    return ours.replace(" ", "_")


def _name(theirs: str, what: str) -> str:
    name = our_name(theirs)
    if not NAME.fullmatch(name):
        raise _Wrong(f"an {what} is named {theirs[:40]!r}; names are words")
    return name
