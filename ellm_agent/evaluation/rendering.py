"""Draws recorded episodes: the world, and beside it the goals, the rewards and the caption. The world draws itself."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import gymnasium as gym
import imageio.v2 as imageio
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.evaluation.recording import Recording
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
REPLAY = re.compile(
    r"\d\d+-(best|median|worst|episode)-.*\.(json|gif)"
)  # names of what `draw_replays` writes

BACKGROUND, TEXT, FAINT = (22, 24, 29), (232, 234, 237), (132, 138, 148)
OPEN, DONE, REWARDED = (138, 180, 248), (110, 116, 126), (129, 201, 149)


def frames(recording: Recording, stride: int = 1) -> Iterator[np.ndarray]:
    """Plays a recording again and draws each of its states.

    Args:
        recording: the world's seed, the actions, and the goals and rewards of each step.
        stride: draw every n-th frame only; those with a reward are always drawn.

    Yields:
        ``(450, 870, 3)`` uint8 pictures.

    Raises:
        UserError: if it cannot be played: it is damaged, or of another version.
    """
    try:
        yield from _frames(recording, stride)
    except (ValueError, TypeError, KeyError, IndexError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"the recording of world {recording.world_seed!r} cannot be played ({reason})"
        ) from error


def _frames(recording: Recording, stride: int) -> Iterator[np.ndarray]:
    world = registry.get(recording.world)
    env = world.make_env(**recording.environment, render_mode="rgb_array")
    _, info = env.reset(options={"world_seed": recording.world_seed})
    reason, left, total = ("", ""), 0, 0.0  # the last reason for a reward, and how many frames it still stays
    for number, (action, step) in enumerate(zip(recording.actions, recording.steps, strict=True)):
        if number % stride == 0 or left == HOLD:
            yield _draw(world, env, info, number, step, reason if left > 0 else None, total)
            left -= 1
        *_, info = env.step(action)
        total += step["reward"]
        if step["satisfied"]:
            reason, left = explain_reward(step), HOLD
    yield _draw(world, env, info, len(recording.actions), None, reason if left > 0 else None, total)


def explain_reward(step: dict) -> tuple[str, str]:
    """Why a step was rewarded, in two lines: the reward and the event; the goals that it satisfied and the cosine."""
    goals, cosine = (
        ", ".join(step["satisfied"]),
        step.get("cosine", step["reward"]),
    )  # up to 0.8.0 they are the same
    return (
        f"+{step['reward']:.2f}   {', '.join(step['events'])}",
        f"goal: {goals}   cosine {cosine:.2f}",
    )


def _draw(
    world: World,
    env: gym.Env,
    info: dict,
    number: int,
    step: dict | None,
    reason: tuple[str, str] | None,
    total: float,
) -> np.ndarray:
    """A frame: the world, and beside it the number, the return so far, the last reward, the goals, the caption."""
    image = Image.new("RGB", (HEIGHT + PANEL, HEIGHT), BACKGROUND)
    image.paste(Image.fromarray(world.draw(env)), (0, 0))
    pen = ImageDraw.Draw(image)
    x, y = HEIGHT + MARGIN, MARGIN
    pen.text((x, y), f"frame {number}", TEXT, _font(16, bold=True))
    # Not in the contract of worlds: those that keep count of achievements within an episode have it shown.
    of = (
        f"    unlocked {len(env.unlocked)} of {len(env.language.achievements)}"
        if hasattr(env, "unlocked")
        else ""
    )
    pen.text((x + 130, y + 1), f"reward {total:.2f}{of}", FAINT, _font(14))
    y += 32
    if reason:
        pen.rounded_rectangle((x - 4, y - 2, HEIGHT + PANEL - MARGIN, y + 44), 5, fill=(34, 58, 44))
        pen.text((x + 4, y + 2), _fit(reason[0], 44), REWARDED, _font(15, bold=True))
        pen.text((x + 4, y + 24), _fit(reason[1], 54), REWARDED, _font(13))
    elif step is None:
        pen.text((x + 4, y + 2), "end of the episode", FAINT, _font(15, bold=True))
    if step is not None:
        _draw_goals(pen, x, y + 56, step)
    lines = textwrap.wrap(info["situation"].caption, 54)[:MAX_LINES]
    y = HEIGHT - MARGIN - 18 * len(lines) - 22
    pen.text((x, y), "caption", FAINT, _font(12, bold=True))
    for i, line in enumerate(lines):
        pen.text((x, y + 20 + 18 * i), line, TEXT, _font(13))
    return np.asarray(image)


def _draw_goals(pen: ImageDraw.ImageDraw, x: int, y: int, step: dict) -> None:
    """The goals: those still open first, then those achieved, struck out."""
    pen.text((x, y), "goals", FAINT, _font(12, bold=True))
    done = [goal for goal in step["goals"] if goal not in step["open"]]
    shown = [(goal, OPEN) for goal in step["open"]] + [(goal, DONE) for goal in done] or [("none", FAINT)]
    for goal, color in shown[:MAX_GOALS]:
        y += 19
        label = _fit(goal, 42)
        pen.text((x + 8, y), label, color, _font(14))
        if color == DONE:
            width = pen.textlength(label, _font(14))
            pen.line((x + 6, y + 10, x + 10 + width, y + 10), color, 1)
    if len(shown) > MAX_GOALS:
        pen.text((x + 8, y + 19), f"and {len(shown) - MAX_GOALS} more", FAINT, _font(12))


def _fit(text: str, width: int) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable if len(printable) <= width else printable[: width - 1] + "…"


@functools.cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def can_draw(config: Config) -> bool:
    """Whether the worlds of a run can be drawn."""
    env = registry.get(config.env.name).make_env(**config.env.options)
    return "rgb_array" in env.metadata.get("render_modes", [])


def write_gif(recording: Recording, target: Path | IO[bytes], max_frames: int = 400, shrink: int = 1) -> None:
    """Writes an animated GIF; longer episodes skip frames evenly, but none with a reward.

    Args:
        recording: what to draw.
        target: the GIF.
        max_frames: about how many frames to draw, at most.
        shrink: by which width and height are divided.
    """
    length = len(recording.actions)
    # One palette for all frames: colours do not flicker, and equal regions stay equal for compression. It is made
    # from a few frames, so that never more than those are in memory in full.
    sample = np.concatenate(list(frames(recording, max(1, length // PALETTE_FRAMES))))
    palette = Image.fromarray(sample).quantize(64, method=Image.Quantize.MEDIANCUT)
    first, *others = (
        Image.fromarray(picture).reduce(shrink).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in frames(recording, max(1, -(-length // max_frames)))
    )
    durations = [1000 // FPS] * len(others) + [2500]  # ms; the end stays a while
    options = {"append_images": others, "duration": durations, "loop": 0, "optimize": False}
    first.save(target, "GIF", save_all=True, **options)


def _rank(recording: Recording) -> tuple[int, ...]:
    """Sort key, the best episode first: by whether and how soon a task was solved, or else by unlocks."""
    if recording.success is None:
        return (-len(recording.unlocked),)
    frames = len(recording.actions)
    return (0, frames) if recording.success else (1, -frames)


def draw_replays(recordings: Sequence[Recording], folder: Path, config: Config, drawn: int) -> None:
    """Keeps an evaluation's episodes, in place of those before, and draws the best, median and worst, then others.

    Args:
        recordings: the episodes.
        folder: for their JSON files and GIFs; its other files stay.
        config: of the run.
        drawn: how many to draw, if the world can be drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if REPLAY.fullmatch(old.name):
            old.unlink()  # of an evaluation before a resume
    drawn = drawn if drawn and can_draw(config) else 0  # making an environment takes a second
    ranked = sorted(recordings, key=_rank)
    last = len(ranked) - 1
    order = dict.fromkeys((0, last // 2, last, *range(len(ranked))))
    names = {last: "worst", last // 2: "median", 0: "best"}
    for place, i in enumerate(order):
        recording = ranked[i]
        outcome = {None: f"{len(recording.unlocked)}-unlocks", True: "solved", False: "not-solved"}
        stem = f"{place + 1:02d}-{names.get(i, 'episode')}-{outcome[recording.success]}"
        recording.save(folder / f"{stem}.json")
        if place < drawn:
            write_gif(recording, folder / f"{stem}.gif")


def write_mp4(recording: Recording, path: Path) -> None:
    """Writes an MP4 (H.264) with every frame."""
    with imageio.get_writer(path, fps=FPS, macro_block_size=2, codec="libx264") as writer:
        for picture in frames(recording):
            writer.append_data(picture)
