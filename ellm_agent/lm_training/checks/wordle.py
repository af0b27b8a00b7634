"""Wordle in LMRL-Gym's form (Abdulhai et al. 2023), with fewer words: letters are the actions, colours the environment's.

A game is one row of tokens: a start, then for each try five letters (written by the model) and the same with their
colours. Reward -1 for each try that is not the word, 0 for the one that is; six tries. A guess that is no word gets no colours.

The data's policy guesses a word that all colours so far allow with probability ``CAREFUL``, and any word otherwise. Its
mean return is about that of LMRL-Gym's data, -4.12.
"""

from __future__ import annotations

import copy
import string
from collections.abc import Callable

import numpy as np
import torch

from ellm_agent.llm.value_heads import ValueHeads
from ellm_agent.lm_training import resumable
from ellm_agent.lm_training.checks import tiny
from ellm_agent.lm_training.decoding import Adjust, Decoder, choose
from ellm_agent.lm_training.ilql import ILQL, Episode, Row, Settings, best_episodes

_TEXT = """apple bread chair dance earth flame ghost heart house knife lemon music night ocean piano queen river sugar tiger
world"""
WORDS = _TEXT.split()
LETTERS, TRIES = 5, 6
CAREFUL = 0.1
BETAS = (8.0, 16.0, 32.0)  # weights of Q - V in decoding
START = 1  # tokens: 0 is padding
LETTER = {letter: 2 + i for i, letter in enumerate(string.ascii_lowercase)}
GREY, YELLOW, GREEN = 0, 1, 2  # colours
UNKNOWN = 28  # instead of a colour, where the guess is no word
COLOURED = 29  # from here on: a letter with its colour
VOCABULARY = COLOURED + 3 * 26
POSITIONS = 1 + TRIES * 2 * LETTERS
SPELLED = torch.tensor([[LETTER[letter] for letter in word] for word in WORDS])  # (words, letters)


def colours(guess: str, word: str) -> list[int]:
    """Green: right place; yellow: elsewhere in the word, as often as it is there; grey: not, or not so often."""
    result = [GREEN if a == b else GREY for a, b in zip(guess, word, strict=True)]
    left = [b for a, b in zip(guess, word, strict=True) if a != b]
    for place, letter in enumerate(guess):
        if result[place] != GREEN and letter in left:
            result[place] = YELLOW
            left.remove(letter)
    return result


# (guess, word, letters): colours, and the environment's tokens for them.
COLOURS = torch.tensor([[colours(guess, word) for word in WORDS] for guess in WORDS])
SHOWN = COLOURED + 3 * (SPELLED - LETTER["a"])[:, None, :] + COLOURS


def games(count: int, rng: np.random.Generator) -> list[Episode]:
    """Games of the data's policy."""
    same = (COLOURS[:, :, None] == COLOURS[:, None, :]).all(dim=3).numpy()  # (guess, word, other word)
    result = []
    for _ in range(count):
        word = int(rng.integers(len(WORDS)))
        possible = np.ones(len(WORDS), bool)
        ids, actions, rewards = [START], [], []
        for _ in range(TRIES):
            careful = rng.random() < CAREFUL
            guess = int(rng.choice(np.flatnonzero(possible))) if careful else int(rng.integers(len(WORDS)))
            actions += range(len(ids), len(ids) + LETTERS)
            rewards += [0.0] * (LETTERS - 1) + [0.0 if guess == word else -1.0]
            ids += [*SPELLED[guess].tolist(), *SHOWN[guess, word].tolist()]
            possible &= same[guess, word]
            if guess == word:
                break
        result.append(Episode([Row(ids, actions, rewards)]))
    return result


def play(model, count: int, generator: torch.Generator, adjust: Adjust | None = None) -> np.ndarray:
    """Returns of games that the model plays, ``(games,)``."""
    words = torch.randint(len(WORDS), (count,), generator=generator)
    returns, over = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    decoder = Decoder(model, adjust)
    logits = decoder.read(torch.full((count, 1), START))
    for attempt in range(TRIES):
        guess = []
        for _ in range(LETTERS):
            guess.append(choose(logits, 1.0, generator))
            if len(guess) < LETTERS:
                logits = decoder.read(guess[-1][:, None])
        spelled = torch.stack(guess, dim=1)  # (games, letters)
        match = (spelled[:, None, :] == SPELLED[None]).all(dim=2)  # (games, words)
        known, index = match.any(dim=1), match.int().argmax(dim=1)
        won = known & (index == words)
        returns -= (~over & ~won).float()
        over |= won
        if attempt + 1 < TRIES:
            shown = torch.where(known[:, None], SHOWN[index, words], UNKNOWN)
            logits = decoder.read(torch.cat([guess[-1][:, None], shown], dim=1))
    return returns.numpy()


def check(
    seed: int,
    steps: int = 3_000,
    count: int = 12_000,
    tested: int = 4_096,
    report: Callable[[str], object] = lambda _: None,
) -> dict[str, float]:
    """Mean returns over so many games each: the data, BC, filtered BC (the best 30 % of the games, from BC on), and ILQL.

    BC has ``steps`` gradient steps, filtered BC as many again, ILQL 1.5 times as many.
    """
    data = games(count, np.random.default_rng([seed, 3]))
    model = tiny.tiny_model(VOCABULARY, POSITIONS, width=64, layers=2, heads=4, seed=seed)
    clones = Settings(learning_rate=3e-3, batch=32)
    tiny.clone(model, data, steps, seed, clones, report=report, name="bc")
    filtered = copy.deepcopy(model)
    tiny.clone(filtered, best_episodes(data, 0.3), steps, seed, clones, report=report, name="filtered bc")

    def test(network, adjust: Adjust | None = None) -> float:
        return float(play(network, tested, torch.Generator().manual_seed(seed), adjust).mean())

    figures = {
        "data": float(np.mean([game.value for game in data])),
        "bc": test(model),
        "filtered_bc": test(filtered),
    }
    # A value must pass through up to 60 tokens, one for each time that the targets have moved on.
    settings = Settings(tau=0.9, learning_rate=2e-3, batch=32, alpha=1e-3, polyak=0.1)
    with resumable.seeded(seed):
        heads = ValueHeads(64, VOCABULARY)
    learner = ILQL(model, heads, settings)
    tiny.train(learner, data, steps * 3 // 2, seed, report, "ilql")
    for beta in BETAS:
        figures[f"ilql_beta_{beta:g}"] = test(learner.model, learner.policy(beta))
    return figures
