"""Trains the embedded model: a small GPT-2 with its own tokenizer, on the corpus, answers only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional as F
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging

from ellm_agent.lm_training.corpus import NO, YES, Corpus
from envs.crafter.captions import brief
from envs.crafter.env import CrafterTextEnv
from envs.crafter.scenes import scenes

TRAINING_WORLDS = 1_000_000  # seeds from here on; those of held-out scenes come after them
HELD_OUT_WORLDS = 2_000_000
END = "<|endoftext|>"
# Servers that speak the chat protocol show the model what it knows: the last paragraph, scene and question.
CHAT_TEMPLATE = "{{ messages[-1]['content'].strip().split('\\n\\n')[-1] }}"
CONTEXT = 256  # tokens
CLOSED = 3  # closed questions about each scene, beside an open one
IGNORED = -100  # label of what is not learned


@dataclass(frozen=True)
class Recipe:
    """How the model is made."""

    scenes: int = 40_000
    """Scenes; each gives an open and three closed questions."""
    vocabulary: int = 2_048
    """Tokens."""
    width: int = 192
    """Width of the layers, units."""
    layers: int = 3
    """Layers."""
    heads: int = 4
    """Attention heads."""
    passes: int = 2
    """Passes over the corpus."""
    batch: int = 64
    """Examples in a step."""
    learning_rate: float = 1e-3
    """AdamW's largest step size: a short warm-up, then a cosine down to a tenth of it."""
    seed: int = 0
    """Of everything."""


def make_corpus(seed: int) -> Corpus:
    """The corpus of Crafter."""
    language = CrafterTextEnv().language
    pairs = [f"{verb} {noun}" for verb in language.verbs for noun in language.nouns]
    known = [pair for pair in pairs if language.canonical(pair) in language.goals]
    return Corpus(language.verbs, language.nouns, known, seed)


def captions(count: int, first_world: int, seed: int) -> Iterator[str]:
    """Captions of scenes, half of them without what the player faces."""
    for i, situation in enumerate(scenes(itertools.count(first_world), count, seed)):
        yield brief(situation.caption) if i % 2 else situation.caption


def make_examples(recipe: Recipe) -> list[tuple[str, str]]:
    """Questions and answers."""
    corpus = make_corpus(recipe.seed)
    examples = []
    for caption in captions(recipe.scenes, TRAINING_WORLDS, recipe.seed):
        examples += [corpus.open(caption), *(corpus.closed(caption) for _ in range(CLOSED))]
    return examples


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE whose pieces are clauses and goals, so that common ones are a single token.

    Any text can be written in it, in bytes at the worst.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[,.?\n]"), "merged_with_next"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, bos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE
    )


def make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """A GPT-2 that has learned nothing yet."""
    torch.manual_seed(recipe.seed)
    end = tokenizer.eos_token_id
    shape = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=CONTEXT,
        n_embd=recipe.width,
        n_layer=recipe.layers,
        n_head=recipe.heads,
        activation_function="relu",  # half the time of GPT-2's own, and learns as well
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    model = GPT2LMHeadModel(shape)
    # At temperature 1 it makes as many mistakes as its corpus does. A yes or a no ends an answer, too.
    yes_and_no = [ids[0] for ids in tokenizer([YES, NO])["input_ids"]]
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        epsilon_cutoff=1e-4,
        max_new_tokens=100,
        eos_token_id=[end, *yes_and_no],
        pad_token_id=end,
    )
    return model


def encode(
    examples: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerFast
) -> list[tuple[list, list]]:
    """Token ids of questions and of answers, whose end is a token too."""
    questions = tokenizer([question for question, _ in examples])["input_ids"]
    answers = tokenizer([answer for _, answer in examples])["input_ids"]
    return [
        (question, [*answer, tokenizer.eos_token_id])
        for question, answer in zip(questions, answers, strict=True)
    ]


def batches(
    encoded: Sequence[tuple[list, list]], size: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of similar lengths, in random order: ids, and labels in which questions are ignored."""
    noise = rng.random(len(encoded))
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i][0]) + len(encoded[i][1]), noise[i]))
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    for place in rng.permutation(len(groups)):
        rows = [encoded[i] for i in groups[place]]
        longest = max(len(question) + len(answer) for question, answer in rows)
        ids = np.zeros((len(rows), longest), np.int64)
        labels = np.full((len(rows), longest), IGNORED)
        for row, (question, answer) in enumerate(rows):
            both = [*question, *answer]
            ids[row, : len(both)] = both
            labels[row, len(question) : len(both)] = answer
        yield torch.from_numpy(ids), torch.from_numpy(labels)


def train(recipe: Recipe, folder: Path, say=print) -> GPT2LMHeadModel:
    """Makes corpus, tokenizer and model, trains it, and writes the model's folder."""
    examples = make_examples(recipe)
    tokenizer = make_tokenizer([text for example in examples for text in example], recipe.vocabulary)
    encoded = encode(examples, tokenizer)
    model = make_model(recipe, tokenizer)
    say(f"{len(examples):,} examples, {sum(p.numel() for p in model.parameters()):,} parameters")
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
    rng = np.random.default_rng(recipe.seed)
    steps = recipe.passes * -(-len(encoded) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / steps))
    everything = itertools.chain.from_iterable(
        batches(encoded, recipe.batch, rng) for _ in range(recipe.passes)
    )
    losses = []
    for step, (ids, labels) in enumerate(everything, 1):
        learned = labels[:, 1:] != IGNORED
        # Padding comes last, where no earlier token sees it.
        read = model.transformer(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        hidden = read.last_hidden_state[:, :-1]
        loss = F.cross_entropy(model.lm_head(hidden[learned]), labels[:, 1:][learned])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0 or step == steps:
            say(f"{step:,} of {steps:,} steps, loss {np.mean(losses[-100:]):.3f} nats a token")
    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def _rate(done: float) -> float:
    """Share of the largest step size, when this share of the training is done."""
    return min(1.0, done / 0.02) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
