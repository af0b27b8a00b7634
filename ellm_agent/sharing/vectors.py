"""What is made again where a shared agent plays: its suggester, which asks nobody, and the vectors of the phrases that worlds
make known when they are built. SentenceBERT gives these again, so no folder holds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ellm_agent.build import make_suggester, make_worlds
from ellm_agent.config.schema import Config
from ellm_agent.experiment import library_settings
from ellm_agent.goals.base import GoalSuggester
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from ellm_agent.text.phrases import PhraseTable
from envs import registry
from prompts import Prompt


class Remembered(LanguageModel):
    """Stands for the language model of a run that has ended: evaluation recalls its answers, and asks nothing.

    Args:
        likely_goals: of the model.
        can_be_asked_ahead: as the model's.
        leaves_out: as the model's.
    """

    name = description = "remembered answers"

    def __init__(self, likely_goals: Sequence[str], can_be_asked_ahead: bool, leaves_out: bool):
        self.likely_goals = tuple(likely_goals)
        self.can_be_asked_ahead, self.leaves_out = can_be_asked_ahead, leaves_out

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer | LanguageModelError]:
        return [LanguageModelError("no model is asked here", kind="never_asked") for _ in prompts]

    def load_state_dict(self, state) -> None:
        """The state of another model's counters is of no use here."""


def remembering_suggester(
    config: Config, likely_goals: Sequence[str], state: dict[str, Any]
) -> GoalSuggester:
    """A suggester with the state of a run's, which asks nobody.

    Args:
        config: of the run.
        likely_goals: of its language model.
        state: of its suggester.

    Raises:
        KeyError, TypeError, ValueError: if the state is damaged.
    """
    plain = state["suggester"] if config.suggester.learned_filter else state
    leaves_out = config.suggester.llm.kind == "recorded"
    model = Remembered(likely_goals, "queue" in plain, leaves_out) if config.suggester.asks_model else None
    suggester = make_suggester(config, registry.get(config.env.name).language(**config.env.options), model)
    suggester.load_state_dict(state)
    return suggester


def known_phrases(config: Config, suggester: GoalSuggester) -> tuple[list[str], np.ndarray]:
    """Texts and vectors, ``(n, 384)``, that a phrase table begins with in worlds of a configuration."""
    phrases = PhraseTable()
    with library_settings(config):
        make_worlds(config, suggester, phrases, 1, one_episode=True).close()
    state = phrases.state_dict()
    vectors = state["vectors"].numpy()
    return state["texts"][: len(vectors)], vectors


def digest(vectors: np.ndarray) -> str:
    """A checksum of vectors."""
    return hashlib.sha256(np.ascontiguousarray(vectors, "<f4").tobytes()).hexdigest()
