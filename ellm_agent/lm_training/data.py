"""What all trainings from suggestion logs share: rows, their split, the judge, the model that they start from."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ellm_agent.builders.rewards import make_similarity
from ellm_agent.config import PRESETS
from ellm_agent.config import files as config_files
from ellm_agent.errors import UserError
from ellm_agent.goals.usefulness import COST
from ellm_agent.lm_training.corpus import Corpus
from ellm_agent.lm_training.decoding import Adjust
from ellm_agent.lm_training.judge import AdvisedUsefulness, ExpectedUsefulness, compare
from ellm_agent.lm_training.networks import Answers
from ellm_agent.lm_training.resumable import generators
from ellm_agent.lm_training.reward_model import Comparison
from ellm_agent.lm_training.sft import HELD_OUT_WORLDS, TRAINING_WORLDS, captions
from ellm_agent.lm_training.suggester import Suggester
from ellm_agent.lm_training.suggestions import Suggestion, rarity, read_logs, split
from envs import registry
from envs.interface import World

MOST_HELD_OUT = 1_000  # rows for measurements, at most
JUDGES = ("logs", "advice")
MOST_INSERTED = 8  # goals that a varied answer has more, at most
CUT = 1 / 3  # share of the varied answers that are cut short


@dataclass(frozen=True)
class Sources:
    """Where the data and the first weights of a training come from.

    Attributes:
        logs: ``suggestions.jsonl`` files, or run folders that hold one.
        model: folder of the language model; None: the bundled one.
        world: of the logs.
        skip_frames: of each run, at its beginning.
        rarity: power of the rarity that events are worth in the usefulness; 0: all are worth the same.
        cost: of each goal that is not achieved (for judge "advice": that makes no sense), in it.
        protocol: of the logs; None: of all protocols, the one with the most goals.
        judge: who says how useful answers are. "logs": what tends to happen after a caption; true usefulness is what
            then happened. "advice": what the world's advice calls sensible; that is true usefulness, too.
    """

    logs: tuple[Path, ...]
    model: Path | None = None
    world: str = "crafter"
    skip_frames: int = 0
    rarity: float = 0.0
    cost: float = COST
    judge: str = "logs"
    protocol: str | None = None

    def __post_init__(self):
        if self.judge not in JUDGES:
            raise UserError(f"judge is {self.judge!r}; choose one of {', '.join(JUDGES)}")
        if self.rarity and self.judge == "advice":
            raise UserError(f"rarity-power is {self.rarity:g}, but judge is advice; it is for logs")


def check_labels(k: int, noise: float) -> None:
    """Checks how labels are to be simulated.

    Raises:
        UserError: if it is out of bounds.
    """
    if not 4 <= k <= 9:
        raise UserError(f"k is {k}; it must be from 4 to 9")
    if not 0 <= noise <= 1:
        raise UserError(f"noise is {noise}; it must be from 0 to 1")


def check_model(model: Path | None, world: World) -> None:
    """Checks that there is a model to start from.

    Raises:
        UserError: if none is named, and none is bundled for the world.
    """
    if model is None and not world.has_bundled_model:
        raise UserError(f"no model is bundled for the world {world.name}; give --model")


class Data:
    """Rows of logs, and everything that judges answers.

    Args:
        sources: where from.

    Raises:
        UserError: for logs or a model that cannot be used.
    """

    def __init__(self, sources: Sources):
        self.world = registry.get(sources.world)
        self.language = self.world.situation_language(sources.protocol)
        check_model(sources.model, self.world)
        self.suggester = Suggester(sources.model)
        similarity = make_similarity(config_files.in_world(PRESETS["default"], sources.world), self.language)
        similarity.prepare((*self.language.goals, *self.suggester.likely_goals))
        self.satisfies = functools.cache(similarity.satisfies)
        rows = read_logs(sources.logs, self.world, sources.skip_frames)
        advised = sources.judge == "advice"  # the caption alone decides, and not what happened after it
        self.train, held_out = split(rows, operator.attrgetter("caption")) if advised else split(rows)
        if not held_out or not self.train:
            different = len({row.caption for row in rows})
            raise UserError(f"{len(rows)} suggestions with {different} captions are too few: log more frames")
        self._often = Counter(row.caption for row in self.train) if advised else None
        held_out = list({row.caption: row for row in held_out}.values()) if advised else held_out
        self.held_out = [
            held_out[i]
            for i in np.linspace(0, len(held_out) - 1, min(len(held_out), MOST_HELD_OUT)).astype(int)
        ]
        self.sources = sources
        self.worth = rarity(self.train, self.language.goals, sources.rarity)
        self.judge = self._make_judge()

    def _make_judge(self) -> Callable[[str, Sequence[str]], float]:
        """Caption and goals -> how useful they are."""
        language, cost = self.language, self.sources.cost
        if self.sources.judge == "advice":
            advice = self.world.advice()
            if advice is None:
                raise UserError(f"judge is advice, but the world {self.world.name} has none; choose logs")
            return AdvisedUsefulness(advice.sensible_goals, self.satisfies, cost)
        events = language.goals
        if language.candidates:  # many goals: those that happened
            events = tuple(dict.fromkeys(event for row in self.train for event in row.after))
        return ExpectedUsefulness(self.train, events, language.clauses_of, self.satisfies, self.worth, cost)

    def draw(self, count: int, rng: np.random.Generator, replace: bool = True) -> list[Suggestion]:
        """Rows for training at random. With judge "advice" all captions are equally likely, because
        an agent that is stuck meets the same few captions again and again.

        Args:
            count: how many; without replacement at most as many as there are.
            rng: of the choice.
            replace: whether a row can be drawn twice.
        """
        chances = None
        if self._often:
            chances = np.array([1 / (self._often[row.caption] * len(self._often)) for row in self.train])
        count = count if replace else min(count, len(self.train))
        return [self.train[i] for i in rng.choice(len(self.train), count, replace, chances)]

    def questions(self, rows: Sequence[Suggestion]) -> list[list[int]]:
        """Token ids of the questions about rows' captions."""
        return [self.suggester.question(row.caption) for row in rows]

    def usefulness(self, rows: Sequence[Suggestion], answers: Sequence[Sequence[int]]) -> np.ndarray:
        """True usefulness of answers, one for each row."""
        goals = map(self.suggester.goals, answers)
        return np.array([self.true_usefulness(row, own) for row, own in zip(rows, goals, strict=True)])

    def true_usefulness(self, row: Suggestion, goals: Sequence[str]) -> float:
        """True usefulness of goals for a row: what the agent then achieved there, or what the world's advice says."""
        if self.sources.judge == "advice":
            return self.judge(row.caption, goals)
        return row.usefulness(goals, self.satisfies, self.worth, self.sources.cost)

    def measure(self, seed: int, adjust: Adjust | None = None) -> dict[str, float]:
        """Mean true usefulness of one sampled answer for each held-out row, and goals in an answer."""
        _, generator = generators(seed, 0)
        answers = self.suggester.sample(self.questions(self.held_out), generator, adjust)
        return {
            "usefulness": float(self.usefulness(self.held_out, answers).mean()),
            "goals": float(np.mean([len(self.suggester.goals(answer)) for answer in answers])),
        }

    def comparisons(self, rows: Sequence[Suggestion], k: int, seed: int, noise: float) -> list[Comparison]:
        """Answers to rows' captions, half of them sampled from the present model, half varied from those; compared by the
        judge, which is wrong now and then.
        """
        rng, generator = generators(seed, 1)
        own = (k + 1) // 2
        questions = self.questions(rows)
        sampled = self.suggester.sample([q for q in questions for _ in range(own)], generator)
        result = []
        for i, (row, question) in enumerate(zip(rows, questions, strict=True)):
            answers = [self.suggester.goals(answer) for answer in sampled[i * own : (i + 1) * own]]
            others = self._candidates(row.caption)
            answers += [self._vary(answers[j % own], others, rng) for j in range(k - own)]
            worths = [self.judge(row.caption, goals) for goals in answers]
            ids = [*sampled[i * own : (i + 1) * own], *map(self.suggester.answer, answers[own:])]
            result.append(compare(question, ids, worths, rng, noise))
        return result

    def _vary(self, goals: Sequence[str], others: Sequence[str], rng: np.random.Generator) -> list[str]:
        """An answer with some goals left out and others put in, anywhere; or cut short, in a third of the cases.

        Without answers that say less and nothing wrong, a reward model may take silence for the best.
        """
        varied = [goal for goal in goals if rng.random() >= 0.3]
        if rng.random() < CUT:
            return varied[: rng.integers(len(varied) + 1)]
        inserted = min(rng.integers(1, MOST_INSERTED + 1), len(others))
        for goal in rng.choice(others, inserted, replace=False):
            varied.insert(int(rng.integers(len(varied) + 1)), str(goal))
        return list(dict.fromkeys(varied))

    def _candidates(self, caption: str) -> Sequence[str]:
        """Goals that could be put into an answer."""
        return self.language.candidates(caption) if self.language.candidates else self.language.goals

    def corpus(self, scenes: int, held_out: bool, seed: int) -> Answers:
        """Open questions and answers of the pretraining corpus."""
        corpus = Corpus(self.world, seed, self.sources.protocol)
        first = HELD_OUT_WORLDS if held_out else TRAINING_WORLDS
        written = [
            (self.suggester.question(caption), self.suggester.answer(corpus.goals(caption)))
            for caption in captions(self.world, scenes, first, seed, self.sources.protocol)
        ]
        return Answers.of(*zip(*written, strict=True))
