"""Limits on requests and tokens per minute, with a clock of the test's own."""

import threading

import pytest

from ellm_agent.llm.base import Answer, LanguageModel, Prompt
from ellm_agent.llm.budget import tokens
from ellm_agent.llm.rate import Paced
from tests.helpers.questions import CLOSED, OPEN


class Quick(LanguageModel):
    description = name = "quick"

    def answer(self, prompts):
        return [Answer("- sleep")] * len(prompts)


def turns(prompts, **limits):
    """When each question starts, if all are there at second 0."""
    paced = Paced(Quick(), **limits, now=lambda: 0.0)
    return [paced.reserve(prompt) for prompt in prompts]


def test_requests_per_minute():
    assert turns([OPEN] * 4, rpm=30) == [0, 2, 4, 6]


def test_tokens_per_minute():
    """A question counts what it may read and write."""
    most = tokens(OPEN.system + OPEN.user) + OPEN.max_tokens
    few = tokens(CLOSED[0].system + CLOSED[0].user) + CLOSED[0].max_tokens
    starts = turns([OPEN, CLOSED[0], OPEN], tpm=6_000)
    assert starts == pytest.approx([0, most / 100, (most + few) / 100])


def test_a_scored_question_counts_all_its_continuations():
    """8 characters, continued by 4 and 8: 3 + 4 tokens, and one written behind each."""
    scored = Prompt("", "x" * 8, 0, 0.0, False, "", continuations=("y" * 4, "z" * 8))
    assert turns([scored] * 2, tpm=60) == [0, 9]


def test_the_stricter_limit_holds():
    slow = turns([OPEN] * 2, tpm=60)[1]
    assert turns([OPEN] * 2, rpm=600, tpm=60)[1] == slow > 60
    assert turns([OPEN] * 2, rpm=1, tpm=10**9)[1] == 60


def test_time_that_has_passed_is_not_waited_for():
    clock = [0.0]
    paced = Paced(Quick(), rpm=60, now=lambda: clock[0])
    assert paced.reserve(OPEN) == 0
    clock[0] = 10.0
    assert [paced.reserve(OPEN) for _ in range(2)] == [0, 1]


def test_whoever_waits_is_not_waited_for():
    """Closing ends the wait for a turn that would come in a minute."""
    paced = Paced(Quick(), rpm=1)
    asking = threading.Thread(target=lambda: paced.answer([OPEN, OPEN]))
    asking.start()
    paced.close()
    asking.join(5)
    assert not asking.is_alive()
