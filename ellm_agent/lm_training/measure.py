"""Measures a suggesting language model on situations of held-out worlds."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from ellm_agent.goals import quality
from ellm_agent.goals.asking import Questions
from ellm_agent.goals.quality import BINS, GoalCounts
from ellm_agent.llm.base import LanguageModel
from ellm_agent.lm_training.corpus import Corpus
from ellm_agent.lm_training.sft import HELD_OUT_WORLDS
from envs.interface import Language, Privileged, World
from prompts import closed_form, open_ended

CLOSED = 200  # captions about which all closed questions are asked


def measure(model: LanguageModel, world: World, count: int = 2_000, seed: int = 1) -> dict[str, float]:
    """Share of readable answers, shares of the quality bins, ROC AUC in closed form, and speed.

    Bins and AUC compare with the prerequisites in the situation's true state, for the model and for the corpus alike;
    both read captions only.

    Args:
        model: to measure.
        world: whose situations are used.
        count: situations.
        seed: of the situations and the corpus.
    """
    language = world.language()
    pairs = list(world.situations(HELD_OUT_WORLDS, count, seed))
    privileged = [facts for _, facts in pairs]
    captions = [language.drop_target(situation.caption) for situation, _ in pairs]
    questions = Questions("open", language, (), model.default_temperature, structured=False)
    prompts = [question.prompt for caption in captions for question in questions.about(caption)]
    model.answer(prompts[:2])  # loads it
    started = time.perf_counter()
    answers = model.answer(prompts)
    seconds = time.perf_counter() - started
    goals = [open_ended.parse(answer.text) for answer in answers]
    corpus = Corpus(world, seed)
    model_shares = shares(goals, privileged, language)
    corpus_shares = shares([tuple(corpus.goals(caption)) for caption in captions], privileged, language)
    figures = {
        "scenes": count,
        "scenes_per_second": count / seconds,
        "readable": float(np.mean([readable(answer.text) for answer in answers])),
        "goals_in_an_answer": float(np.mean([len(own) for own in goals])),
    }
    for kind in BINS:
        figures[f"model_{kind}"] = model_shares.get(kind, 0.0)
        figures[f"corpus_{kind}"] = corpus_shares.get(kind, 0.0)
    closed = Questions("closed", language, language.goals, None, structured=False)
    asked = [question for caption in captions[:CLOSED] for question in closed.about(caption)]
    started = time.perf_counter()
    replies = model.answer([question.prompt for question in asked])
    figures["closed_scenes_per_second"] = min(CLOSED, count) / (time.perf_counter() - started)
    p = [closed_form.probability_of_yes(reply.text, reply.logprobs) for reply in replies]
    possible = [goal in facts.possible for facts in privileged[:CLOSED] for goal in language.goals]
    figures["closed_auc"] = roc_auc(np.array(p), np.array(possible))
    return figures


def readable(text: str) -> bool:
    """Whether an open answer consists of bullets only, each a goal."""
    lines = text.splitlines()
    return bool(lines) and all(line.startswith("- ") for line in lines) and len(open_ended.parse(text)) > 0


def shares(
    goals: Sequence[tuple[str, ...]], privileged: Sequence[Privileged], language: Language
) -> dict[str, float]:
    """Shares of the quality bins among goals for situations."""
    counts = GoalCounts(language)
    counts.note_suggested(goals, privileged)
    return quality.shares(counts.suggested)


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a positive scores above a negative; ties count half (Mann-Whitney)."""
    positive = int(labels.sum())
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))
