"""Draws a home with Pillow: the player's room, labelled, and below it a map and what is held. No picture files are needed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from envs.housekeep.homes import BOARD, DIRECTIONS, FLOOR, ROOM

if TYPE_CHECKING:
    from envs.housekeep.env import HousekeepEnv

SIZE = 450  # pixels, side of the picture
TILE, THICK = 70, 24  # pixels: side of a cell, thickness of the walls
LEFT, TOP = (SIZE - ROOM * TILE) // 2, THICK  # where the first cell of the room begins
STRIP = TOP + ROOM * TILE + THICK  # where the text below begins
LABEL, SMALL, NORMAL = 10, 11, 14  # points
LINE = 12  # pixels, height of a label's line

BACKGROUND, INK, PALE = (28, 30, 36), (240, 240, 236), (160, 164, 172)
WALL_COLOUR, FLOOR_COLOUR, FLOOR_LINE, DOOR_COLOUR = (
    (84, 78, 74),
    (214, 200, 178),
    (198, 184, 162),
    (142, 98, 60),
)
GOOD, BAD = (46, 140, 70), (205, 50, 45)  # frames of objects that lie right and that do not
PLAYER, SKIN = (40, 96, 178), (236, 190, 150)

# Colours of receptacles by what they are made of; the others are wood.
_WHITE = (
    "fridge",
    "freezer",
    "sink",
    "dishwasher",
    "microwave",
    "bathtub",
    "toilet",
    "washer",
    "dryer",
    "oven",
    "stove",
    "cooktop",
)
_SOFT = ("sofa", "sofa chair", "bed", "office chair", "carpet")
_METAL = (
    "coffee machine",
    "tool box",
    "trash can",
    "treadmill",
    "loudspeaker",
    "speaker system",
    "towel rack",
    "coat rack",
)
_WOVEN = ("basket", "laundry basket", "toy box")
_FACES = {
    **dict.fromkeys(_WHITE, (226, 232, 236)),
    **dict.fromkeys(_SOFT, (126, 152, 176)),
    **dict.fromkeys(_METAL, (150, 154, 160)),
    **dict.fromkeys(_WOVEN, (206, 164, 96)),
}
_WOOD = (172, 122, 78)


def draw(env: HousekeepEnv) -> np.ndarray:
    """The present state, ``(450, 450, 3)`` uint8.

    Labels on receptacles are their names, tags are objects: framed green where they belong, red where they do not. The
    yellow frame is what the player faces.
    """
    image = Image.new("RGB", (SIZE, SIZE), BACKGROUND)
    pen = ImageDraw.Draw(image)
    home = env.home
    west, north = home.corners[env.room]
    inner = (LEFT, TOP, LEFT + ROOM * TILE - 1, TOP + ROOM * TILE - 1)
    pen.rectangle((inner[0] - THICK, inner[1] - THICK, inner[2] + THICK, inner[3] + THICK), WALL_COLOUR)
    for i in range(ROOM):
        for j in range(ROOM):
            left, top = LEFT + i * TILE, TOP + j * TILE
            pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), FLOOR_COLOUR, FLOOR_LINE)
            code = int(home.grid[west + i, north + j])
            if code > FLOOR:
                _draw_receptacle(pen, env, code - 1, (left, top, left + TILE - 1, top + TILE - 1))
    for x, y, room in home.doors(env.room):
        _draw_door(image, env.room_name(room), x - west, y - north)
    x, y = env.x - west, env.y - north
    _draw_player(pen, env, LEFT + x * TILE, TOP + y * TILE)
    x, y = x + env.facing[0], y + env.facing[1]
    if 0 <= x < ROOM and 0 <= y < ROOM:
        left, top = LEFT + x * TILE, TOP + y * TILE
        pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), outline=(250, 206, 60), width=2)
    _draw_map(pen, env)
    held = "nothing" if env.held < 0 else env.name(env.held)
    pen.text((12, STRIP + 5), f"{env.room_name(env.room)}    in hand: {held}", INK, _font(NORMAL, bold=True))
    fixed = (
        f"{len(env.fixed)} of {len(home.misplaced)} misplaced objects put right; red: does not belong here"
    )
    pen.text((12, STRIP + 27), fixed, PALE, _font(SMALL))
    return np.asarray(image)


def _draw_door(image: Image.Image, room: str, x: int, y: int) -> None:
    """A door in the wall, at a cell relative to the room's first, with the name of the room behind it."""
    label = Image.new("RGB", (TILE + 24, THICK - 4), DOOR_COLOUR)
    pen = ImageDraw.Draw(label)
    text = f"to {room}"
    while pen.textlength(text, _font(LABEL)) > label.width - 2:
        text = text[:-2] + "."
    pen.text(((label.width - pen.textlength(text, _font(LABEL))) / 2, 3), text, INK, _font(LABEL))
    across = 0 <= x < ROOM  # in the northern or southern wall
    if not across:
        label = label.rotate(90, expand=True)
    width = LEFT + x * TILE - 12 if across else LEFT - THICK + 2 if x < 0 else LEFT + ROOM * TILE + 2
    height = TOP + y * TILE - 12 if not across else TOP - THICK + 2 if y < 0 else TOP + ROOM * TILE + 2
    image.paste(label, (width, height))


def _draw_receptacle(pen: ImageDraw.ImageDraw, env: HousekeepEnv, place: int, box: tuple[int, ...]) -> None:
    left, top, right, bottom = box
    name = env.known.places[env.home.places[place]].receptacle
    colour = _FACES.get(name, _WOOD)
    pen.rounded_rectangle(
        (left + 2, top + 2, right - 2, bottom - 2), 5, colour, tuple(c * 2 // 3 for c in colour), 2
    )
    text = (20, 20, 24) if sum(colour) > 380 else INK
    y = _write(pen, name, left, top + 3, text, bold=True)
    lying = sorted((o for o, at in enumerate(env.at) if at == place), key=lambda o: env.since[o])
    if lying and place == env.faced_place:  # first the one that a grab takes
        first = env.looking % len(lying)
        lying = lying[first:] + lying[:first]
    room_left = bottom - 3 - y
    for number, thing in enumerate(lying):
        lines = _wrap(env.name(thing), TILE - 8)
        height = LINE * len(lines) + 4
        if height > room_left or (height + LINE > room_left and number + 1 < len(lying)):
            pen.text((left + 5, y), f"+{len(lying) - number} more", text, _font(LABEL))
            break
        frame = GOOD if env.is_right(thing) else BAD
        pen.rectangle((left + 3, y, right - 3, y + height), (252, 250, 244), frame, 2)
        _write(pen, env.name(thing), left, y + 1, (20, 20, 24), lines)
        y, room_left = y + height + 1, room_left - height - 1


def _draw_player(pen: ImageDraw.ImageDraw, env: HousekeepEnv, left: int, top: int) -> None:
    middle, head = left + TILE // 2, top + 20
    pen.rounded_rectangle((middle - 13, top + 30, middle + 13, top + 64), 7, PLAYER)
    pen.ellipse((middle - 12, head - 12, middle + 12, head + 12), SKIN, (120, 84, 60))
    dx, dy = env.facing
    for side in (-4, 4):  # eyes, on the side to which the player looks
        x, y = middle + 6 * dx + side * (dx == 0), head + 4 * dy + side * (dy == 0)
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), (20, 20, 24))
    if env.reaching:
        pen.line((middle, top + 40, middle + 32 * dx, top + 40 + 28 * dy), SKIN, 6)
    if env.held >= 0:
        lines = _wrap(env.name(env.held), TILE - 8)
        y = top + TILE - 5 - LINE * len(lines)
        pen.rectangle((left + 2, y, left + TILE - 3, top + TILE - 2), (255, 244, 200), (170, 130, 20))
        _write(pen, env.name(env.held), left, y, (20, 20, 24), lines)


def _draw_map(pen: ImageDraw.ImageDraw, env: HousekeepEnv) -> None:
    """The home: rooms, doors, the player; red dots are misplaced objects."""
    cell, gap = 14, 2
    left, top = SIZE - BOARD * (cell + gap) - 6, STRIP + 2
    for room, corner in enumerate(env.home.corners):
        column, row = (c // (ROOM + 1) for c in corner)
        x, y = left + column * (cell + gap), top + row * (cell + gap)
        pen.rectangle((x, y, x + cell, y + cell), (236, 206, 120) if room == env.room else (110, 112, 120))
        for k, (dx, dy) in enumerate(DIRECTIONS):
            if env.home.neighbours[room, k] >= 0:
                x2, y2 = x + cell // 2 + dx * (cell // 2 + 1), y + cell // 2 + dy * (cell // 2 + 1)
                pen.rectangle((x2 - 2, y2 - 2, x2 + 2, y2 + 2), DOOR_COLOUR)
        wrong = [
            o
            for o, at in enumerate(env.at)
            if at >= 0 and env.home.place_room[at] == room and not env.is_right(o)
        ]
        for k in range(len(wrong)):
            x2, y2 = x + 1 + 4 * (k % 3), y + 2 + 4 * (k // 3)
            pen.ellipse((x2, y2, x2 + 3, y2 + 3), BAD)


def _write(
    pen: ImageDraw.ImageDraw,
    text: str,
    left: int,
    top: int,
    colour: tuple[int, int, int],
    lines: list[str] | None = None,
    bold: bool = False,
) -> int:
    """Writes centred lines into a cell; returns the height below them."""
    for line in lines or _wrap(text, TILE - 6, bold):
        width = pen.textlength(line, _font(LABEL, bold))
        pen.text((left + (TILE - width) / 2, top), line, colour, _font(LABEL, bold))
        top += LINE
    return top + 2


@functools.cache
def _wrap(text: str, width: int, bold: bool = False) -> list[str]:
    """Lines of words that fit into a width in pixels; a longer word is cut."""
    font, lines = _font(LABEL, bold), []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            while font.getlength(word) > width:
                word = word[:-2] + "."
            lines.append(word)
    return lines


@functools.cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
