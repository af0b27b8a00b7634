"""Draws recorded episodes: the game, and beside it what the agent reads, is after and is paid for."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v2 as imageio
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ellm_agent.evaluation.recording import Recording
from envs.crafter.env import CrafterTextEnv

GAME = 450  # pixels, side of the game's picture
PANEL = 420  # pixels, width of the text beside it
MARGIN = 14
HOLD = 6  # frames for which a reward stays on the screen
MAX_GOALS = 11  # lines; more goals are counted
FPS = 8
PALETTE_FRAMES = 12  # at least; the frames of which a GIF's palette is made

BACKGROUND, TEXT, FAINT = (22, 24, 29), (232, 234, 237), (132, 138, 148)
OPEN, DONE, PAID = (138, 180, 248), (110, 116, 126), (129, 201, 149)


@dataclass
class _Banner:
    """The last reward, shown for a while."""

    text: str = ""
    left: int = 0


def frames(recording: Recording, stride: int = 1) -> Iterator[np.ndarray]:
    """Plays a recording again and draws each of its states.

    Args:
        recording: the world's seed, the actions, and what exploration made of them.
        stride: draw every n-th frame only; those with a reward are always drawn.

    Yields:
        ``(450, 870, 3)`` uint8 pictures.
    """
    # Without the night's grain: it hides the game, and makes a GIF five times as large.
    env = CrafterTextEnv(**recording.environment, render_mode="rgb_array", size=GAME, grain=False)
    env.reset(options={"world_seed": recording.world_seed})
    banner, total = _Banner(), 0.0
    for number, (action, step) in enumerate(zip(recording.actions, recording.steps, strict=True)):
        if number % stride == 0 or banner.left == HOLD:
            yield _draw(env, recording, number, step, banner, total)
            banner.left -= 1
        env.step(action)
        total += step["reward"]
        if step["met"]:
            banner = _Banner(_paid(step), HOLD)
    yield _draw(env, recording, len(recording.actions), None, banner, total)


def _paid(step: dict) -> str:
    """The reward, what happened, and the goals that it met where they are worded otherwise."""
    text = f"+{step['reward']:.2f}   {', '.join(step['events'])}"
    others = [goal for goal in step["met"] if goal not in step["events"]]
    return f"{text}   (goal: {', '.join(others)})" if others else text


def _draw(env, recording: Recording, number: int, step, banner: _Banner, total: float) -> np.ndarray:
    image = Image.new("RGB", (GAME + PANEL, GAME), BACKGROUND)
    image.paste(Image.fromarray(env.render()), (0, 0))
    pen = ImageDraw.Draw(image)
    x, y = GAME + MARGIN, MARGIN
    unlocked = len(env.unlocked)
    pen.text((x, y), f"frame {number}", TEXT, _font(16, bold=True))
    pen.text((x + 130, y + 1), f"reward {total:.2f}    unlocked {unlocked} of 22", FAINT, _font(14))
    y += 32
    if banner.left > 0:
        pen.rounded_rectangle((x - 4, y - 2, GAME + PANEL - MARGIN, y + 26), 5, fill=(34, 58, 44))
        pen.text((x + 4, y + 2), _fit(banner.text, 44), PAID, _font(15, bold=True))
    elif step is None:
        pen.text((x + 4, y + 2), "end of the episode", FAINT, _font(15, bold=True))
    y += 38
    if step is not None:
        y = _draw_goals(pen, x, y, step)
    lines = textwrap.wrap(env.caption_text("paper"), 54)[:6]
    y = GAME - MARGIN - 18 * len(lines) - 22
    pen.text((x, y), "what is seen", FAINT, _font(12, bold=True))
    for i, line in enumerate(lines):
        pen.text((x, y + 20 + 18 * i), line, TEXT, _font(13))
    return np.asarray(image)


def _draw_goals(pen: ImageDraw.ImageDraw, x: int, y: int, step: dict) -> int:
    """Suggested goals: those still open first, then those achieved, struck out."""
    pen.text((x, y), "goals suggested", FAINT, _font(12, bold=True))
    y += 20
    done = [goal for goal in step["goals"] if goal not in step["open"]]
    shown = [*step["open"], *done]
    for goal in shown[:MAX_GOALS]:
        achieved, color = goal in done, DONE if goal in done else OPEN
        label = _fit(goal, 42)
        pen.text((x + 8, y), label, color, _font(14))
        if achieved:
            width = pen.textlength(label, _font(14))
            pen.line((x + 6, y + 10, x + 10 + width, y + 10), color, 1)
        y += 19
    if len(shown) > MAX_GOALS:
        pen.text((x + 8, y), f"and {len(shown) - MAX_GOALS} more", FAINT, _font(12))
    if not shown:
        pen.text((x + 8, y), "none", FAINT, _font(14))
    return y


def _fit(text: str, width: int) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable if len(printable) <= width else printable[: width - 1] + "…"


@functools.cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def write_gif(recording: Recording, path: Path, max_frames: int = 400) -> None:
    """Writes an animated GIF; longer episodes skip frames evenly, but none with a reward.

    Args:
        recording: what to draw.
        path: of the GIF.
        max_frames: about how many frames to draw, at most.
    """
    stride = max(1, -(-len(recording.actions) // max_frames))
    # One palette for all frames: colours do not flicker, and equal regions stay equal for compression. It is made
    # from a few frames, so that never more than those are in memory in full.
    sample = [Image.fromarray(p) for p in frames(recording, max(1, len(recording.actions) // PALETTE_FRAMES))]
    palette = _tile(sample).quantize(64, method=Image.Quantize.MEDIANCUT)
    indexed = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in frames(recording, stride)
    ]
    durations = [1000 // FPS] * (len(indexed) - 1) + [2500]  # ms; the end stays a while
    indexed[0].save(
        path, save_all=True, append_images=indexed[1:], duration=durations, loop=0, optimize=False
    )


def write_mp4(recording: Recording, path: Path) -> None:
    """Writes an MP4 (H.264) with every frame."""
    with imageio.get_writer(path, fps=FPS, macro_block_size=2, codec="libx264") as writer:
        for picture in frames(recording):
            writer.append_data(picture)


def _tile(pictures: Sequence[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    tiled = Image.new("RGB", (width, height * len(pictures)))
    for i, picture in enumerate(pictures):
        tiled.paste(picture, (0, height * i))
    return tiled
