"""Requests of the OpenAI client, the responses it reads, and requests to servers that support less."""

import dataclasses
import json
import time

import pytest

from ellm_agent.llm.base import Answer
from ellm_agent.llm.client import OpenAIModel
from ellm_agent.llm.wire import LONGEST_ANSWER, request_body
from prompts import closed_form, open_ended
from tests.helpers.llm_server import BLAMES, Reply, completion, newer, rejects, says, sends, serve
from tests.helpers.questions import CAPTION, CLOSED, KEY, LANGUAGE, OPEN, ask

# --- what is sent, and how it is read -------------------------------------------------------------------


def test_open_requests_are_well_formed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serve() as server:
        model = OpenAIModel("some-model", f"{server.url}/")
        (answer,) = model.answer([OPEN])
    assert open_ended.parse(answer.text) == ("chop the tree", "drink water")
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == [f"Bearer {KEY}"]
    assert server.requests == [
        {
            "model": "some-model",
            "messages": [{"role": "system", "content": OPEN.system}, {"role": "user", "content": OPEN.user}],
            "max_tokens": open_ended.MAX_TOKENS,
            "temperature": open_ended.TEMPERATURE,
        }
    ]
    assert server.requests == [request_body(OPEN, "some-model")]
    assert (model.source, model.name, model.in_process) == (server.url, "some-model", False)
    assert model.description == f"some-model at {server.url[7:-3]}"


@pytest.mark.parametrize("api", ["chat", "completion"])
def test_closed_requests_ask_for_logprobs_and_read_them(api):
    with serve() as server:
        yes, no = OpenAIModel("m", server.url, api=api).answer(CLOSED)
    assert closed_form.probability_of_yes(yes.text, yes.logprobs) == pytest.approx(0.9)
    assert closed_form.probability_of_yes(no.text, no.logprobs) == pytest.approx(0.2)
    wanted = {"logprobs": True, "top_logprobs": 5} if api == "chat" else {"logprobs": 5}
    assert all(request.items() >= wanted.items() for request in server.requests)


def test_completions_go_on_with_the_prompt():
    with serve() as server:
        answer, _ = ask(server.url, api="completion")
        ask(server.url, CLOSED[0], api="completion")
    assert open_ended.parse(answer.text) == ("chop the tree", "drink water")
    assert server.paths == ["/v1/completions"] * 2
    assert server.requests[0] == {
        "model": "m",
        "prompt": f"{OPEN.system}\n\n{OPEN.user}",
        "max_tokens": open_ended.MAX_TOKENS,
        "temperature": open_ended.TEMPERATURE,
        "stop": "\n\n",
    }
    assert "stop" not in server.requests[1]


def test_schemas_become_structured_output():
    with serve() as server:
        prompt = open_ended.prompt(CAPTION, LANGUAGE, schema=True)
        answer, _ = ask(server.url, prompt)
        ask(server.url, prompt, api="completion")
    assert json.loads(answer.text) == {"goals": ["chop the tree", "drink water"]}
    assert open_ended.parse(answer.text) == ("chop the tree", "drink water")
    chat, text = server.requests
    schema = {"name": "answer", "schema": json.loads(open_ended.SCHEMA), "strict": True}
    assert chat["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert "response_format" not in text


def test_tokens_are_counted_as_the_server_says():
    with serve() as server:
        answer, model = ask(server.url)
        model.answer([OPEN] * 2)
    assert (answer.prompt_tokens, answer.answer_tokens) == (10, 5)
    metrics = model.metrics()
    assert metrics["llm/tokens_read"] == 30
    assert metrics["llm/tokens_written"] == 15
    assert metrics["llm/seconds"] > 0
    assert not any(name.startswith("llm/failed") for name in metrics)


@pytest.mark.parametrize("usage", [None, "lots", [], {"prompt_tokens": "7", "completion_tokens": -1}, {}])
def test_odd_counts_are_none(usage):
    with serve(sends(Reply(completion("- sleep") | {"usage": usage}))) as server:
        answer, _ = ask(server.url)
    assert answer == Answer("- sleep")


def test_long_answers_are_cut():
    with serve(says("- sleep\n" * 2**17)) as server:
        started = time.monotonic()
        answer, _ = ask(server.url)
    assert len(answer.text) == LONGEST_ANSWER
    assert time.monotonic() - started < 3


# --- servers that know less -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("unknown", "api"), [("logprobs", "chat"), ("logprobs", "completion"), ("response_format", "chat")]
)
def test_servers_are_asked_without_what_they_reject(unknown, api, status):
    prompt = open_ended.prompt(CAPTION, LANGUAGE, schema=True) if unknown == "response_format" else CLOSED[0]
    with serve(rejects(unknown, status=status)) as server:
        model = OpenAIModel("m", server.url, api=api)
        answers = [model.answer([prompt])[0] for _ in range(2)]
    assert [unknown in request for request in server.requests] == [True, False, False]
    if unknown == "logprobs":
        assert [closed_form.probability_of_yes(a.text, a.logprobs) for a in answers] == [1.0, 1.0]
    else:
        assert open_ended.parse(answers[0].text) == ("chop the tree", "drink water")


def test_only_what_is_rejected_is_left_out():
    both = dataclasses.replace(open_ended.prompt(CAPTION, LANGUAGE, schema=True), logprobs=True)
    with serve(rejects("response_format")) as server:
        model = OpenAIModel("m", server.url)
        for _ in range(2):
            assert isinstance(model.answer([both])[0], Answer)
    sent = [("logprobs" in request, "response_format" in request) for request in server.requests]
    assert sent == [(True, True), (True, False), (True, False)]


@pytest.mark.parametrize("wording", BLAMES)
@pytest.mark.parametrize("status", [400, 422])
def test_newer_models_are_told_what_they_know(wording, status):
    with serve(newer("max_tokens", "temperature", blame=BLAMES[wording], status=status)) as server:
        model = OpenAIModel("m", server.url)
        answers = [model.answer([prompt])[0] for prompt in (OPEN, OPEN, CLOSED[0])]
    assert all(isinstance(answer, Answer) for answer in answers)
    names = ("max_tokens", "max_completion_tokens", "temperature")
    sent = [tuple(request.get(name) for name in names) for request in server.requests]
    most, temperature = open_ended.MAX_TOKENS, open_ended.TEMPERATURE
    assert sent == [
        (most, None, temperature),
        (None, most, temperature),
        (None, most, None),
        (None, most, None),  # remembered
        (None, closed_form.MAX_TOKENS, None),
    ]
    assert all("logprobs" in request for request in server.requests[4:])  # which nobody blamed
    assert "llm/failed_rejected" not in model.metrics()


def test_only_the_parameter_that_is_blamed_is_left_out():
    with serve(newer("temperature", "logprobs", blame=BLAMES["OpenAI"])) as server:
        model = OpenAIModel("m", server.url)
        answers = model.answer(CLOSED[:1]) + model.answer(CLOSED[:1])
    assert all(isinstance(answer, Answer) for answer in answers)
    names = ("max_tokens", "temperature", "logprobs")
    sent = [tuple(name in request for name in names) for request in server.requests]
    assert sent == [(True, True, True), (True, False, True), (True, False, False), (True, False, False)]


def test_the_older_endpoint_is_always_told_max_tokens():
    with serve(newer("max_tokens", blame=BLAMES["OpenAI"])) as server:
        error, _ = ask(server.url, api="completion")
    assert error.kind == "rejected"
    assert ["max_tokens" in request for request in server.requests] == [True]
    with serve(newer("temperature", blame=BLAMES["OpenAI"])) as server:
        answer, _ = ask(server.url, api="completion")
    assert isinstance(answer, Answer)


def test_what_does_not_help_is_not_remembered():
    told = {"error": {"message": "max_tokens is too large for this prompt", "param": None}}
    with serve(sends(Reply(told, 400))) as server:
        model = OpenAIModel("m", server.url)
        failed = [model.answer([OPEN])[0] for _ in range(2)]
    assert [error.kind for error in failed] == ["rejected"] * 2
    assert ["max_tokens" in request for request in server.requests] == [True, False] * 2
    told["error"]["param"] = "messages"  # which says whose fault it is
    with serve(sends(Reply(told, 400))) as server:
        ask(server.url)
    assert len(server.requests) == 1


def test_what_is_rejected_for_another_reason_is_asked_for_again():
    with serve(sends(Reply({"error": {"message": "too long"}}, 400))) as server:
        model = OpenAIModel("m", server.url)
        failed = [model.answer(CLOSED[:1])[0] for _ in range(2)]
    assert [error.kind for error in failed] == ["rejected"] * 2
    assert ["logprobs" in request for request in server.requests] == [True, False] * 2
