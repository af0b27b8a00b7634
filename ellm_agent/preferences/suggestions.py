"""The page of four suggestions for a scene (Ziegler et al. 2019): choices for the suggester's reward model.

Each choice is a line of ``RUN/preferences/choices.jsonl``: {"prompt": question about the scene, "answers": [four texts],
"choice": index of the best}. Scenes of which somebody cannot say are passed over.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ellm_agent.config.schema import Config
from ellm_agent.errors import UserError
from ellm_agent.llm.base import LanguageModel, LanguageModelError
from ellm_agent.llm.factory import make_model
from ellm_agent.lm_training.choices import ANSWERS
from ellm_agent.preferences.labels import JsonLines
from ellm_agent.preferences.page import application, serve
from ellm_agent.runs.folder import Run
from envs import registry
from envs.interface import Language, World
from prompts import open_ended

CHOICES = Path("preferences") / "choices.jsonl"  # in a run folder
TRIES = 12  # answers sampled for a scene, at most, until four differ
TEMPERATURE, STEP = 1.0, 0.01
FIRST_WORLD, SCENES = 2**29, 100_000  # worlds of the scenes: not those of other corpora
AHEAD = 2  # scenes that are ready before they are asked for


@dataclass(frozen=True)
class Scene:
    """A question with four answers.

    Attributes:
        key: number of the scene.
        caption: of the state.
        answers: four, all different.
    """

    key: int
    caption: str
    answers: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The question, as in the suggester's own training corpus."""
        return f"{self.caption}\n{open_ended.QUESTION}"


def choose_suggestions(folder: Path, config: Config) -> None:
    """Serves the page until all choices are made, or until Ctrl-C.

    Args:
        folder: of the run that keeps the choices.
        config: whose language model suggests, and whose worlds the scenes are of.

    Raises:
        UserError: for a port, a language model or a file that cannot be had, or a run that is being written.
    """
    world = registry.get(config.env.name)
    options = config.reward.preference
    run = Run.open(folder)
    run.claim()
    chooser = SuggestionChooser(JsonLines(folder / CHOICES), options.labels)
    suggester = config.suggester.model_copy(update={"kind": "open"})
    with closing(make_model(suggester, world, config.env.options)) as model:
        serve(
            lambda token: application("suggestions.html", token, chooser.state, chooser.posts()), options.port
        )
        protocol = config.env.options["protocol"]
        for scene in scenes(world, model, config.run.seed, protocol, skip=chooser.seen):
            while chooser.waiting >= AHEAD and not chooser.done:
                time.sleep(0.1)
            if chooser.done:
                break
            chooser.offer(scene)
    time.sleep(1)  # the page hears that its last choice counts
    print(f"{chooser.labels} choices are in {folder / CHOICES}")


def scenes(
    world: World, model: LanguageModel, seed: int, protocol: str | None = None, skip: int = 0
) -> Iterator[Scene]:
    """Scenes with four different answers of a language model.

    Args:
        world: of the scenes.
        model: answers.
        seed: of the scenes.
        protocol: of the scenes; None: of all protocols, the one with the most goals.
        skip: scenes that were shown before.

    Raises:
        LanguageModelError: if the model cannot be reached.
        UserError: if its answers are all the same.
    """
    language, alike = world.situation_language(protocol), 0
    situations = world.situations(FIRST_WORLD, SCENES, seed, protocol)
    for key, (situation, _) in enumerate(itertools.islice(situations, skip, None), start=skip):
        texts = _answers(model, situation.caption, language)
        if len(texts) >= ANSWERS:
            alike = 0
            yield Scene(key, situation.caption, tuple(texts))
        else:
            alike += 1
            if alike == TRIES:
                raise UserError(
                    f"{model.name} gives fewer than {ANSWERS} different answers; choose another model with --llm"
                )


def _answers(model: LanguageModel, caption: str, language: Language) -> list[str]:
    """Different answers to one question: four, or fewer where the model has no more."""
    texts: dict[str, None] = {}
    for first in range(0, TRIES, ANSWERS):
        # Another temperature is another draw, also for a cache and for a model whose answers are a function of the prompt.
        tries = (TEMPERATURE + STEP * number for number in range(first, first + ANSWERS))
        prompts = [open_ended.prompt(caption, language, temperature=temperature) for temperature in tries]
        for answer in model.answer(prompts):
            if isinstance(answer, LanguageModelError):
                raise answer
            texts[answer.text.strip()] = None
        texts.pop("", None)
        if len(texts) >= ANSWERS:
            break
    return list(texts)[:ANSWERS]


class SuggestionChooser:
    """Scenes that wait, and the choices. Safe to use from several threads.

    Args:
        file: where choices are kept.
        count: choices that are wanted.

    Raises:
        UserError: if a row of the file is no choice.
    """

    def __init__(self, file: JsonLines, count: int):
        self._file, self._count = file, count
        self._scenes: list[Scene] = []
        self._answered: list[
            tuple[Scene, bool]
        ] = []  # since the start, to undo; and whether a choice was kept
        self._lock = threading.RLock()
        for number, row in enumerate(file.rows, start=1):
            if type(row.get("scene")) is not int:
                raise UserError(
                    f"{file.path}, line {number}: scene is {row.get('scene')!r}, which is no number; repair the line"
                )
        self.seen = max((row["scene"] for row in file.rows), default=-1) + 1

    @property
    def labels(self) -> int:
        return len(self._file.rows)

    @property
    def waiting(self) -> int:
        return len(self._scenes)

    @property
    def done(self) -> bool:
        return self.labels >= self._count

    def offer(self, scene: Scene) -> None:
        """A scene to show after those that wait."""
        with self._lock:
            self._scenes.append(scene)

    def choose(self, key: int, choice: int | None) -> None:
        """The best answer to a scene, or None: cannot say. A scene that does not wait (any more) is passed over.

        Raises:
            UserError: if the choice cannot be written; the scene waits still.
        """
        with self._lock:
            scene = next((scene for scene in self._scenes if scene.key == key), None)
            if scene is None:
                return
            if choice is not None:
                row = {
                    "prompt": scene.prompt,
                    "answers": list(scene.answers),
                    "choice": choice,
                    "scene": scene.key,
                }
                self._file.append(row)
            self._answered.append((scene, choice is not None))
            self._scenes.remove(scene)

    def undo(self) -> None:
        """Takes the last choice, or "cannot say", of this session back, and shows its scene again.

        Raises:
            UserError: if the file cannot be written.
        """
        with self._lock:
            if not self._answered:
                return
            scene, kept = self._answered[-1]
            if kept:
                self._file.undo()
            self._answered.pop()
            self._scenes.insert(0, scene)

    def state(self) -> dict[str, Any]:
        """What the page shows."""
        with self._lock:
            scene = self._scenes[0] if self._scenes and not self.done else None
            shown = scene and {"key": scene.key, "caption": scene.caption, "answers": list(scene.answers)}
            undoable = bool(self._answered)
            return {"labels": self.labels, "count": self._count, "undoable": undoable, "scene": shown}

    def posts(self) -> dict[str, Any]:
        """What the page may send: path -> answers a JSON object."""
        from starlette.responses import JSONResponse, Response

        def choose(content: dict[str, Any]) -> Response:
            key, choice = content.get("key"), content.get("choice")
            known = choice == "unsure" or (type(choice) is int and choice in range(ANSWERS))
            if type(key) is not int or not known:
                return JSONResponse(
                    {"error": f"choice is {choice!r}; it must be 0 to {ANSWERS - 1}, or unsure"}, 400
                )
            self.choose(key, None if choice == "unsure" else choice)
            return JSONResponse(self.state())

        def undo(content: dict[str, Any]) -> Response:
            self.undo()
            return JSONResponse(self.state())

        return {"choice": choose, "undo": undo}
