"""Several questions at once. Further tests, with a real server, are in ``test_client.py``."""

import threading

import pytest

from ellm_agent.llm.base import Answer
from ellm_agent.llm.client import RequestPool
from tests.helpers.questions import OPEN
from tests.helpers.scene_model import Model


def test_an_exception_reaches_whoever_waits_and_ends_no_thread():
    class Broken(Model):
        def answer(self, prompts):
            self.asked += prompts
            if len(self.asked) == 1:
                raise RuntimeError("a bug")
            return [Answer("- sleep")]

    pool = RequestPool(Broken(), 1)
    with pytest.raises(RuntimeError, match="a bug"):
        pool.answer([OPEN])
    assert pool.answer([OPEN] * 3) == [Answer("- sleep")] * 3


def test_after_closing_nothing_is_asked():
    held = threading.Event()
    model = Model(held=held)
    pool = RequestPool(model, 1)
    futures = [pool.submit(OPEN) for _ in range(3)]
    pool.close()
    held.set()
    assert [future.result().kind for future in (*futures, pool.submit(OPEN))] == ["unreachable"] * 4
    assert len(model.asked) <= 1


def test_there_must_be_room_for_a_request():
    with pytest.raises(ValueError, match="in_flight is 0"):
        RequestPool(Model(), 0)
