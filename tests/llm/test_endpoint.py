"""Where a language model is found, and which one a run asks."""

import pytest

from ellm_agent import cost_estimate as estimate
from ellm_agent.config import files as config_files
from ellm_agent.config.presets import PRESETS
from ellm_agent.config.schema import Config, GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.choice import settled
from ellm_agent.llm.endpoint import check_endpoint, endpoint, model_at


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
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    at_openai = settled(GoalConfig())
    assert (at_openai.llm, at_openai.llm_base_url) == ("endpoint", "https://api.openai.com/v1")
    assert at_openai.llm_model == "gpt-4o-mini"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    found = settled(GoalConfig(llm_model="m"))
    assert (found.llm, found.llm_base_url, found.llm_model) == ("endpoint", "http://localhost:1/v1", "m")
    assert settled(GoalConfig(llm="embedded")).llm_base_url is None
    monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY")
    assert [settled(found), settled(at_openai)] == [found, at_openai]  # in another shell, too


LOCAL = "http://localhost:1/v1"


@pytest.mark.parametrize("how", ["option", "environment", "estimate"])
def test_only_openai_has_a_default_model(monkeypatch, how):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    if how == "environment":
        monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    goals = GoalConfig(llm_base_url=None if how == "environment" else LOCAL)
    with pytest.raises(UserError, match=f"llm-model is not given: say with --llm-model .* at {LOCAL}"):
        settled(goals) if how != "estimate" else estimate.tell(Config(goals=goals))


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1/", True),
        ("https://notapi.openai.com/v1", False),
        ("https://api.openai.com.example.org/v1", False),
    ],
)
def test_what_is_openai(url, known):
    assert model_at(url, "m") == "m"
    if known:
        assert model_at(url, None) == "gpt-4o-mini"
    else:
        with pytest.raises(UserError, match="--llm-model"):
            model_at(url, None)


def test_a_password_in_the_environments_url_is_not_told(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@localhost:1/v1")
    with pytest.raises(UserError, match="holds a password") as caught:
        settled(GoalConfig())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("llm", ["script", "replay"])
def test_what_asks_nobody_costs_nothing(llm, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", LOCAL)
    estimate.tell(Config(goals=GoalConfig(llm=llm)))
    assert capsys.readouterr().out == f"llm is {llm}: such a run asks nothing that costs\n"


def test_waiting_has_no_rate():
    with pytest.raises(UserError, match=r"llm-every is 16, but llm-wait asks .* or give --no-llm-wait"):
        config_files.check(Config(goals=GoalConfig(llm_every=16, llm_wait=True)))
    for goals in (GoalConfig(llm_every=16), GoalConfig(llm_wait=True), PRESETS["paper"].goals):
        config_files.check(Config(goals=goals))


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
