"""Tiny language models for the checks, and their training by maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.ilql import ILQL, Episode, Settings


def tiny_model(
    vocabulary: int, positions: int, width: int, layers: int, heads: int, seed: int
) -> GPT2LMHeadModel:
    """A GPT-2 with random weights and without dropout; token 0 is the padding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocabulary,
                n_positions=positions,
                n_embd=width,
                n_layer=layers,
                n_head=heads,
                activation_function="relu",
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
            )
        ).eval()


def train(
    learner: ILQL,
    episodes: list[Episode],
    steps: int,
    seed: int,
    report: Callable[[str], object] = lambda _: None,
    name: str = "bc",
) -> None:
    """Trains a learner on episodes; its learning rate falls linearly to a tenth."""
    rate = learner.settings.learning_rate

    def step(number: int) -> dict[str, float]:
        resumable.set_rate(learner.optimizer, rate * (1 - 0.9 * number / steps))
        return learner.step(episodes, np.random.default_rng([seed, number]))

    resumable.run(None, {"learner": learner}, step, steps, report, name)


def clone(
    model: GPT2LMHeadModel, episodes: list[Episode], steps: int, seed: int, settings: Settings, **options
) -> None:
    """Behaviour cloning (the supervised start of everything else)."""
    train(ILQL(model, None, settings), episodes, steps, seed, **options)
