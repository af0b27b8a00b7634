"""The client of OpenAI-compatible servers, over real HTTP, with servers that behave well or badly."""

import dataclasses
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

import pytest

from ellm_agent.errors import UserError
from ellm_agent.llm.base import FAILURES, Answer, LanguageModelError
from ellm_agent.llm.budget import Metered, Price
from ellm_agent.llm.cache import AnswerCache, CachedModel
from ellm_agent.llm.client import OpenAIModel, RequestPool
from ellm_agent.llm.endpoint import check_endpoint
from prompts import closed_form, open_ended
from tests.helpers.llm_server import Reply, asked, bullets, busy, completion, faults, reply, sends, serve
from tests.helpers.questions import CLOSED, KEY, OPEN, ask

# --- servers that misbehave -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", faults())
def test_each_fault_is_answered_or_named(fault, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    behaviour, kind = faults()[fault]
    network = fault.startswith(("hangs", "a byte", "closes", "redirects", "not gzip"))
    with serve(behaviour) as server:
        # The package waits longer after faults of the network than a test may: those are not tried again here.
        prompt = CLOSED[0] if "log-prob" in fault else OPEN
        answer, model = ask(server.url, prompt, timeout=0.3 if network else 20, retries=0 if network else 3)
    if kind is None:
        assert isinstance(answer, Answer)
        answer.text.encode()
        open_ended.parse(answer.text)
        assert 0 <= closed_form.probability_of_yes(answer.text, answer.logprobs) <= 1
        return
    assert isinstance(answer, LanguageModelError)
    assert answer.kind == kind
    assert str(answer).startswith(f"the language model m at {server.url[7:-3]} ")
    assert "\n" not in str(answer)
    assert model.metrics()[f"llm/failed_{kind}"] == 1


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, ": check OPENAI_API_KEY"),
        (403, ": check OPENAI_API_KEY"),
        (404, ": check --llm-model and --llm-base-url"),
        (400, ""),
        (500, ""),
    ],
)
def test_an_error_says_what_to_check(status, hint):
    with serve(sends(Reply({"error": {"message": "no"}}, status))) as server:
        error, _ = ask(server.url, retries=0)
    assert str(error).endswith(f" answered with status {status}{hint}")


def test_every_kind_of_failure_is_tested():
    seen = {kind for _, kind in faults().values()} - {None}
    assert seen == {*FAILURES} - {"never_asked", "over_budget", "not_recorded"}


def test_dead_servers_are_unreachable():
    with serve() as server:
        pass
    error, model = ask(server.url, retries=0)
    assert error.kind == "unreachable"
    assert "could not be reached" in str(error)
    assert model.metrics()["llm/failed_unreachable"] == 1


def test_garbage_instead_of_http_is_told():
    def babble():
        connection, _ = listening.accept()
        with connection:
            connection.recv(2**16)
            connection.sendall(b"\x00\xff hello\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=babble)
        thread.start()
        error, _ = ask(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", retries=0)
        thread.join()
    assert isinstance(error, LanguageModelError)


def test_busy_servers_are_given_the_time_they_ask_for():
    with serve(busy(1, retry_after="0.7")) as server:
        answer, model = ask(server.url)
    assert open_ended.parse(answer.text) == ("chop the tree", "drink water")
    first, second = server.times
    assert 0.7 <= second - first < 3
    assert model.metrics()["llm/seconds"] >= 0.7


def test_tries_end():
    with serve(busy(100)) as server:
        error, _ = ask(server.url, retries=2)
    assert error.kind == "rate_limited"
    assert len(server.requests) == 3


def test_failures_stand_where_their_questions_stood():
    def answer(body):
        number = int(asked(body).split()[-1])
        time.sleep(0.05 * (number % 3))
        return Reply(b"?") if number % 4 == 0 else (200, reply(body, f"- goal {number}"))

    prompts = [dataclasses.replace(OPEN, user=f"number {i}") for i in range(12)]
    with serve(answer) as server:
        answers = RequestPool(OpenAIModel("m", server.url), 5).answer(prompts)
    texts = [a.text if isinstance(a, Answer) else a.kind for a in answers]
    assert texts == ["malformed" if i % 4 == 0 else f"- goal {i}" for i in range(12)]


def test_no_counter_starts_again_after_a_resume(tmp_path):
    def answer(body):
        return Reply(b"?") if asked(body) == "bad" else bullets(body)

    def chain():
        model = Metered(OpenAIModel("m", server.url), Price(1.0, 2.0))
        return CachedModel(model, AnswerCache(tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite"))

    with serve(answer) as server:
        one, other = chain(), chain()
        one.answer([OPEN, dataclasses.replace(OPEN, user="bad")])
        one.answer([OPEN])
        other.load_state_dict(json.loads(json.dumps(one.state_dict())))
        before = one.metrics()
        assert other.metrics() == before
        other.answer([CLOSED[0]])
    wanted = {
        "llm/tokens_read": before["llm/tokens_read"] + 10,
        "llm/tokens_written": before["llm/tokens_written"] + 5,
        "llm/failed_malformed": 1,
        "llm/cache_hits": 1,
        "llm/cache_misses": 3,
        "llm/cache_failures": 0,
    }
    after = other.metrics()
    assert {name: after[name] for name in wanted} == wanted
    assert after["llm/seconds"] > before["llm/seconds"] > 0
    assert after["llm/usd"] == pytest.approx(before["llm/usd"] + 20e-6)


def test_counters_of_a_model_do_not_mix_with_those_around_it(tmp_path):
    """What a server counted and what the budget counts are not the same."""
    with serve(sends(Reply(completion("- sleep") | {"usage": None}))) as server:
        inner = OpenAIModel("m", server.url)
        model = Metered(inner)
        model.answer([OPEN])
        again = OpenAIModel("m", server.url)
        Metered(again).load_state_dict(json.loads(json.dumps(model.state_dict())))
    assert inner.metrics()["llm/tokens_read"] == again.metrics()["llm/tokens_read"] == 0
    assert model.metrics()["llm/tokens_read"] > 0


# --- threads --------------------------------------------------------------------------------------------


def test_requests_are_in_flight_at_once():
    together = threading.Barrier(3, timeout=10)

    def answer(body):
        together.wait()
        return bullets(body)

    with serve(answer) as server:
        answers = RequestPool(OpenAIModel("m", server.url), 3).answer([OPEN] * 6)
    assert all(isinstance(answer, Answer) for answer in answers)
    assert server.at_once == 3


def test_threads_share_the_limit():
    def answer(body):
        time.sleep(0.1)
        return bullets(body)

    with serve(answer) as server:
        model = RequestPool(OpenAIModel("m", server.url), 2)
        threads = [threading.Thread(target=model.answer, args=([OPEN] * 2,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(server.requests) == 6
    assert server.at_once == 2
    assert model.answer([]) == []


def test_closing_gives_up_what_is_in_flight():
    arrived, errors = threading.Event(), []

    def answer(body):
        arrived.set()
        return Reply(delay=60)

    with serve(answer) as server:
        model = RequestPool(OpenAIModel("m", server.url), 1)
        thread = threading.Thread(target=lambda: errors.extend(model.answer([OPEN] * 3)))
        thread.start()
        assert arrived.wait(10)
        model.close()
        thread.join(5)
        assert [error.kind for error in errors] == ["unreachable"] * 3
        model.close()
        assert model.answer([OPEN])[0].kind == "unreachable"
    assert len(server.requests) == 1


def test_requests_in_flight_do_not_keep_the_process_from_ending():
    code = (
        "import sys\n"
        "from ellm_agent.llm.client import OpenAIModel\n"
        "from ellm_agent.llm.client import RequestPool\n"
        "from tests.helpers.questions import OPEN\n"
        "RequestPool(OpenAIModel('m', sys.argv[1]), 8).answer([OPEN] * 20)\n"
    )
    arrived = threading.Event()

    def answer(body):
        arrived.set()
        return Reply(delay=60)

    with serve(answer) as server:
        child = subprocess.Popen([sys.executable, "-c", code, server.url], stderr=subprocess.PIPE, text=True)
        assert arrived.wait(30)
        child.send_signal(signal.SIGINT)  # Ctrl-C
        _, stderr = child.communicate(timeout=5)
    assert child.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")


# --- the key --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500, 0])
def test_the_key_is_told_nowhere(monkeypatch, caplog, status):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    body = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    headers = {"X-Echo": f"Bearer {KEY}", "Retry-After": "0.01"}
    with serve(sends(Reply(body, status, headers, cut=None if status else -1))) as server:
        model = OpenAIModel("m", server.url, retries=1 if status else 0)
        (error,) = model.answer([OPEN])
    assert server.keys[0] == f"Bearer {KEY}"
    with pytest.raises(LanguageModelError) as caught:
        raise error
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    lines = "".join(traceback.format_exception(caught.value))
    for text in (lines, str(error), repr(error), repr(model), model.description, caplog.text):
        assert KEY not in text
    if status:
        assert ("no completion" if status == 200 else f"status {status}") in str(error)


@pytest.mark.parametrize("key", ["sk-sécret", "sk-\nsecret"])
def test_keys_that_cannot_be_sent_are_told_so(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="OPENAI_API_KEY holds characters") as caught:
        check_endpoint("https://api.openai.com/v1")
    assert "cret" not in str(caught.value)


def test_space_around_a_key_is_no_part_of_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\r\n")
    assert check_endpoint("https://api.openai.com/v1") == KEY
