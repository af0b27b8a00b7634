"""Measures a suggesting language model on situations of worlds that no corpus uses."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ellm_agent.analysis.agreement import auc
from ellm_agent.goals import quality
from ellm_agent.goals.asking import Questions
from ellm_agent.goals.base import Goal
from ellm_agent.goals.quality import BINS, GoalCounts
from ellm_agent.llm.base import LanguageModel
from ellm_agent.lm_training.corpus import Corpus
from ellm_agent.lm_training.sft import HELD_OUT_WORLDS
from envs.interface import Language, Privileged, Situation, World
from prompts import closed_form, open_ended, statement

CLOSED = 200  # captions about which all closed questions are asked, or about the statements in them
RECALLED = 100  # situations in which a goal is possible, for its recall
# Where objects are rearranged: the probability that each lies where it belongs, else at random.
TIDY = {"rearranged": 0.0, "nearly_tidy": 0.8}
MOST_DRAWN = 150  # situations drawn to find one more of these


def measure(
    model: LanguageModel,
    world: World,
    count: int = 2_000,
    seed: int = 1,
    recalled: int = RECALLED,
    protocol: str | None = None,
) -> dict[str, float]:
    """Share of readable answers, shares of the quality bins, ROC AUC in closed form, speed, and each goal's recall (in worlds
    with many goals, of all together). Where objects can be rearranged, also how good goals are if they are, which only a model
    that reads where they lie can know.

    They compare with the prerequisites in the situation's true state, for the model and for the corpus alike; both read
    captions only. Closed answers about statements, and goals about rearranged objects, are compared with the world's advice.

    Args:
        model: to measure.
        world: whose situations are used.
        count: situations.
        seed: of the situations and the corpus.
        recalled: situations in which a goal is possible, for its recall.
        protocol: of the situations; None: of all protocols, the one with the most goals.
    """
    language = world.situation_language(protocol)
    pairs = list(world.situations(HELD_OUT_WORLDS, count, seed, protocol))
    privileged = [facts for _, facts in pairs]
    captions = [language.drop_target(situation.caption) for situation, _ in pairs]
    ask(model, captions[:2], language)  # loads it
    started = time.process_time()
    answers = ask(model, captions, language)
    seconds = time.process_time() - started
    goals = [open_ended.parse(text) for text in answers]
    corpus = Corpus(world, seed, protocol)
    model_shares = shares(goals, privileged, language)
    corpus_shares = shares([tuple(corpus.goals(caption)) for caption in captions], privileged, language)
    figures = {
        "scenes": count,
        "scenes_per_cpu_second": count / seconds,
        "readable": float(np.mean([readable(text) for text in answers])),
        "goals_in_an_answer": float(np.mean([len(own) for own in goals])),
    }
    for kind in BINS:
        figures[f"model_{kind}"] = model_shares.get(kind, 0.0)
        figures[f"corpus_{kind}"] = corpus_shares.get(kind, 0.0)
    figures |= _closed(model, world, language, pairs[:CLOSED])
    if language.candidates:  # many goals: no figures for each
        named = [
            len({*map(language.canonical, own)} & {*facts.possible})
            for own, facts in zip(goals, privileged, strict=True)
        ]
        figures["recall"] = sum(named) / max(1, sum(len(facts.possible) for facts in privileged))
        return figures | _rearranged(model, world, language, captions, seed)
    for goal, share in recall(model, world, recalled, seed, protocol).items():
        figures[f"recall_{goal.replace(' ', '_')}"] = share
    return figures


def _closed(
    model: LanguageModel,
    world: World,
    language: Language,
    pairs: Sequence[tuple[Situation, Privileged]],
) -> dict[str, float]:
    """ROC AUC of closed answers and speed: about each goal in each caption, or about the world's statements."""
    captions = [language.drop_target(situation.caption) for situation, _ in pairs]
    if language.judgements:
        of, is_true = language.judgements.of, world.advice().is_true
        statements = dict.fromkeys(one for caption in captions for one in of(caption))
        truth = [is_true(language.judgements.question(one)) for one in statements]
        prompts = [statement.prompt(one, language.judgements) for one in statements]
    else:
        truth = [goal in facts.possible for _, facts in pairs for goal in language.goals]
        questions = Questions("closed", language, language.goals, None, structured=False)
        prompts = [question.prompt for caption in captions for question in questions.about(caption)]
    started = time.process_time()
    replies = model.answer(prompts)
    speed = len(pairs) / (time.process_time() - started)
    p = [closed_form.probability_of_yes(reply.text, reply.logprobs) for reply in replies]
    return {"closed_scenes_per_cpu_second": speed, "closed_auc": auc(np.array(p), np.array(truth, bool))}


def _rearranged(
    model: LanguageModel, world: World, language: Language, captions: Sequence[str], seed: int
) -> dict[str, float]:
    """Share of sensible goals among those named, and of those named among the sensible ones, where objects lie at random, and
    where most are put right.
    """
    advice, rng, figures = world.advice(), random.Random(seed), {}
    for name, tidy in TIDY.items() if advice.rearranged else ():
        moved = [advice.rearranged(caption, rng, tidy) for caption in captions]
        sensible = [{*advice.sensible_goals(caption)} for caption in moved]
        goals = [{*map(language.canonical, open_ended.parse(text))} for text in ask(model, moved, language)]
        good = sum(len(own & wanted) for own, wanted in zip(goals, sensible, strict=True))
        figures[f"{name}_good"] = good / max(1, sum(map(len, goals)))
        figures[f"{name}_recall"] = good / max(1, sum(map(len, sensible)))
    return figures


def ask(model: LanguageModel, captions: Sequence[str], language: Language) -> list[str]:
    """The model's open answers about captions."""
    questions = Questions("open", language, (), model.default_temperature, structured=False)
    prompts = [question.prompt for caption in captions for question in questions.about(caption)]
    return [answer.text for answer in model.answer(prompts)]


def recall(
    model: LanguageModel, world: World, count: int, seed: int, protocol: str | None = None
) -> dict[Goal, float]:
    """Of each goal, the share of the situations in which it is possible that the model names it, in any wording.

    Args:
        model: to measure.
        world: whose situations are drawn, until each goal is possible in ``count`` of them, or ``MOST_DRAWN`` times as
            many are drawn.
        count: situations for each goal, at least; a goal that is possible in none has no recall.
        seed: of the situations.
        protocol: of the situations; None: of all protocols, the one with the most goals.
    """
    language, found, chosen = world.situation_language(protocol), Counter(), []
    for situation, facts in world.situations(HELD_OUT_WORLDS, MOST_DRAWN * count, seed, protocol):
        if any(found[goal] < count for goal in facts.possible):
            found.update(facts.possible)
            chosen.append((situation, facts))
        elif all(found[goal] >= count for goal in language.goals):
            break
    answers = ask(model, [language.drop_target(situation.caption) for situation, _ in chosen], language)
    wordings = {other: goal for goal, others in world.advice().paraphrases.items() for other in others}
    named = Counter()
    for text, (_, facts) in zip(answers, chosen, strict=True):
        goals = {wordings.get(goal) or language.canonical(goal) for goal in open_ended.parse(text)}
        named.update(goals.intersection(facts.possible))
    return {goal: named[goal] / found[goal] for goal in language.goals if found[goal]}


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
