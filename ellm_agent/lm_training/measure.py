"""Figures of the embedded model, on scenes of worlds that it has not seen."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from ellm_agent.goals import quality
from ellm_agent.goals.quality import BINS, GoalCounts, QualityBins
from ellm_agent.llm.bundled import TEMPERATURE, EmbeddedModel
from ellm_agent.lm_training.sft import HELD_OUT_WORLDS, make_corpus
from envs.crafter.captions import brief
from envs.crafter.env import CrafterTextEnv
from envs.crafter.scenes import scenes
from envs.interface import Situation
from prompts import closed_form, open_ended

CLOSED = 200  # scenes that all goals are asked about


def measure(model: EmbeddedModel, count: int = 2_000, seed: int = 1) -> dict[str, float]:
    """Shares of answers that can be read and of the quality bins, ROC AUC in closed form, and speed.

    The bins and the AUC are judged by the game's prerequisites in each scene's own state, for the model and for the
    corpus alike: both know captions alone.
    """
    situations = list(scenes(itertools.count(HELD_OUT_WORLDS), count, seed))
    told = [brief(situation.caption) for situation in situations]
    verbs = CrafterTextEnv().language.verbs
    prompts = [open_ended.prompt(scene, verbs, temperature=TEMPERATURE) for scene in told]
    model.answer(prompts[:2])  # loads it
    started = time.perf_counter()
    answers = model.answer(prompts)
    seconds = time.perf_counter() - started
    corpus = make_corpus(seed)
    own = shares([open_ended.parse(answer.text) for answer in answers], situations)
    taught = shares([tuple(corpus.goals(scene)) for scene in told], situations)
    figures = {
        "scenes": count,
        "scenes_per_second": count / seconds,
        "readable": float(np.mean([readable(answer.text) for answer in answers])),
        "goals_in_an_answer": float(np.mean([len(open_ended.parse(answer.text)) for answer in answers])),
    }
    for kind in BINS:
        figures[f"model_{kind}"], figures[f"corpus_{kind}"] = own.get(kind, 0.0), taught.get(kind, 0.0)
    goals = CrafterTextEnv().language.goals
    asked = [(situation, goal) for situation in situations[:CLOSED] for goal in goals]
    started = time.perf_counter()
    replies = model.answer([closed_form.prompt(brief(s.caption), goal) for s, goal in asked])
    figures["closed_scenes_per_second"] = min(CLOSED, count) / (time.perf_counter() - started)
    p = np.array([closed_form.probability_of_yes(reply.text, reply.logprobs) for reply in replies])
    figures["closed_auc"] = roc_auc(p, np.array([goal in situation.possible for situation, goal in asked]))
    return figures


def readable(text: str) -> bool:
    """Whether an open answer is what was asked for: bullets, each a goal."""
    lines = text.splitlines()
    return bool(lines) and all(line.startswith("- ") for line in lines) and len(open_ended.parse(text)) > 0


def shares(goals: Sequence[Sequence[str]], situations: Sequence[Situation]) -> dict[str, float]:
    """Shares of the quality bins among goals for scenes."""
    language = CrafterTextEnv().language
    bins = QualityBins(language.canonical, language.goals, language.verbs, language.nouns)
    counts = GoalCounts(bins)
    counts.note_suggested([tuple(mine) for mine in goals], situations)
    return quality.shares(counts.suggested)


def roc_auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a positive scores above a negative; ties count half (Mann-Whitney)."""
    positive = int(labels.sum())
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))
