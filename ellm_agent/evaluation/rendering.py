"""Draws recorded episodes: the world, and beside it the goals, the rewards and the caption. The world draws itself."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import imageio.v2 as imageio
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
from ellm_agent.runs.folder import Run
from envs import registry
from envs.interface import World

HEIGHT = 450  # pixels, of the world's picture, which is square
PANEL = 420  # pixels, width of the text beside it
MARGIN = 14
HOLD = 6  # frames for which a reward stays on the screen
MAX_GOALS = 8  # lines; more goals are counted
MAX_LINES = 6  # of the caption
FPS = 8
PALETTE_FRAMES = 12  # at least; the frames of which a GIF's palette is made

BACKGROUND, TEXT, FAINT = (22, 24, 29), (232, 234, 237), (132, 138, 148)
OPEN, DONE, REWARDED = (138, 180, 248), (110, 116, 126), (129, 201, 149)


@dataclass
class _Banner:
    """The last reward and the reason for it, shown for a while."""

    reward: str = ""
    reason: str = ""
    left: int = 0


def frames(recording: Recording, stride: int = 1) -> Iterator[np.ndarray]:
    """Plays a recording again and draws each of its states.

    Args:
        recording: the world's seed, the actions, and the goals and rewards of each step.
        stride: draw every n-th frame only; those with a reward are always drawn.

    Yields:
        ``(450, 870, 3)`` uint8 pictures.
    """
    world = registry.get(recording.world)
    env = world.make_env(**recording.environment, render_mode="rgb_array")
    _, info = env.reset(options={"world_seed": recording.world_seed})
    banner, total = _Banner(), 0.0
    for number, (action, step) in enumerate(zip(recording.actions, recording.steps, strict=True)):
        if number % stride == 0 or banner.left == HOLD:
            yield _draw(world, env, info, number, step, banner, total)
            banner.left -= 1
        *_, info = env.step(action)
        total += step["reward"]
        if step["satisfied"]:
            banner = _Banner(*explain_reward(step), HOLD)
    yield _draw(world, env, info, len(recording.actions), None, banner, total)


def explain_reward(step: dict) -> tuple[str, str]:
    """Why a step was rewarded, in two lines: the reward and the event; the goals that it satisfied and the cosine."""
    goals = ", ".join(step["satisfied"])
    return (
        f"+{step['reward']:.2f}   {', '.join(step['events'])}",
        f"goal: {goals}   cosine {step['reward']:.2f}",
    )


def _draw(
    world: World, env: gym.Env, info: dict, number: int, step: dict | None, banner: _Banner, total: float
) -> np.ndarray:
    image = Image.new("RGB", (HEIGHT + PANEL, HEIGHT), BACKGROUND)
    image.paste(Image.fromarray(world.draw(env)), (0, 0))
    pen = ImageDraw.Draw(image)
    x, y = HEIGHT + MARGIN, MARGIN
    pen.text((x, y), f"frame {number}", TEXT, _font(16, bold=True))
    # Not in the contract of worlds: those that keep count of achievements within an episode have it shown.
    count = (
        f"unlocked {len(env.unlocked)} of {len(env.language.achievements)}"
        if hasattr(env, "unlocked")
        else ""
    )
    pen.text((x + 130, y + 1), f"reward {total:.2f}    {count}", FAINT, _font(14))
    y += 32
    if banner.left > 0:
        pen.rounded_rectangle((x - 4, y - 2, HEIGHT + PANEL - MARGIN, y + 44), 5, fill=(34, 58, 44))
        pen.text((x + 4, y + 2), _fit(banner.reward, 44), REWARDED, _font(15, bold=True))
        pen.text((x + 4, y + 24), _fit(banner.reason, 54), REWARDED, _font(13))
    elif step is None:
        pen.text((x + 4, y + 2), "end of the episode", FAINT, _font(15, bold=True))
    y += 56
    if step is not None:
        _draw_goals(pen, x, y, step)
    lines = textwrap.wrap(info["situation"].caption, 54)[:MAX_LINES]
    y = HEIGHT - MARGIN - 18 * len(lines) - 22
    pen.text((x, y), "caption", FAINT, _font(12, bold=True))
    for i, line in enumerate(lines):
        pen.text((x, y + 20 + 18 * i), line, TEXT, _font(13))
    return np.asarray(image)


def _draw_goals(pen: ImageDraw.ImageDraw, x: int, y: int, step: dict) -> None:
    """The goals: those still open first, then those achieved, struck out."""
    pen.text((x, y), "goals", FAINT, _font(12, bold=True))
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


def draw_run(run: Run, out: Path, episodes: int, max_frames: int, mp4: bool) -> Iterator[Path]:
    """Draws recorded episodes of a run, in the order of their file names.

    Args:
        run: the run.
        out: folder for what is drawn.
        episodes: how many, at most.
        max_frames: see ``write_gif``.
        mp4: whether to write MP4 as well.

    Yields:
        the path of each file, once it is written.

    Raises:
        UserError: if nothing is recorded, or the folder cannot be written.
    """
    recorded = sorted(run.replays.glob("*.json"))
    if not recorded:
        raise UserError(f"{run.folder} holds no recorded episodes yet; they are kept when a run ends")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}") from error
    for path in recorded[:episodes]:
        recording = Recording.load(path)
        target = out / path.with_suffix(".gif").name
        write_gif(recording, target, max_frames)
        yield target
        if mp4:
            write_mp4(recording, target.with_suffix(".mp4"))
            yield target.with_suffix(".mp4")
