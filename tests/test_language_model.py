"""Language models over real HTTP, and the suggester that asks them."""

import json
import math

import pytest

from ellm_agent.errors import UserError
from ellm_agent.goals import LanguageModelSuggester
from ellm_agent.llm.base import Answer, LanguageModelError
from ellm_agent.llm.openai_client import OpenAIModel, check_endpoint, endpoint
from ellm_agent.records import Situation
from prompts import closed_form, open_ended
from tests.llm_server import completion, serve

CAPTION = "You see grass, tree."


def situations(*captions):
    return [Situation(caption, ()) for caption in captions]


def test_open_requests_are_well_formed(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with serve() as server:
        model = OpenAIModel("some-model", server.url)
        answer = model.answer([open_ended.prompt(CAPTION, ("chop", "drink"))])[0]
    assert open_ended.parse(answer.text) == ("chop the tree", "drink water")
    (request,) = server.requests
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == ["Bearer sk-secret"]
    assert request["model"] == "some-model"
    assert request["temperature"] == open_ended.TEMPERATURE
    assert request["max_tokens"] == open_ended.MAX_TOKENS
    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert CAPTION in request["messages"][1]["content"]
    assert "logprobs" not in request


def test_closed_requests_ask_for_logprobs_and_read_them():
    with serve() as server:
        model = OpenAIModel("m", server.url)
        yes, no = model.answer([closed_form.prompt(CAPTION, g) for g in ("chop tree", "eat cow")])
    assert closed_form.probability_of_yes(yes.text, yes.logprobs) == pytest.approx(0.9)
    assert closed_form.probability_of_yes(no.text, no.logprobs) == pytest.approx(0.2)
    assert all(r["logprobs"] is True and r["top_logprobs"] == 5 for r in server.requests)


def test_server_without_logprobs_is_asked_without():
    def refuse(body):
        if body.get("logprobs"):
            return 400, {"error": {"message": "logprobs not supported"}}
        return 200, completion("Yes, it should.")

    with serve(refuse) as server:
        model = OpenAIModel("m", server.url, concurrency=1)
        answers = model.answer([closed_form.prompt(CAPTION, g) for g in ("chop tree", "eat cow")])
    assert [closed_form.probability_of_yes(a.text, a.logprobs) for a in answers] == [1.0, 1.0]
    assert [bool(r.get("logprobs")) for r in server.requests] == [True, False, False]


@pytest.mark.parametrize(("status", "told"), [(401, "status 401"), (404, "status 404")])
def test_errors_name_the_server_but_not_the_key(monkeypatch, status, told):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    reply = {"error": {"message": "Incorrect API key provided: sk-secret"}}
    with serve(lambda body: (status, reply)) as server:
        error = OpenAIModel("m", server.url).answer([open_ended.prompt(CAPTION, ())])[0]
    assert isinstance(error, LanguageModelError)
    assert told in str(error)
    assert "sk-secret" not in str(error)


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": [{"message": None}]}, []])
def test_answers_that_are_no_completions_become_errors(reply):
    with serve(lambda body: (200, reply)) as server:
        error = OpenAIModel("m", server.url).answer([open_ended.prompt(CAPTION, ())])[0]
    assert isinstance(error, LanguageModelError)
    assert "no chat completion" in str(error)


def test_endpoint_is_found_in_order(monkeypatch):
    assert endpoint(None) is None
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert endpoint(None) == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere/v1")
    assert endpoint(None) == "http://elsewhere/v1"
    assert endpoint("http://here/v1") == "http://here/v1"


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://127.0.0.1/v1", "http://[::1]:80/v1", "http://10.0.0.3/v1"]
)
def test_local_servers_need_no_key(url):
    assert check_endpoint(url)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://api.openai.com/v1", "OPENAI_API_KEY is not set"),
        ("ftp://localhost", "not a URL"),
        ("localhost:8000", "not a URL"),
        ("http://[bad", "not a URL"),
        ("http://localhost:notaport/v1", "not a URL"),
        ("http://user:secret@localhost/v1", "holds a password"),
        ("http://localhost/v1?api_key=secret", "has a query"),
    ],
)
def test_bad_endpoints_are_named(url, told):
    with pytest.raises(UserError, match=told) as caught:
        check_endpoint(url)
    assert "secret" not in str(caught.value)


class Recorder:
    """A model that keeps what it was asked and answers from a list."""

    description = "a recorder"

    def __init__(self, *answers):
        self.asked, self.answers = [], list(answers)

    def answer(self, prompts):
        self.asked.append([prompt.user for prompt in prompts])
        return [self.answers.pop(0) for _ in prompts]


def test_each_caption_is_asked_once_in_one_batch():
    model = Recorder(Answer("- chop tree"), Answer("- sleep"), Answer("nothing\n- eat cow"))
    suggester = LanguageModelSuggester(model, "open")
    told = suggester.suggest(situations("A.", "B.", "A."))
    assert told == [("chop tree",), ("sleep",), ("chop tree",)]
    assert suggester.suggest(situations("B.", "C.")) == [("sleep",), ("eat cow",)]
    assert [len(batch) for batch in model.asked] == [2, 1]
    assert suggester.metrics()["llm/captions"] == 3


def test_closed_form_suggests_what_is_more_likely_than_not():
    def yes(p):
        return Answer("?", {"Yes": math.log(p), "No": math.log(1 - p)})

    model = Recorder(yes(0.9), yes(0.5), yes(0.51))
    suggester = LanguageModelSuggester(model, "closed", candidates=("a", "b", "c"))
    assert suggester.suggest(situations("A.")) == [("a", "c")]


def test_failures_later_on_leave_no_goals_and_are_asked_again(capsys):
    failure = LanguageModelError("gone")
    model = Recorder(Answer("- sleep"), failure, Answer("- eat cow"))
    suggester = LanguageModelSuggester(model, "open")
    suggester.suggest(situations("A."))
    assert suggester.suggest(situations("A.", "B.")) == [("sleep",), ()]
    assert suggester.suggest(situations("B.")) == [()]  # a dead server is left alone for a while
    assert suggester.suggest(situations("B.")) == [("eat cow",)]
    assert suggester.metrics()["llm/failures"] == 1
    assert "warning: gone" in capsys.readouterr().err


def test_pauses_grow_while_a_server_stays_dead(capsys):
    model = Recorder(Answer("- sleep"), *[LanguageModelError("gone")] * 5)
    suggester = LanguageModelSuggester(model, "open")
    suggester.suggest(situations("A."))
    for _ in range(20):
        assert suggester.suggest(situations("B.")) == [()]
    # Calls 1, 3, 6, 11 and 20: after pauses of 1, 2, 4 and 8 calls.
    assert len(model.asked) == 1 + 5
    assert capsys.readouterr().err.count("warning") == 1


def test_one_failure_in_the_first_batch_is_not_the_end():
    model = Recorder(LanguageModelError("gone"), Answer("- sleep"))
    suggester = LanguageModelSuggester(model, "open")
    assert suggester.suggest(situations("A.", "B.")) == [(), ("sleep",)]


def test_closed_answers_are_kept_one_by_one():
    yes, no = Answer("Yes"), Answer("No")
    model = Recorder(yes, LanguageModelError("gone"), no, yes)
    suggester = LanguageModelSuggester(model, "closed", candidates=("a", "b", "c"))
    assert suggester.suggest(situations("A.")) == [("a",)]
    assert suggester.suggest(situations("A.")) == [("a", "b")]
    assert [len(batch) for batch in model.asked] == [3, 1]
    assert suggester.suggest(situations("A.")) == [("a", "b")]
    assert suggester.metrics()["llm/captions"] == 1


def test_answers_survive_a_checkpoint():
    suggester = LanguageModelSuggester(Recorder(Answer("- sleep")), "open")
    suggester.suggest(situations("A."))
    state = json.loads(json.dumps(suggester.state()))
    other = LanguageModelSuggester(Recorder(), "open")
    other.restore(state)
    assert other.suggest(situations("A.")) == [("sleep",)]
    assert other.metrics() == suggester.metrics()


def test_failure_of_the_first_request_is_raised():
    with pytest.raises(LanguageModelError, match="gone"):
        LanguageModelSuggester(Recorder(LanguageModelError("gone")), "open").suggest(situations("A."))
