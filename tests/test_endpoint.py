"""Where a language model is found, and which one a run asks."""

import pytest

from ellm_agent.config import GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.choice import settled
from ellm_agent.llm.endpoint import check_endpoint, endpoint


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


def test_what_answers_is_put_into_words(monkeypatch):
    assert settled(GoalConfig()).llm == "embedded"
    assert settled(GoalConfig(llm="script")).llm == "script"
    assert settled(GoalConfig(goal_mode="oracle")) == GoalConfig(goal_mode="oracle")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    found = settled(GoalConfig())
    assert (found.llm, found.llm_base_url, found.llm_model) == (
        "endpoint",
        "http://localhost:1/v1",
        "gpt-4o-mini",
    )
    assert settled(GoalConfig(llm="embedded")).llm_base_url is None
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert settled(found) == found  # in another shell, too


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"llm": "endpoint"}, "none is configured"),
        (
            {"llm_model": "gpt-4o"},
            "llm-model is for endpoints, but what answers is embedded: set OPENAI_API_KEY",
        ),
        ({"llm_budget_usd": 1.0}, "llm-budget-usd is for endpoints"),
        ({"llm": "embedded", "llm_base_url": "http://localhost:1/v1"}, "llm is embedded"),
        ({"llm": "script", "llm_structured": True}, "llm is script"),
    ],
)
def test_options_that_would_do_nothing_are_named(options, told):
    with pytest.raises(UserError, match=told):
        settled(GoalConfig(**options))
