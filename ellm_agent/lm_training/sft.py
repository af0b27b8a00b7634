"""Supervised fine-tuning: a small language model learns the answers of the corpus, from scratch or from a folder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging

from ellm_agent.errors import UserError
from ellm_agent.llm.bundled import BundledModel, load_network
from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.corpus import Corpus, balanced
from ellm_agent.lm_training.networks import read
from ellm_agent.lm_training.new_model import make_model, make_tokenizer
from envs import registry
from envs.interface import World

TRAINING_WORLDS = 1_000_000  # world seeds from here on are for training
HELD_OUT_WORLDS = 2_000_000  # world seeds from here on are for measurements
CANDIDATES = 4  # situations for each one in the corpus
IGNORED = -100  # label of tokens that are not learned


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of corpus, model and training."""

    scenes: int = 60_000  # situations in the corpus; each gives an open and a closed question
    vocabulary: int = 2_048  # tokens
    width: int = 128  # of the layers, units
    layers: int = 3
    heads: int = 4  # of attention
    passes: int = 3  # over the corpus
    batch: int = 32  # examples in a step
    learning_rate: float = 2e-3  # of AdamW, the largest: a short warm-up, then a cosine down to a tenth of it
    protocol: str | None = None  # of the situations; None: of all protocols, the one with the most goals
    tidied: float = 0.0  # share of the rearranged situations in which some things lie where they belong
    world: str = "crafter"  # whose situations and advice make the corpus
    seed: int = 0  # of corpus and training
    start: Path | None = None  # folder of the model to train on; None: a new model

    def __post_init__(self):
        for name in ("scenes", "vocabulary", "width", "layers", "heads", "passes", "batch", "seed"):
            value, least = getattr(self, name), 0 if name == "seed" else 1
            if value < least:
                raise UserError(f"{name} is {value}; it must be at least {least}")
        if not 0 <= self.tidied <= 1:
            raise UserError(f"tidied is {self.tidied:g}; it must be from 0 to 1")
        if not 0 < self.learning_rate < math.inf:
            raise UserError(f"learning-rate is {self.learning_rate:g}; it must be above 0 and finite")


def captions(
    world: World, count: int, first_world: int, seed: int, protocol: str | None = None
) -> Iterator[str]:
    """Captions of situations: every other one without the faced thing, and every fourth one with names only, so that
    the model can read all forms of ``--llm-caption``.
    """
    language = world.language()
    forms = (str, language.drop_target, language.names_only, language.drop_target)
    situations = world.situations(first_world, count, seed, protocol)
    for (situation, _), form in zip(situations, itertools.cycle(forms)):
        yield form(situation.caption)


def make_examples(recipe: Recipe) -> list[tuple[str, str]]:
    """Questions and answers about situations of a world.

    Raises:
        UserError: if the world has no advice.
    """
    world = registry.get(recipe.world)
    corpus = Corpus(world, recipe.seed, recipe.protocol, recipe.tidied)
    many_goals = bool(world.advice().joints)
    count = recipe.scenes * (1 if many_goals else CANDIDATES)
    found = captions(world, count, TRAINING_WORLDS, recipe.seed, recipe.protocol)
    chosen = list(map(corpus.situation, found))
    if not many_goals:  # where nearly every goal is rare, none would be frequent
        sensible = list(map(world.advice().sensible_goals, chosen))
        rng = np.random.default_rng(recipe.seed)
        chosen = [chosen[i] for i in balanced(sensible, recipe.scenes, rng)]
    return [example for caption in chosen for example in (corpus.open(caption), corpus.closed(caption))]


def _read_model(folder: Path) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """Tokenizer and model of a folder.

    Raises:
        UserError: if it holds no model that can be read.
    """
    BundledModel(folder).load()  # its errors are one line
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer, load_network(folder, len(tokenizer), heads=False).train()


def batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[list[int]]:
    """Indices of examples of similar lengths, a batch each, in random order.

    Args:
        lengths: of the examples, tokens.
        size: of a batch.
        rng: of the order.
    """
    noise = rng.random(len(lengths))
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], noise[i]))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    return [groups[place] for place in rng.permutation(len(groups))]


def _padded(rows: Sequence[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels of questions and their answers, which alone are learned; (examples, tokens)."""
    ids = [torch.tensor([*question, *answer]) for question, answer in rows]
    labels = [torch.tensor([*[IGNORED] * len(question), *answer]) for question, answer in rows]
    return (
        pad_sequence(ids, batch_first=True),
        pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    )


def train(recipe: Recipe, folder: Path, report: Callable[[str], None] = print) -> PreTrainedModel:
    """Makes corpus, tokenizer and model, trains the model, and writes it to a folder.

    A training that was stopped or killed continues exactly: corpus and order of the batches depend on the recipe alone, and
    the rest is saved.

    Args:
        recipe: hyperparameters.
        folder: to write, readable by ``BundledModel`` and transformers.
        report: receives lines about the progress.

    Raises:
        UserError: if the folder has a model already, or a training with another recipe; the world has no advice; or there is no
            model to start from.
    """
    started = recipe.start and _read_model(recipe.start)
    resumable.open_folder(folder, recipe, "sft")
    examples = make_examples(recipe)
    advice = registry.get(recipe.world).advice()
    many_goals = bool(advice.joints)
    if started:
        tokenizer, model = started
    else:
        texts = [text for example in examples for text in example]
        tokenizer = make_tokenizer(texts, recipe.vocabulary, advice if many_goals else None)
        model = make_model(tokenizer, recipe.width, recipe.layers, recipe.heads, recipe.seed, many_goals)
    questions, answers = (tokenizer(list(texts))["input_ids"] for texts in zip(*examples, strict=True))
    encoded = [(q, [*a, tokenizer.eos_token_id]) for q, a in zip(questions, answers, strict=True)]
    lengths = [len(question) + len(answer) for question, answer in encoded]
    if (longest := max(lengths)) > model.config.max_position_embeddings:
        raise UserError(
            f"model is {recipe.start}, which reads {model.config.max_position_embeddings} tokens at most; the longest of the"
            f" world {recipe.world} has {longest}"
        )
    report(f"{len(examples):,} examples, {sum(p.numel() for p in model.parameters()):,} parameters")
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    rng = np.random.default_rng(recipe.seed)
    plan = [batch for _ in range(recipe.passes) for batch in batches(lengths, recipe.batch, rng)]

    def step(number: int) -> dict[str, float]:
        resumable.set_rate(optimizer, recipe.learning_rate * _rate(number / len(plan)))
        ids, labels = _padded([encoded[i] for i in plan[number]])
        learned = labels[:, 1:] != IGNORED
        hidden = read(model, ids)[:, :-1]
        loss = F.cross_entropy(model.lm_head(hidden[learned]), labels[:, 1:][learned])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.item()}

    resumable.run(folder, {"model": model, "optimizer": optimizer}, step, len(plan), report)
    logging.disable_progress_bar()
    tokenizer.save_pretrained(folder)  # first: a folder with weights holds a model
    model.half().save_pretrained(folder)
    return model


def _rate(progress: float) -> float:
    """Learning rate as a share of the largest, after this share of the training: warm-up, then cosine decay."""
    return min(1.0, progress / 0.02) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))
